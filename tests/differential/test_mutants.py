"""Contracts of every mode and their mutants: two engines, one verdict; nothing broken passes.

The fast JSON decoder reads each mutant and a respelling of it as the strict one does, or not at
all, and it reads every valid contract.

P2PTRADE_MUTANTS sets how many mutants are made; 100000 for a run by hand.
"""

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.domain.findings import Severity
from adapter.domain.quantities import Energy
from adapter.protocol import strict_json
from adapter.protocol.flows import flow_report
from adapter.protocol.rules import check_message
from adapter.protocol.schemas import Schemas
from adapter.protocol.schemas_py import PythonSchemas
from adapter.store.documents import load_bundle
from tests.differential.contracts import MODES, contracts, in_message
from tests.differential.decoders import agrees, respelled
from tests.differential.mutants import BREAKERS, CONTRACT, mutant, parts_of
from tests.unit.protocol.messages import Message

BUNDLE = load_bundle()
FAST, SLOW = Schemas(BUNDLE), PythonSchemas(BUNDLE)
MUTANTS = int(os.environ.get("P2PTRADE_MUTANTS", "10500"))
PER_CONTRACT = 35
"""Mutants of one contract; all but the last two of parts that have a schema of their own."""
CONTRACTS = -(-MUTANTS // (len(MODES) * PER_CONTRACT))
many = settings(
    max_examples=CONTRACTS,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SEEDS = st.integers(0, 2**32)


def errors(terms: Message) -> list[str]:
    """Return the codes that refuse a contract, both tiers."""
    action, message = in_message(terms)
    schema = FAST.check(action, message)
    found = (*schema, *check_message(action, message, schema_findings=schema))
    return [one.rule or one.code for one in found if one.severity is Severity.ERROR]


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("mode", MODES)
def test_the_engines_judge_every_mutant_alike(mode: str) -> None:
    made = 0

    @many
    @given(terms=contracts(mode), seed=SEEDS)
    def judge(terms: Message, seed: int) -> None:
        nonlocal made
        rng = random.Random(seed)
        parts = parts_of(terms)
        chosen = [rng.choice(parts) for _ in range(PER_CONTRACT - 2)] + [(CONTRACT, terms)] * 2
        for reference, value in chosen:
            changed = mutant(value, rng)
            mine = FAST._findings(reference, changed, "$")
            assert mine == SLOW._findings(reference, changed, "$"), changed
            raw = strict_json.encode({"value": changed})
            again = strict_json.decode(raw)
            assert again["value"] == changed
            assert strict_json.decode(strict_json.encode(again)) == again
            agrees(raw)
            agrees(respelled(raw, rng))
            made += 1

    judge()
    assert made >= MUTANTS // len(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_the_rules_read_every_mutant_that_passed_its_schema(mode: str) -> None:
    read = 0

    @many
    @given(terms=contracts(mode), seed=SEEDS)
    def judge(terms: Message, seed: int) -> None:
        nonlocal read
        rng = random.Random(seed)
        for _ in range(PER_CONTRACT):
            changed = mutant(terms, rng)
            action, message = in_message(changed)
            schema = FAST.check(action, message)
            check_message(action, message, schema_findings=schema)
            read += not schema

    judge()
    assert read >= CONTRACTS


@pytest.mark.parametrize("mode", MODES)
def test_a_valid_contract_is_accepted_and_its_positions_sum_to_zero(mode: str) -> None:
    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(terms=contracts(mode))
    def judge(terms: Message) -> None:
        action, message = in_message(terms)
        assert FAST.check(action, message) == SLOW.check(action, message) == ()
        found = check_message(action, message)
        assert [x.message for x in found if x.severity is Severity.ERROR] == []
        report = flow_report(terms, delivered=Energy.from_kwh("1.5"))
        assert report.mode == mode
        assert sum(money.micro for money in report.net.values()) == 0
        raw = strict_json.encode(message)
        read = strict_json.decode(raw)
        assert read == message
        assert agrees(strict_json.encode(read))  # a Decimal -0 is read as the integer 0
        report.to_wire()

    judge()


@pytest.mark.parametrize(
    ("mode", "name"), [(mode, name) for mode in MODES for name in BREAKERS[mode]]
)
def test_a_broken_contract_is_never_accepted(mode: str, name: str) -> None:
    @settings(
        max_examples=max(8, CONTRACTS // 10),
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(terms=contracts(mode))
    def judge(terms: Message) -> None:
        BREAKERS[mode][name](terms)
        assert errors(terms)

    judge()
