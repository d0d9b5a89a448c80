"""Rules that look for errors alone find the errors of all rules, no more, in the same order.

So do those that run as a node runs them: over a message whose contract was read before.
"""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.domain.findings import Severity
from adapter.protocol import rules
from adapter.protocol.actions import Action
from adapter.protocol.envelope import make_envelope
from adapter.protocol.rules import ALL_RULES, check_message
from adapter.protocol.schemas import Schemas
from adapter.store.documents import load_bundle
from tests.differential.contracts import MODES, contracts, in_message
from tests.differential.mutants import mutant
from tests.unit.protocol.messages import Message

SCHEMAS = Schemas(load_bundle())
PER_CONTRACT = 20
few = settings(
    max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def same_errors(terms: Message) -> int:
    """Compare the two on a contract that fits its schema; return how many errors there are."""
    action, message = in_message(terms)
    if SCHEMAS.check(action, message):
        return 0
    everything = check_message(action, message)
    errors = tuple(one for one in everything if one.severity is Severity.ERROR)
    assert check_message(action, message, errors_only=True) == errors
    envelope = make_envelope(message, b"{}", Action(action), (0, None))
    read = rules.Message(action, envelope.body, view=envelope.view)
    assert rules.check_read(read, errors_only=True) == errors
    assert action == "on_discover" or read.contract is envelope.view
    return len(errors)


@pytest.mark.parametrize("mode", MODES)
def test_the_errors_of_mutants_are_those_of_all_rules(mode: str) -> None:
    refused = 0

    @few
    @given(terms=contracts(mode), seed=st.integers(0, 2**32))
    def compare(terms: Message, seed: int) -> None:
        nonlocal refused
        rng = random.Random(seed)
        refused += same_errors(terms)
        for _ in range(PER_CONTRACT):
            refused += same_errors(mutant(terms, rng))

    compare()
    assert refused > 0, "the comparison has to see errors"


def test_a_rule_says_if_its_hits_may_be_graver_than_itself() -> None:
    rising = {rule.code for rule in ALL_RULES if rule.may_rise}
    assert rising == {
        "P2P_CLEARED_KEY",
        "P2P_FLOW_UNBOUND",
        "P2P_TARIFF_GAP",
        "P2P_TARIFF_TIMEZONE",
    }
