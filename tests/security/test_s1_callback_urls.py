"""S1: a URL from a message must not lead us anywhere but to the sender's own public node."""

import socket
from ipaddress import ip_network

import pytest

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.protocol.callback_url import check_callback_url
from adapter.transport.address_guard import AddressGuard, ForbiddenAddressError, is_allowed

NOW_MS = 1_772_438_400_000
PEER = Participant("peer.example", "k1", "BAP", "https://peer.example/bap/receiver", "", "")

HOSTILE_URLS = [
    "https://127.0.0.1/bap/receiver",
    "https://localhost/bap/receiver",
    "https://[::1]/bap/receiver",
    "https://[::ffff:127.0.0.1]/bap/receiver",
    "https://[::ffff:7f00:1]/bap/receiver",
    "https://2130706433/bap/receiver",
    "https://0x7f000001/bap/receiver",
    "https://0x7f.0.0.1/bap/receiver",
    "https://0177.0.0.1/bap/receiver",
    "https://127.1/bap/receiver",
    "https://127.0.0.1./bap/receiver",
    "https://10.0.0.8/bap/receiver",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/bap/receiver",
    "https://[64:ff9b::7f00:1]/bap/receiver",
    "https://[2002:7f00:1::]/bap/receiver",
    "https://[fe80::1%25eth0]/bap/receiver",
    "https://peer.example@127.0.0.1/bap/receiver",
    "https://user:secret@peer.example/bap/receiver",
    "https://peer.example:443@evil.example/bap/receiver",
    "https://peer.example#@evil.example/bap/receiver",
    "https://peer.example?@evil.example/bap/receiver",
    "https://peer.example\\@evil.example/bap/receiver",
    "https:\\\\peer.example\\bap\\receiver",
    "https://peer.example/bap/receiver?x=1",
    "https://peer.example/bap/receiver#x",
    "https://peer.example/bap/receiver/../../admin",
    "https://peer.example/bap/receiver/./x",
    "https://peer.example/bap/receiver/%2e%2e/admin",
    "https://peer.example/bap/receiver/%2E%2E%2Fadmin",
    "https://peer.example/bap/receiver%2f..",
    "https://peer.example/bap/receiver/%5c..",
    "https://peer.example//bap/receiver",
    "https://peer.example/bap//receiver",
    "//peer.example/bap/receiver",
    "//evil",
    "/bap/receiver",
    "peer.example/bap/receiver",
    "https:///bap/receiver",
    "https://",
    "",
    "http://peer.example/bap/receiver",
    "ftp://peer.example/bap/receiver",
    "file:///etc/passwd",
    "gopher://peer.example/_x",
    "javascript:alert(1)",
    "https://peer.example:0/bap/receiver",
    "https://peer.example:65536/bap/receiver",
    "https://peer.example:8443/bap/receiver",
    "https://peer.example:/bap/receiver",
    "https://peer.example /bap/receiver",
    "https://peer.example/bap/receiver\r\nHost: evil.example",
    "https://peer.example/bap/receiver\n",
    " https://peer.example/bap/receiver",
    "https://peer.example/bap/receiver\x00",
    "https://peer%2eexample/bap/receiver",
    "https://p\u0435er.example/bap/receiver",
    "https://peer\u3002example.evil/bap/receiver",
    "https://evil.example/peer.example/bap/receiver",
    "https://peer.example.evil.example/bap/receiver",
    "https://xn--/bap/receiver",
    "https://" + "a" * 64 + ".example/bap/receiver",
    "https://peer.example/bap/receiver/" + "a" * 2_048,
]


@pytest.mark.parametrize("url", HOSTILE_URLS, ids=ascii)
def test_s1_hostile_url_is_refused(url: str) -> None:
    with pytest.raises(WireError) as caught:
        check_callback_url(url, [PEER], now_ms=NOW_MS, allow_http=False)
    assert caught.value.code == "CTX_INVALID_FIELD"


def test_s1_the_listed_url_is_accepted() -> None:
    target = check_callback_url(PEER.url, [PEER], now_ms=NOW_MS, allow_http=False)
    assert target.origin == ("https", "peer.example", 443)


@pytest.mark.parametrize(
    "url", ["https://2130706433/x", "https://0x7f.1/x", "https://0177.0.0.1/x", "https://127.1/x"]
)
def test_s1_odd_spelling_of_an_address_is_refused_even_if_listed(url: str) -> None:
    listed = Participant("peer.example", "k1", "BAP", url, "", "")
    with pytest.raises(WireError):
        check_callback_url(url, [listed], now_ms=NOW_MS, allow_http=False)


FORBIDDEN_ADDRESSES = [
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "::",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "224.0.1.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "3fff::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "5f00::1",
    "4000::1",
    "not an address",
    "0x7f000001",
    "2130706433",
]


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_s1_address_that_is_not_public_is_never_dialled(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    guard = AddressGuard()
    assert not is_allowed(address)
    with pytest.raises(ForbiddenAddressError):
        guard((family, socket.SOCK_STREAM, 0, "", (address, 443)))


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450:4001::1", "::ffff:8.8.8.8"])
def test_s1_public_address_may_be_dialled(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_s1_loopback_may_be_dialled_from_a_node_on_loopback_alone(address: str) -> None:
    assert is_allowed(address, allow_loopback=True)
    assert not is_allowed("10.0.0.1", allow_loopback=True)


def test_s1_allowed_networks_open_no_more_than_themselves() -> None:
    networks = [ip_network("10.1.0.0/16")]
    assert is_allowed("10.1.2.3", allow_networks=networks)
    assert is_allowed("::ffff:10.1.2.3", allow_networks=networks)
    assert not is_allowed("10.2.0.1", allow_networks=networks)
