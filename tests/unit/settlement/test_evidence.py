"""The buyer's own signed confirm as consent: what binds, what does not, and the replay of it."""

import base64
import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.protocol.signature import Signer
from adapter.settlement import Receipt, execute, parse_command, verify
from adapter.settlement.commands import Command
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.world import Market, settled_with

ACCEPT = "agreements.accept_agreement"
SIGNER = Signer("bap", "k1", bytes([7] * 32))
PUBLIC = base64.b64encode(SIGNER.public_key).decode()


def without_mandate(**settings: object) -> Market:
    """Return the demo with a proposal of the seller's platform, and no allowance of the buyer."""
    world = Market().set_up(settled_with(**settings))
    world.do("token.approve", "bap", "alice", spender="network", value=0, asset="USD")
    world.propose()
    return world


@pytest.fixture
def world() -> Market:
    return without_mandate()


def shown(instant_ms: int) -> str:
    return datetime.fromtimestamp(instant_ms // 1_000, UTC).isoformat()


def confirm(world: Market) -> dict[str, Any]:
    """Return the body of the confirm that the buyer's app sends for the demo's terms."""
    buyer = {
        "targetMeterId": "m-buy",
        "contractedQuantity": 10,
        "tradeStartTime": shown(world.start),
        "tradeEndTime": shown(world.end),
    }
    seller = {"sourceMeterId": "m-sell", "pricePerKWh": 0.15, "currency": "USD"}
    roles = [
        {"role": "SELLER", "filled": True, "roleInputs": seller},
        {"role": "BUYER", "filled": True, "roleInputs": buyer},
        {"role": "GRID_OPERATOR", "filled": True, "roleInputs": {"wheelingCharges": 0.025}},
    ]
    contract = {"contractId": "k-1", "roles": roles, "inputParameters": {}}
    return {
        "context": {"action": "confirm", "bap_id": "bap", "bpp_id": "bpp"},
        "message": {"order": {"beckn:orderAttributes": contract}},
    }


def contract_of(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["message"]["order"]["beckn:orderAttributes"]
    return found


def inputs(body: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = contract_of(body)["roles"][number]["roleInputs"]
    return found


def evidence(
    world: Market, body: dict[str, Any] | str, signer: Signer = SIGNER, *, age_s: int = 0
) -> dict[str, str]:
    """Return evidence as the seller's platform gives it."""
    text = body if isinstance(body, str) else json.dumps(body, indent=1)
    created = world.now // 1_000 - age_s
    header = signer.header(text.encode(), created_s=created, expires_s=created + 300)
    return {"authorization": header, "body": text}


def command(given: dict[str, str], key: str | None = PUBLIC, name: str = "e-1") -> Command:
    """Return the command as the host completes it with the signer's key."""
    args = {"agreement_no": 1, "evidence": given}
    made = parse_command(name, "agreements", "accept_agreement", args)
    if key is None:
        return made
    complete = {**made.args["evidence"], "public_key": key}
    return Command(made.id, made.contract, made.function, {**made.args, "evidence": complete})


def accept(world: Market, made: Command) -> Receipt:
    return execute(world.ledger, made, "bpp", world.now, on_behalf_of="bob")


def refused(world: Market, made: Command) -> str:
    """Return why evidence did not bind; nothing has changed."""
    before = world.fingerprint()
    with pytest.raises(ContractError, match="neither accepted nor allowed") as caught:
        accept(world, made)
    assert caught.value.code == "INSUFFICIENT_ALLOWANCE"
    assert world.fingerprint() == before
    return str(caught.value.details["evidence"])


def test_the_buyers_signed_confirm_binds_it(world: Market) -> None:
    receipt = accept(world, command(evidence(world, confirm(world))))
    assert [event.name for event in receipt.events] == ["AgreementActivated"]
    # 10 x 0.15 + 10 x 0.025
    assert world.available("alice", "USD") == 18_250_000


def test_replay_repeats_the_check_without_a_registry(world: Market) -> None:
    accept(world, command(evidence(world, confirm(world))))
    entries = [entry.body for entry in world.ledger.entries(-1, 1_000)]
    assert verify(entries, MemoryLedger()).ok


def test_envelopes_the_older_role_name_and_other_spellings_of_numbers_count(world: Market) -> None:
    body = confirm(world)
    contract_of(body)["roles"][1]["role"] = "CONSUMER"
    inputs(body, 1)["contractedQuantity"] = {"type": "NUMBER", "required": True, "value": 10.0}
    contract_of(body)["inputParameters"] = {"settlementBasis": "CONTRACTED"}
    accept(world, command(evidence(world, body)))


def test_an_own_signature_of_the_consumer_binds_it_too(world: Market) -> None:
    own = Signer("alice", "k1", bytes([8] * 32))
    body = confirm(world)
    body["context"]["bap_id"] = "alice"
    key = base64.b64encode(own.public_key).decode()
    accept(world, command(evidence(world, body, own), key))


Change = Callable[[Market, dict[str, Any]], None]


def _set(number: int, name: str, value: object) -> Change:
    def change(_world: Market, body: dict[str, Any]) -> None:
        inputs(body, number)[name] = value

    return change


def _context(name: str, value: str) -> Change:
    def change(_world: Market, body: dict[str, Any]) -> None:
        body["context"][name] = value

    return change


def _other_contract(_world: Market, body: dict[str, Any]) -> None:
    contract_of(body)["contractId"] = "k-2"


def _other_basis(_world: Market, body: dict[str, Any]) -> None:
    contract_of(body)["inputParameters"] = {"settlementBasis": "DELIVERED"}


def _later(world: Market, body: dict[str, Any]) -> None:
    inputs(body, 1)["tradeStartTime"] = shown(world.start + 900_000)


def _no_operator(_world: Market, body: dict[str, Any]) -> None:
    contract_of(body)["roles"].pop()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(_context("action", "init"), "context.action", id="an init"),
        pytest.param(_context("bap_id", "other"), "context.bap_id", id="another sender"),
        pytest.param(_context("bpp_id", "other"), "context.bpp_id", id="to another platform"),
        pytest.param(_other_contract, "contractId", id="another contract"),
        pytest.param(_other_basis, "settlementBasis", id="another basis"),
        pytest.param(_later, "tradeStartTime", id="another window"),
        pytest.param(_no_operator, "no GRID_OPERATOR", id="before the operator's terms"),
        pytest.param(_set(0, "sourceMeterId", "m-x"), "sourceMeterId", id="another source"),
        pytest.param(_set(1, "targetMeterId", "m-x"), "targetMeterId", id="another target"),
        pytest.param(_set(1, "contractedQuantity", 9), "contractedQuantity", id="less energy"),
        pytest.param(_set(1, "contractedQuantity", "10"), "contractedQuantity", id="a text"),
        pytest.param(_set(0, "pricePerKWh", 0.14), "pricePerKWh", id="a lower price"),
        pytest.param(_set(0, "currency", "INR"), "currency", id="another currency"),
        pytest.param(_set(2, "wheelingCharges", 0.02), "wheelingCharges", id="other wheeling"),
        pytest.param(_set(2, "wheelingCharges", None), "wheelingCharges", id="no wheeling"),
    ],
)
def test_a_confirm_of_other_terms_does_not_bind(world: Market, change: Change, why: str) -> None:
    body = copy.deepcopy(confirm(world))
    change(world, body)
    assert why in refused(world, command(evidence(world, body)))


def test_a_body_that_was_changed_after_signing_does_not_bind(world: Market) -> None:
    given = evidence(world, confirm(world))
    changed = {**given, "body": given["body"] + " "}
    assert "does not hold" in refused(world, command(changed))


def test_another_key_than_the_registrys_does_not_bind(world: Market) -> None:
    thief = Signer("bap", "k1", bytes([9] * 32))
    assert "does not hold" in refused(world, command(evidence(world, confirm(world), thief)))
    weak = base64.b64encode(bytes(32)).decode()
    assert "does not hold" in refused(world, command(evidence(world, confirm(world)), weak))


def test_a_signature_of_somebody_else_does_not_bind(world: Market) -> None:
    seller = Signer("bpp", "k1", bytes([9] * 32))
    body = confirm(world)
    body["context"]["bap_id"] = "bpp"
    key = base64.b64encode(seller.public_key).decode()
    assert "does not represent" in refused(world, command(evidence(world, body, seller), key))


def test_without_a_key_from_the_registry_nothing_binds(world: Market) -> None:
    assert "no usable key" in refused(world, command(evidence(world, confirm(world)), None))


@pytest.mark.parametrize("age_s", [301, -6, 10_000])
def test_a_signature_that_is_not_valid_now_does_not_bind(world: Market, age_s: int) -> None:
    given = evidence(world, confirm(world), age_s=age_s)
    assert "not valid at this time" in refused(world, command(given))


@pytest.mark.parametrize("age_s", [300, -5])
def test_the_first_and_last_second_of_a_signature_count(world: Market, age_s: int) -> None:
    accept(world, command(evidence(world, confirm(world), age_s=age_s)))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("no json", id="no JSON"),
        pytest.param("[1]", id="no object"),
        pytest.param("{}", id="no context"),
        pytest.param('{"context": 1, "message": {}}', id="context is no object"),
        pytest.param('{"context": {}, "context": {}}', id="a name twice"),
        pytest.param('{"context": {}, "x": NaN}', id="NaN"),
        pytest.param("[" * 50_000, id="very deep"),
        pytest.param('{"x": ' + "9" * 10_000 + "}", id="a number of 10 000 digits"),
    ],
)
def test_bodies_that_are_no_confirm_do_not_bind(world: Market, body: str) -> None:
    assert "the body" in refused(world, command(evidence(world, body)))


