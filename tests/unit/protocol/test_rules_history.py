"""Rules over earlier messages of one contract."""

from collections.abc import Callable

import pytest

from adapter.domain.findings import Finding, Severity
from adapter.protocol import strict_json
from adapter.protocol.rules import ContractHistory, check_history, contract_id_of, record
from tests.unit.protocol.messages import (
    DAY,
    Message,
    casc,
    contract,
    d,
    dlv,
    envelope,
    f,
    inputs,
    o,
    p,
    p_on_init,
    role,
)

Build = Callable[[], Message]


def feed(*messages: Message) -> tuple[Finding, ...]:
    """Return what the last message yields after the others."""
    history: ContractHistory | None = None
    findings: tuple[Finding, ...] = ()
    for message in messages:
        action = message["context"]["action"]
        findings = check_history(history, action, message)
        history = record(history, action, message)
        if history is not None:  # what a store gives back is the same
            history = ContractHistory.from_data(
                strict_json.decode(strict_json.encode(history.to_data()))
            )
    return findings


def codes(*messages: Message) -> set[str]:
    """Return the codes that the last message yields after the others."""
    return {finding.code for finding in feed(*messages)}


def with_input(build: Build, name: str, **values: object) -> Message:
    """Return a message with inputs of a role set."""
    message = build()
    inputs(message, name).update(values)
    return message


def created(build: Build, time: str) -> Message:
    """Return a message with another createdAt."""
    message = build()
    contract(message)["createdAt"] = f"{DAY}{time}"
    return message


def f_without(name: str) -> Message:
    """Return F without an input of the seller."""
    message = f()
    del inputs(message, "SELLER")[name]
    return message


@pytest.mark.parametrize(
    ("code", "ok", "fires"),
    [
        ("P2P_HIST_STATUS", (f(), dlv()), (dlv(), f())),
        ("P2P_HIST_IDENTITY", (p(), f()), (p(), created(f, "06:00:01Z"))),
        (
            "P2P_HIST_TERM_CHANGED",
            (p(), p_on_init(), f()),
            (p(), p_on_init(), with_input(f, "SELLER", pricePerKWh=d("0.13"))),
        ),
        (
            "P2P_HIST_TERM_DROPPED",
            (p(), p_on_init(), f()),
            (p(), p_on_init(), f_without("maximumQuantity")),
        ),
        (
            "P2P_HIST_CASCADE_MISMATCH",
            (p(), p_on_init(), casc()),
            (p(), p_on_init(), with_input(casc, "SELLER", sourceMeterId="MS-9")),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_rule_on_its_examples(
    code: str, ok: tuple[Message, ...], fires: tuple[Message, ...]
) -> None:
    assert codes(*ok) == set()
    assert codes(*fires) == {code}


def test_a_change_names_role_input_and_both_values() -> None:
    (finding,) = feed(p(), p_on_init(), with_input(f, "SELLER", pricePerKWh=d("0.13")))
    assert finding.message == "SELLER.pricePerKWh changed from 0.12 to 0.13 after on_init"
    assert finding.path.endswith(".roles[0].roleInputs.pricePerKWh")
    assert finding.wire_code == "BIZ_UPDATE_INCONSISTENT"


def test_a_wrong_step_carries_the_code_of_its_nack() -> None:
    (finding,) = feed(dlv(), f())
    assert finding.wire_code == "BIZ_INVALID_STATE_TRANSITION"


def test_terms_may_change_until_on_init() -> None:
    assert codes(p(), with_input(p, "SELLER", pricePerKWh=d("0.13"))) == set()


def test_the_same_value_in_other_spelling_is_no_change() -> None:
    later = with_input(
        f,
        "BUYER",
        contractedQuantity=envelope("NUMBER", d("8.000")),
        tradeStartTime=f"{DAY}10:00:00+01:00",
    )
    assert codes(p(), p_on_init(), later) == set()


def test_a_dropped_term_still_may_not_change_later() -> None:
    dropped = f_without("maximumQuantity")
    changed = with_input(f, "SELLER", maximumQuantity=41)
    assert codes(p(), p_on_init(), dropped, changed) == {"P2P_HIST_TERM_CHANGED"}


def test_a_changed_term_is_not_taken_over() -> None:
    changed = with_input(f, "SELLER", pricePerKWh=d("0.13"))
    assert codes(p(), p_on_init(), changed, changed) == {"P2P_HIST_TERM_CHANGED"}


def test_a_refused_status_is_not_taken_over() -> None:
    assert codes(dlv(), f(), dlv()) == set()


def test_the_parent_repeats_the_operators_answer() -> None:
    answer = casc()
    answer["context"]["action"] = "on_init"
    role(answer, "GRID_OPERATOR").update(
        filled=True, filledBy="grid.example", roleInputs=inputs(f(), "GRID_OPERATOR")
    )
    assert codes(p(), p_on_init(), answer, f()) == set()
    cheaper = with_input(f, "GRID_OPERATOR", wheelingCharges=d("0.01"))
    assert codes(p(), p_on_init(), answer, cheaper) == {"P2P_HIST_CASCADE_MISMATCH"}


def test_mode_is_known_once_the_seller_is_filled() -> None:
    open_seller = p()
    open_seller["context"]["action"] = "select"
    role(open_seller, "SELLER").update(filled=False, filledBy=None, roleInputs={})
    assert codes(open_seller, f()) == set()


def test_consumer_and_buyer_are_one_role() -> None:
    later = f()
    role(later, "BUYER")["role"] = "CONSUMER"
    assert codes(p(), p_on_init(), later) == set()


def test_a_catalogue_shows_templates_and_leaves_no_history() -> None:
    assert contract_id_of("on_discover", o()) is None
    assert record(None, "on_discover", o()) is None


def test_a_message_without_a_contract_changes_nothing() -> None:
    history = record(None, "init", p())
    status: Message = {"context": p()["context"], "message": {"order": {"beckn:id": "o-1"}}}
    assert check_history(history, "status", status) == ()
    assert record(history, "status", status) is history


def test_dropped_terms_are_information_in_the_order_of_names() -> None:
    message = f_without("maximumQuantity")
    del inputs(message, "SELLER")["minimumQuantity"]
    (finding,) = feed(p(), p_on_init(), message)
    assert finding.severity is Severity.INFO
    assert finding.params["names"] == "maximumQuantity, minimumQuantity"
