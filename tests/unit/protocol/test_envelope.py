"""What a context must say before keys and state are asked."""

from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.domain.instants import parse_instant
from adapter.protocol.actions import Action
from adapter.protocol.envelope import check_context, is_judgeable, make_envelope
from tests.unit.protocol.messages import p

ME, NOW_MS = "sell.example", parse_instant("2026-03-02T08:00:00Z")


def check(action: Action = Action.INIT, **changes: Any) -> tuple[int, int | None]:
    """Check P's context with changes; `...` takes a field away."""
    context = p()["context"] | {"action": action.value} | changes
    context = {name: value for name, value in context.items() if value is not ...}
    return check_context(context, action, me=ME, now_ms=NOW_MS, skew_ms=5_000)


def code(action: Action = Action.INIT, **changes: Any) -> str:
    with pytest.raises(WireError) as refusal:
        check(action, **changes)
    return refusal.value.code


def test_a_good_context_gives_its_time_and_its_life() -> None:
    assert check() == (NOW_MS, 30_000)


@pytest.mark.parametrize(
    ("ttl", "expected_ms"),
    [
        ("PT30S", 30_000),
        ("PT0.5S", 500),
        ("P1M", 30 * 86_400_000),
        ("P1Y", 365 * 86_400_000),
        ("P1W", 7 * 86_400_000),
        ("P1DT1H1M1S", 90_061_000),
        (..., None),
        (None, None),
    ],
)
def test_a_life_is_an_iso_duration(ttl: Any, expected_ms: int | None) -> None:
    assert check(ttl=ttl)[1] == expected_ms


@pytest.mark.parametrize("ttl", ["30", "PT", "P", "PT0S", "-PT30S", "PT30", "30S", "PT1e3S", 30])
def test_nothing_else_is_a_life(ttl: Any) -> None:
    assert code(ttl=ttl) == "CTX_INVALID_FIELD"


def test_a_clock_may_be_5_s_ahead_and_no_more() -> None:
    assert check(timestamp="2026-03-02T08:00:05Z")[0] == NOW_MS + 5_000
    assert code(timestamp="2026-03-02T08:00:05.001Z") == "CTX_INVALID_FIELD"


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-03-02T08:00:00",
        "2026-03-02",
        "2026-02-30T08:00:00Z",
        "2026-03-02T24:00:00Z",
        "2026-03-02 08:00:00Z",
        "2026-03-02T08:00:00+0100",
        "now",
    ],
)
def test_a_time_is_rfc_3339_with_offset(timestamp: str) -> None:
    assert code(timestamp=timestamp) == "CTX_INVALID_FIELD"


def test_a_request_is_addressed_to_this_bpp_and_a_callback_to_this_bap() -> None:
    assert code(bpp_id="other.example") == "CTX_INVALID_FIELD"
    assert code(Action.ON_INIT) == "CTX_INVALID_FIELD"
    assert check(Action.ON_INIT, bap_id=ME, bpp_id="grid.example")[0] == NOW_MS


def test_only_discover_may_leave_the_bpp_out() -> None:
    gone: dict[str, Any] = {"bpp_id": ..., "bpp_uri": ...}
    assert check(Action.DISCOVER, **gone)[0] == NOW_MS
    assert code(**gone) == "CTX_MISSING_FIELD"


@pytest.mark.parametrize("uri", ["", "sell.example", "ftp://sell.example", "https://", "//x/y"])
def test_a_bpp_uri_is_an_absolute_http_url(uri: str) -> None:
    assert code(bpp_uri=uri) in ("CTX_INVALID_BPP_URI", "CTX_INVALID_FIELD")


@pytest.mark.parametrize(
    ("one", "other"),
    [("transaction_id", "transactionId"), ("bap_uri", "bapUri"), ("bpp_id", "bppId")],
)
def test_a_field_is_written_once(one: str, other: str) -> None:
    assert code(**{other: p()["context"][one]}) == "CTX_INVALID_FIELD"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"context": {}, "message": {}}, True),
        ({"context": {}, "error": {}}, True),
        ({"context": {}}, False),
        ({"context": [], "message": {}}, False),
        ({"context": {}, "message": []}, False),
        ({"context": {}, "message": None, "error": {}}, False),
    ],
)
def test_only_objects_are_judged(body: dict[str, Any], expected: bool) -> None:
    assert is_judgeable(body) is expected


def test_a_contract_is_read_once_and_not_out_of_a_catalogue() -> None:
    envelope = make_envelope(p(), b"{}", Action.INIT, (NOW_MS, None))
    assert envelope.view is not None
    assert envelope.view is envelope.view
    assert envelope.view.contract is envelope.contract
    assert make_envelope(p(), b"{}", Action.ON_DISCOVER, (NOW_MS, None)).view is None


def test_an_error_is_taken_out_of_a_callback_but_not_out_of_a_request() -> None:
    body = p() | {"error": {"code": "X", "message": "m"}}
    callback = make_envelope(body, b"{}", Action.ON_INIT, (NOW_MS, None))
    assert callback.error == {"code": "X", "message": "m"}
    assert make_envelope(body, b"{}", Action.INIT, (NOW_MS, None)).error is None