def test_an_order_that_is_no_object_does_not_bind(world: Market) -> None:
    body = confirm(world)
    body["message"]["order"] = []
    assert "no object order" in refused(world, command(evidence(world, body)))


@pytest.mark.parametrize(
    "roles", [None, 1, [], [1], [{"role": []}], [{"role": "SELLER", "roleInputs": 3}]]
)
def test_roles_of_any_shape_are_judged(world: Market, roles: object) -> None:
    body = confirm(world)
    contract_of(body)["roles"] = roles
    assert refused(world, command(evidence(world, body)))


@pytest.mark.parametrize(
    "header",
    [
        "Bearer x",
        "Signature ",
        'Signature keyId="bap|k1|ed25519"',
        'Signature keyId="bap|k1",algorithm="ed25519",created="1",expires="2",'
        'headers="(created) (expires) digest",signature="AAAA"',
        'Signature keyId="bap|k1|ed25519",keyId="bap|k1|ed25519"',
    ],
)
def test_headers_that_cannot_be_read_do_not_bind(world: Market, header: str) -> None:
    given = {**evidence(world, confirm(world)), "authorization": header}
    assert "cannot be read" in refused(world, command(given))


@pytest.mark.parametrize(
    "given",
    [
        "text",
        {},
        {"authorization": "x"},
        {"authorization": "x", "body": ""},
        {"authorization": "x", "body": 1},
        {"authorization": "x", "body": "x", "public_key": PUBLIC},
        {"authorization": "x" * 2_049, "body": "x"},
        {"authorization": "x", "body": "x" * 65_537},
        {"authorization": "x", "body": "\ud800"},
    ],
)
def test_evidence_of_another_shape_is_no_argument(world: Market, given: object) -> None:
    args = {"agreement_no": 1, "evidence": given}
    world.refused("INVALID_INPUT", ACCEPT, "bpp", "bob", **args)


