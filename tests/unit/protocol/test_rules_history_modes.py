"""Rules over earlier messages of tariff and market contracts."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.protocol.messages import (
    Message,
    contract,
    d,
    f,
    inputs,
    m,
    m_init,
    of_platform,
    p,
    role,
    t,
    tariff,
)
from tests.unit.protocol.test_rules_history import codes, feed

AGENT = "MARKET_CLEARING_AGENT"
LOAD, PV = "load.example", "pv.example"
Build = Callable[[], Message]


def at(build: Build, action: str, **context: object) -> Message:
    """Return a message under another action."""
    message = build()
    message["context"] |= {"action": action, **context}
    return message


def t_init() -> Message:
    """Return T as init."""
    message = at(t, "init")
    contract(message)["status"] = "PENDING"
    return message


def t_on_init() -> Message:
    """Return the answer to it."""
    return at(t_init, "on_init")


def m_on_init() -> Message:
    """Return the answer to M's init."""
    return at(m_init, "on_init")


def cleared(powers: dict[str, str], **more: Any) -> Message:
    """Return M with another result."""
    message = m()
    inputs(message, AGENT)["clearedPower"] = {name: d(power) for name, power in powers.items()}
    inputs(message, AGENT).update(more)
    return message


def cheaper() -> Message:
    """Return T with a lower price in the evening."""
    message = t()
    seller = inputs(message, "SELLER")
    seller["tariff"] = tariff()
    seller["tariff"]["elements"][0]["priceComponents"][0]["price"] = d("0.29")
    return message


def only(name: str, build: Build = m) -> Message:
    """Return M as a participant sees it."""
    message = build()
    other = PV if name == LOAD else LOAD
    contract(message)["roles"].remove(of_platform(message, other))
    inputs(message, AGENT).get("clearedPower", {}).pop(other, None)
    return message


def one_platform(build: Build, *, reverse: bool = False) -> Message:
    """Return M with both prosumers under one platform."""
    message = build()
    for name in (LOAD, PV):
        of_platform(message, name)["filledBy"] = "home.example"
    if reverse:
        contract(message)["roles"].reverse()
    return message


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param((t_init(), t_on_init(), t()), set(), id="a tariff stays"),
        pytest.param(
            (t_init(), t_on_init(), cheaper()), {"P2P_HIST_TERM_CHANGED"}, id="a tariff changes"
        ),
        pytest.param((t_init(), f()), {"P2P_HIST_IDENTITY"}, id="a tariff becomes a fixed price"),
        pytest.param((p(), m()), {"P2P_HIST_IDENTITY"}, id="a market out of nothing"),
        pytest.param((m_init(), m_on_init(), m()), set(), id="a market clears"),
        pytest.param(
            (m_init(), m_on_init(), m(), cleared({LOAD: "-4.7", PV: "4.716981"})),
            {"P2P_HIST_TERM_CHANGED"},
            id="and not again",
        ),
        pytest.param(
            (m_init(), m_on_init(), m(), m_init()),
            {"P2P_HIST_STATUS", "P2P_HIST_TERM_DROPPED"},
            id="nor goes it back",
        ),
        pytest.param(
            (m_init(), m_on_init(), cleared({LOAD: "-4.716981"}), m(), m()),
            set(),
            id="a key is added",
        ),
        pytest.param(
            (only(LOAD, m_init), only(LOAD, m_on_init), only(LOAD), m()),
            set(),
            id="a participant is shown more",
        ),
        pytest.param(
            (m_init(), m_on_init(), m(), only(LOAD)),
            {"P2P_HIST_TERM_DROPPED"},
            id="and less",
        ),
        pytest.param(
            (one_platform(m_init), one_platform(m_on_init), one_platform(m_on_init, reverse=True)),
            set(),
            id="two of one platform in another order",
        ),
    ],
)
def test_the_history_of_a_contract(messages: tuple[Message, ...], expected: set[str]) -> None:
    assert codes(*messages) == expected


