"""S4: no header but the signer's own is accepted. Many more mutants in tests/unit/protocol."""

import base64
import random

import pytest

from adapter.domain.errors import WireError
from adapter.protocol.digest import body_digest
from adapter.protocol.signature import (
    FOUR_FIELDS,
    Signer,
    candidate_strings,
    check_times,
    parse_header,
    verify_bytes,
)

NOW_S = 1_772_438_400
SIGNER = Signer("bap.buyer.example", "k1", b"\x01" * 32)
OTHER = Signer("bpp.seller.example", "k1", b"\x02" * 32)
BODY = b'{"context":{"action":"init"}}'
HEADER = SIGNER.header(BODY, created_s=NOW_S, expires_s=NOW_S + 300)
SMALL_ORDER_KEY = bytes(32)
KEYS = {
    (SIGNER.subscriber_id, SIGNER.key_id): SIGNER.public_key,
    (OTHER.subscriber_id, OTHER.key_id): OTHER.public_key,
    ("mallory.example", "k1"): SMALL_ORDER_KEY,
}
MUTANTS = 100_000


def accepted(header: str, body: bytes = BODY) -> bool:
    """Return whether the header passes checks 1 to 10 of a forward request."""
    try:
        parsed = parse_header(header)
        check_times(parsed, now_ms=NOW_S * 1_000, skew_ms=5_000)
    except WireError:
        return False
    key = KEYS.get((parsed.subscriber_id, parsed.key_id))
    if key is None:
        return False
    strings = candidate_strings(parsed, body)
    return any(verify_bytes(key, text, parsed.signature_bytes) for text in strings)


def created_alone() -> str:
    """Return a header whose signature covers `(created)` only."""
    signature = base64.b64encode(SIGNER.sign_bytes(f"(created): {NOW_S}".encode())).decode()
    return (
        f'Signature keyId="bap.buyer.example|k1|ed25519",algorithm="ed25519",created="{NOW_S}",'
        f'expires="{NOW_S + 300}",headers="(created)",signature="{signature}"'
    )


def under_a_small_order_key() -> str:
    """Return a header that holds for any message under the all-zero key."""
    signature = base64.b64encode(b"\x01" + bytes(63)).decode()
    return (
        'Signature keyId="mallory.example|k1|ed25519",algorithm="ed25519",'
        f'created="{NOW_S}",expires="{NOW_S + 300}",headers="(created) (expires) digest",'
        f'signature="{signature}"'
    )


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(HEADER.replace("bap.buyer", "bpp.seller"), id="keyId of another subscriber"),
        pytest.param(HEADER.replace('"ed25519"', '"rsa-sha256"'), id="another algorithm"),
        pytest.param(created_alone(), id="(created) alone"),
        pytest.param(HEADER + f',created="{NOW_S}"', id="duplicate parameter"),
        pytest.param(HEADER.removeprefix("Signature "), id="missing scheme"),
        pytest.param(HEADER.replace("Signature", "Bearer", 1), id="another scheme"),
        pytest.param(
            SIGNER.header(BODY, created_s=NOW_S, expires_s=NOW_S + 315_360_000), id="ten years"
        ),
        pytest.param(under_a_small_order_key(), id="small-order key"),
        pytest.param(
            SIGNER.header(BODY, created_s=NOW_S, expires_s=NOW_S + 300, request_signature="AAAA"),
            id="four fields on a forward request",
        ),
        pytest.param(
            HEADER.replace("(created) (expires) digest", FOUR_FIELDS), id="a field more than signed"
        ),
        pytest.param(HEADER.replace(" digest", ""), id="a field less than signed"),
        pytest.param(f"{HEADER}, {HEADER}", id="two headers joined by a proxy"),
        pytest.param("", id="stripped"),
    ],
)
def test_s4_mutation_is_refused(header: str) -> None:
    assert not accepted(header)


def test_s4_the_small_order_key_would_have_verified_anything() -> None:
    """R = identity, s = 0 solves the equation for the identity as key, whatever the message."""
    assert not verify_bytes(SMALL_ORDER_KEY, b"anything", b"\x01" + bytes(63))


def test_s4_body_and_header_must_belong_together() -> None:
    assert accepted(HEADER)
    assert not accepted(HEADER, BODY.replace(b"init", b"confirm"))
    assert body_digest(BODY) != body_digest(BODY + b" ")


def test_s4_none_of_100000_mutants_is_accepted() -> None:
    source = random.Random(4)
    alphabet = [chr(code) for code in range(32, 127)]
    honest = parse_header(HEADER)
    wrong = []
    for _ in range(MUTANTS):
        at = source.randrange(len(HEADER))
        width = source.choice((0, 1, 1, 1, 2, 7))
        text = "".join(source.choices(alphabet, k=source.choice((0, 1, 1, 2))))
        header = HEADER[:at] + text + HEADER[at + width :]
        if accepted(header) and parse_header(header) != honest:
            wrong.append(header)
    assert wrong == []
