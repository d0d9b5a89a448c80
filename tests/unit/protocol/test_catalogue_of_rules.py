"""The catalogue of rules is whole and says where each is checked."""

from pathlib import Path

import pytest

from adapter.domain.findings import Severity
from adapter.protocol.rules import ALL_RULES, HISTORY_RULES, PRICE_RULES
from adapter.protocol.rules.catalogue import Entry, catalogue
from adapter.protocol.schema_errors import RULE_TEXTS

ROOT = Path(__file__).parents[3]
ENTRIES = list(catalogue().values())


def test_every_rule_is_listed_once() -> None:
    rules = [rule.code for rule in (*ALL_RULES, *HISTORY_RULES, *PRICE_RULES)]
    assert set(catalogue()) == {*RULE_TEXTS, *rules}
    assert len(ENTRIES) == 102  # as many as the catalogue of the contract specification


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_an_entry_has_a_condition_and_the_place_of_its_check(entry: Entry) -> None:
    assert entry.condition.endswith(".")
    assert "\n" not in entry.condition
    assert entry.message
    text = (ROOT / entry.module).read_text()
    assert entry.code in text or entry.tier != "schema"


def test_severities_are_those_of_the_rules() -> None:
    known = catalogue()
    assert known["P2P_SAME_METER"].severity is Severity.ERROR
    assert known["P2P_QUOTE_FLOW"].severity is Severity.WARNING
    assert known["P2P_HIST_TERM_DROPPED"].severity is Severity.INFO
