"""Rules 1 and 2 of protocol section 14; the list of hostile URLs is in tests/security."""

from dataclasses import replace

import pytest

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.protocol.callback_url import check_callback_url

NOW_MS = 1_772_438_400_000


def record(url: str, kind: str = "BAP") -> Participant:
    return Participant("peer.example", "k1", kind, url, "", "")


def accepts(url: str, *records: Participant, allow_http: bool = False, kind: str = "BAP") -> bool:
    try:
        check_callback_url(url, records, now_ms=NOW_MS, allow_http=allow_http, record_type=kind)
    except WireError:
        return False
    return True


LISTED = record("https://peer.example/bap/receiver")


@pytest.mark.parametrize(
    "url",
    [
        "https://peer.example/bap/receiver",
        "https://peer.example/bap/receiver/",
        "https://peer.example/bap/receiver/v2",
        "HTTPS://Peer.Example/bap/receiver",
        "https://peer.example:443/bap/receiver",
    ],
)
def test_the_listed_url_and_what_lies_below_is_accepted(url: str) -> None:
    assert accepts(url, LISTED)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://other.example/bap/receiver", id="other host"),
        pytest.param("https://peer.example:8443/bap/receiver", id="other port"),
        pytest.param("http://peer.example/bap/receiver", id="other scheme"),
        pytest.param("https://peer.example/", id="above the path"),
        pytest.param("https://peer.example/bap/receiver2", id="no segment border"),
        pytest.param("https://peer.example/bap", id="parent path"),
        pytest.param("https://peer.example.evil.example/bap/receiver", id="longer host"),
        pytest.param("https://sub.peer.example/bap/receiver", id="subdomain"),
    ],
)
def test_another_url_than_the_listed_is_refused(url: str) -> None:
    assert not accepts(url, LISTED)


def test_http_is_accepted_only_when_allowed() -> None:
    listed = record("http://127.0.0.1:8101/bap/receiver")
    assert not accepts(listed.url, listed)
    assert accepts(listed.url, listed, allow_http=True)


def test_a_platform_listed_only_as_bpp_may_be_called_at_any_path_of_its_origin() -> None:
    bpp = record("https://peer.example/bpp/receiver", "BPP")
    assert accepts("https://peer.example/bap/receiver", bpp)
    assert not accepts("https://peer.example/bap/receiver", bpp, record("https://peer.example/x"))
    assert not accepts("https://peer.example/bap/receiver", bpp, kind="BPP")


@pytest.mark.parametrize(
    "unusable",
    [
        replace(LISTED, status="UNSUBSCRIBED"),
        replace(LISTED, revoked=True),
        replace(LISTED, valid_until_ms=NOW_MS - 1),
    ],
    ids=["unsubscribed", "revoked", "expired"],
)
def test_an_unusable_record_lists_nothing(unusable: Participant) -> None:
    assert not accepts(LISTED.url, unusable)


def test_the_refusal_names_the_field() -> None:
    with pytest.raises(WireError, match="scheme, host and port") as caught:
        check_callback_url("https://a.example", [LISTED], now_ms=NOW_MS, allow_http=False)
    assert (caught.value.code, caught.value.path) == ("CTX_INVALID_FIELD", "$.context.bap_uri")


def test_an_international_name_equals_its_idna_form() -> None:
    assert accepts("https://bücher.example/x", record("https://xn--bcher-kva.example/x"))


def test_an_address_in_brackets_is_compared_as_text() -> None:
    assert accepts("https://[2A00:1450::1]/x", record("https://[2a00:1450::1]/x"))


def test_the_length_is_bounded() -> None:
    base = "https://peer.example/"
    listed = record(base)
    assert accepts(base + "a" * (2_048 - len(base)), listed)
    assert not accepts(base + "a" * (2_049 - len(base)), listed)