def test_evidence_needs_the_setting() -> None:
    world = without_mandate(consent=["DIRECT", "MANDATE"])
    assert "takes no evidence" in refused(world, command(evidence(world, confirm(world))))


def test_a_mandate_binds_when_the_evidence_does_not(world: Market) -> None:
    world.do("token.approve", "bap", "alice", spender="network", value=2, asset="USD")
    body = confirm(world)
    _other_contract(world, body)
    accept(world, command(evidence(world, body)))
    # 2.00 allowed, 1.75 of it used
    left = world.read("token.allowance", owner="alice", spender="network", asset="USD")
    assert left == "0.25"


def test_evidence_leaves_the_allowance_alone(world: Market) -> None:
    world.do("token.approve", "bap", "alice", spender="network", value=2, asset="USD")
    accept(world, command(evidence(world, confirm(world))))
    left = world.read("token.allowance", owner="alice", spender="network", asset="USD")
    assert left == "2.00"


@pytest.mark.parametrize(
    ("consent", "ways"),
    [
        (["DIRECT"], {"DIRECT"}),
        (["EVIDENCE"], {"EVIDENCE"}),
        (["MANDATE"], {"MANDATE"}),
        ("DIRECT,EVIDENCE,MANDATE", {"DIRECT", "EVIDENCE", "MANDATE"}),
    ],
)
def test_only_the_listed_ways_bind_the_consumer(consent: object, ways: set[str]) -> None:
    for way in ("DIRECT", "EVIDENCE", "MANDATE"):
        world = without_mandate(consent=consent)
        if way == "MANDATE":
            world.do("token.approve", "bap", "alice", spender="network", value=2, asset="USD")
        calls: dict[str, Callable[[Market], object]] = {
            "DIRECT": lambda w: w.do(ACCEPT, "bap", "alice", agreement_no=1),
            "EVIDENCE": lambda w: accept(w, command(evidence(w, confirm(w)))),
            "MANDATE": lambda w: w.do(ACCEPT, "bpp", "bob", agreement_no=1),
        }
        if way in ways:
            calls[way](world)
        else:
            with pytest.raises(ContractError, match="neither accepted nor allowed"):
                calls[way](world)