def test_a_changed_entry_of_the_result_is_named() -> None:
    (finding,) = feed(m_init(), m_on_init(), m(), cleared({LOAD: "-4.716981", PV: "4.7"}))
    assert finding.params["name"] == "clearedPower[pv.example]"
    assert (finding.params["was"], finding.params["now"]) == ("4.716981", "4.7")
    assert finding.path.endswith(".clearedPower['pv.example']")


def test_a_key_once_seen_may_not_change_though_it_was_not_repeated() -> None:
    whole, part = m(), only(LOAD)
    changed = cleared({LOAD: "-4.716981", PV: "4.7"})
    assert "P2P_HIST_TERM_CHANGED" in codes(m_init(), m_on_init(), whole, part, changed)


def test_a_key_that_was_added_later_may_not_change_either() -> None:
    first, whole = cleared({LOAD: "-4.716981"}), m()
    changed = cleared({LOAD: "-4.716981", PV: "4.7"})
    assert "P2P_HIST_TERM_CHANGED" in codes(m_init(), m_on_init(), first, whole, changed)


def test_the_cascade_of_a_market_repeats_what_its_participants_said() -> None:
    def cascaded(build: Build) -> Message:
        message = at(
            build, "confirm", transaction_id="t-2", bap_id="mca.example", bpp_id="grid.example"
        )
        return message

    same = cascaded(m)
    other = cascaded(m)
    of_platform(other, PV)["roleInputs"]["sourceMeterId"] = "MP-9"
    known = (m_init(), m_on_init(), m())
    assert codes(*known, same) == set()
    assert codes(*known, other) == {"P2P_HIST_CASCADE_MISMATCH"}


def cascaded(build: Build, action: str, **parts: Any) -> Message:
    """Return a message of the market's transaction with its grid operator."""
    return at(
        build, action, transaction_id="t-2", bap_id="mca.example", bpp_id="grid.example", **parts
    )


def of_one(name: str, build: Build, action: str) -> Message:
    """Return a cascaded message about one participant."""
    message = only(name, lambda: cascaded(build, action))
    inputs(message, "GRID_OPERATOR")["current_seller_trade_total"] = 5 if name == PV else 0
    return message


def test_an_operator_answers_each_participant_of_a_market_with_its_own_totals() -> None:
    told = [of_one(name, m_on_init, "on_init") for name in (LOAD, PV)]
    assert codes(*told) == set()


def test_two_meters_of_one_platform_are_told_to_the_operator_one_after_the_other() -> None:
    told = [of_one(name, m_on_init, "on_init") for name in (LOAD, PV)]
    for message in told:
        contract(message)["roles"][1]["filledBy"] = "home.example"
    assert codes(*told) == set()


def test_a_market_does_not_change_its_fee_between_two_participants() -> None:
    first, second = (of_one(name, m_on_init, "on_init") for name in (LOAD, PV))
    inputs(second, AGENT)["marketMakingFee"] = d("0.02")
    assert "P2P_HIST_TERM_CHANGED" in codes(first, second)


def test_a_share_of_a_market_ends_for_itself() -> None:
    ended = only(LOAD)
    contract(ended)["status"] = "COMPLETED"
    other = only(PV)
    other["context"]["transaction_id"] = "t-9"
    known = (only(LOAD, m_init), only(LOAD, m_on_init), only(LOAD), ended)
    assert "P2P_HIST_STATUS" not in codes(*known, other)
    assert "P2P_HIST_STATUS" in codes(*known, only(LOAD))


def test_a_cancelled_market_keeps_its_result() -> None:
    message = at(m, "on_cancel")
    contract(message)["status"] = "TERMINATED"
    assert codes(m_init(), m_on_init(), m(), message) == set()
    role(message, AGENT)["roleInputs"]["clearingPrice"] = 1
    assert codes(m_init(), m_on_init(), m(), message) == {"P2P_HIST_TERM_CHANGED"}
