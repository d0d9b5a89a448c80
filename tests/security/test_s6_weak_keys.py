"""S6: keys with which anybody can sign, or which are written in two ways, are refused."""

import base64

import pytest

from adapter.protocol.signature import Signer, is_good_public_key, verify_bytes
from adapter.transport.registry_records import RecordError, participant_from

P = 2**255 - 19
SIGN_BIT = 1 << 255

# The eight points of small order, and encodings that are not the canonical one.
# Source: RFC 8032, 5.1.3; the list of libsodium's ge25519_has_small_order.
ORDER_8_Y = (
    2707385501144840649318225287225658788936804267575313519463743609750303021622,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
)
INTEGERS = {
    "order 4, y = 0": 0,
    "order 4, y = 0, sign": SIGN_BIT,
    "identity, y = 1": 1,
    "identity with sign": 1 | SIGN_BIT,
    "order 2, y = -1": P - 1,
    "order 2, y = -1, sign": (P - 1) | SIGN_BIT,
    "order 8, first": ORDER_8_Y[0],
    "order 8, first, sign": ORDER_8_Y[0] | SIGN_BIT,
    "order 8, second": ORDER_8_Y[1],
    "order 8, second, sign": ORDER_8_Y[1] | SIGN_BIT,
    "y = p, not canonical 0": P,
    "y = p, sign": P | SIGN_BIT,
    "y = p + 1, not canonical 1": P + 1,
    "y = p + 1, sign": (P + 1) | SIGN_BIT,
    "y = p + 3, not canonical": P + 3,
    "all ones": 2**256 - 1,
    "largest without sign": 2**255 - 1,
    "y = 2, not on the curve": 2,
    "y = 7, not on the curve": 7,
}
KEYS = {name: number.to_bytes(32, "little") for name, number in INTEGERS.items()}
LENGTHS = {f"{length} bytes": b"\x05" * length for length in (0, 1, 31, 33, 64)}
# A good point plus one of order 2 lies outside the main subgroup: (x, y) becomes (-x, -y).
GOOD = Signer("a", "b", bytes(32)).public_key
_NUMBER = int.from_bytes(GOOD, "little")
MIXED = {
    "outside the main subgroup": ((P - (_NUMBER & ~SIGN_BIT)) | (~_NUMBER & SIGN_BIT)).to_bytes(
        32, "little"
    )
}
BAD = [pytest.param(key, id=name) for name, key in (KEYS | LENGTHS | MIXED).items()]


def test_s6_there_are_enough_vectors() -> None:
    assert len(BAD) >= 20
    assert is_good_public_key(GOOD)


@pytest.mark.parametrize("key", BAD)
def test_s6_weak_key_verifies_nothing(key: bytes) -> None:
    assert not is_good_public_key(key)
    for signature in (bytes(64), b"\x01" + bytes(63), key[:32].ljust(32) + bytes(32)):
        assert not verify_bytes(key, b"message", signature)


@pytest.mark.parametrize("key", BAD)
def test_s6_weak_key_is_refused_by_every_registry(key: bytes) -> None:
    record = {
        "subscriber_id": "peer.example",
        "key_id": "k1",
        "type": "BAP",
        "url": "https://peer.example",
        "signing_public_key": base64.b64encode(key).decode(),
    }
    with pytest.raises(RecordError, match="signing_public_key"):
        participant_from(record)
