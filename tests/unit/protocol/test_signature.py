"""The Beckn signature: published vectors, the negative list of section 17, and mutants."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.domain.errors import WireError
from adapter.protocol.digest import body_digest
from adapter.protocol.signature import (
    DIGEST_LABELS,
    FOUR_FIELDS,
    THREE_FIELDS,
    SignatureHeader,
    Signer,
    _unusual_header,
    candidate_strings,
    check_times,
    decode_seed,
    is_good_public_key,
    own_signature_value,
    parse_header,
    signature_value,
    verify_bytes,
)

ROOT = Path(__file__).parents[3]
FILES = (ROOT / "tests/vectors/signatures.json", ROOT.parent / "shared/vectors/signatures.json")
NOW_S = 1_772_438_400
SIGNER = Signer("bap.buyer.example", "k1", bytes(range(32)))
BODY = b'{"context":{"action":"init"},"message":{"order":{"beckn:id":"order-77"}}}'
HEADER = SIGNER.header(BODY, created_s=NOW_S, expires_s=NOW_S + 300)
REQUEST = SIGNER.header(b"{}", created_s=NOW_S, expires_s=NOW_S + 300)
REFERENCE = parse_header(REQUEST).signature
BOUND = SIGNER.header(BODY, created_s=NOW_S, expires_s=NOW_S + 300, request_signature=REFERENCE)


def vectors(kind: str) -> list[Any]:
    """Return the vectors of our own file and, beside the clone, of the shared one."""
    return [
        pytest.param(vector, id=f"{file.parts[-3]}-{vector['name']}")
        for file in FILES
        if file.exists()
        for vector in json.loads(file.read_text("utf-8"))[kind]
    ]


def holds(header: str, body: bytes = BODY, *, references: tuple[str, ...] = ()) -> bool:
    """Return whether a header is accepted in full, at NOW_S, with the key of SIGNER."""
    try:
        parsed = parse_header(header)
        check_times(parsed, now_ms=NOW_S * 1_000, skew_ms=5_000)
    except WireError:
        return False
    if (parsed.subscriber_id, parsed.key_id) != (SIGNER.subscriber_id, SIGNER.key_id):
        return False  # another key than that of SIGNER would be looked up
    return any(
        verify_bytes(SIGNER.public_key, text, parsed.signature_bytes)
        for text in candidate_strings(parsed, body, references)
    )


def parts_of(header: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', header))


def joined(parameters: dict[str, str]) -> str:
    return "Signature " + ",".join(f'{name}="{value}"' for name, value in parameters.items())


def with_parameter(name: str, value: str, header: str = HEADER) -> str:
    return joined(parts_of(header) | {name: value})


def without_parameter(name: str) -> str:
    return joined({key: value for key, value in parts_of(HEADER).items() if key != name})


def code_of(header: str) -> str:
    with pytest.raises(WireError) as caught:
        parse_header(header)
    return caught.value.code


@pytest.mark.parametrize("vector", vectors("digests"))
def test_digest_equals_the_published_one(vector: dict[str, str]) -> None:
    assert body_digest(vector["input_utf8"].encode()) == vector["digest_b64"]


@pytest.mark.parametrize("vector", vectors("signatures"))
def test_header_is_byte_equal_to_the_vector(vector: dict[str, Any]) -> None:
    body = vector["body_utf8"].encode()
    signer = Signer(
        vector["subscriber_id"], vector["key_id"], decode_seed(vector["private_seed_b64"])
    )
    header = signer.header(
        body,
        created_s=vector["created"],
        expires_s=vector["expires"],
        request_signature=vector.get("request_signature"),
    )
    assert len(body) == vector["body_bytes"]
    assert base64.b64encode(signer.public_key).decode() == vector["public_key_b64"]
    assert header == vector["header"]


@pytest.mark.parametrize("vector", vectors("signatures"))
def test_vector_verifies_and_is_refused_with_a_final_newline(vector: dict[str, Any]) -> None:
    parsed = parse_header(vector["header"], answer=vector["header_name"] == "Signature")
    references = [vector[key] for key in ("request_signature",) if key in vector]
    key = base64.b64decode(vector["public_key_b64"])
    strings = list(candidate_strings(parsed, vector["body_utf8"].encode(), references))
    assert strings[0] == vector["signing_string"].encode()
    assert verify_bytes(key, strings[0], parsed.signature_bytes)
    assert not verify_bytes(key, strings[0] + b"\n", parsed.signature_bytes)


@pytest.mark.skipif(not FILES[1].exists(), reason="the shared vectors are not beside this clone")
def test_a_seed_of_64_bytes_is_cut_to_32() -> None:
    vector = json.loads(FILES[1].read_text("utf-8"))["signatures"][0]
    assert decode_seed(vector["private_64_b64"]) == decode_seed(vector["private_seed_b64"])


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", base64.b64encode(b"x" * 33).decode()])
def test_another_seed_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_seed(text)


def test_the_own_header_holds() -> None:
    assert holds(HEADER)
    assert holds(BOUND, references=(REFERENCE,))


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(HEADER.replace("Signature ", "SIGNATURE   "), id="scheme in any case"),
        pytest.param(HEADER.replace(",", " ,\t"), id="blanks around commas"),
        pytest.param(HEADER.replace(f'"{NOW_S}"', str(NOW_S)), id="digits without quotes"),
        pytest.param(joined(dict(reversed(parts_of(HEADER).items()))), id="another order"),
        pytest.param(HEADER + ',nonce="x=y,z"', id="another parameter with = and comma"),
        pytest.param(
            joined({"request-signature": "AAAA"} | parts_of(HEADER)),
            id="request-signature before signature",
        ),
    ],
)
def test_other_spellings_of_the_grammar_hold(header: str) -> None:
    assert holds(header)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        pytest.param("", "AUT_SIGNATURE_MISSING", id="empty"),
        pytest.param("   ", "AUT_SIGNATURE_MISSING", id="blank"),
        pytest.param(without_parameter("signature"), "AUT_SIGNATURE_MISSING", id="no signature"),
        pytest.param(
            with_parameter("signature", ""), "AUT_SIGNATURE_MISSING", id="empty signature"
        ),
        pytest.param(HEADER.removeprefix("Signature "), "AUT_SIGNATURE_INVALID", id="no scheme"),
        pytest.param(
            HEADER.replace("Signature ", "Bearer ", 1), "AUT_SIGNATURE_INVALID", id="other scheme"
        ),
        pytest.param(
            HEADER.replace("Signature ", "Signature", 1), "AUT_SIGNATURE_INVALID", id="no blank"
        ),
        *(
            pytest.param(without_parameter(name), "AUT_SIGNATURE_INVALID", id=f"{name} is missing")
            for name in ("keyId", "algorithm", "created", "expires", "headers")
        ),
        *(
            pytest.param(
                f'{HEADER},{name}="{value}"', "AUT_SIGNATURE_INVALID", id=f"{name} stands twice"
            )
            for name, value in parts_of(HEADER).items()
        ),
        pytest.param(HEADER + ",", "AUT_SIGNATURE_INVALID", id="final comma"),
        pytest.param(HEADER + "\n", "AUT_SIGNATURE_INVALID", id="final newline"),
        pytest.param(HEADER + ',x="' + "y" * 2_048 + '"', "AUT_SIGNATURE_INVALID", id="too long"),
        pytest.param(HEADER.replace('"', "'"), "AUT_SIGNATURE_INVALID", id="single quotes"),
        pytest.param(HEADER.replace("keyId", "keyid"), "AUT_SIGNATURE_INVALID", id="other case"),
        pytest.param(
            with_parameter("keyId", "a|k1|ed25519").replace('"a|k1|ed25519"', "a|k1|ed25519"),
            "AUT_SIGNATURE_INVALID",
            id="keyId without quotes",
        ),
        *(
            pytest.param(
                with_parameter("keyId", key_id), "AUT_SIGNATURE_INVALID", id=f"keyId {label}"
            )
            for label, key_id in {
                "of 1 part": "bap.buyer.example",
                "of 2 parts": "bap.buyer.example|k1",
                "of 4 parts": "bap.buyer.example|k1|ed25519|x",
                "with an empty part": "|k1|ed25519",
                "with a part of 256": "b" * 256 + "|k1|ed25519",
                "with a blank": "bap buyer|k1|ed25519",
                "with a comma": "bap,buyer|k1|ed25519",
                "for rsa": "bap.buyer.example|k1|rsa",
                "in path form": "bap.buyer.example/k1|ed25519",
            }.items()
        ),
        *(
            pytest.param(
                with_parameter("algorithm", name), "AUT_SIGNATURE_INVALID", id=f"algorithm {name}"
            )
            for name in ("rsa", "hs2019", "ED25519", "none", "xed25519")
        ),
        *(
            pytest.param(
                with_parameter("headers", fields), "AUT_SIGNATURE_INVALID", id=f"headers {fields}"
            )
            for fields in (
                "(created)",
                "(created) (expires)",
                "(expires) (created) digest",
                "(created) (expires)  digest",
                "(created) (expires) digest host",
                "digest (created) (expires) request-signature",
            )
        ),
        *(
            pytest.param(
                with_parameter("created", text), "AUT_SIGNATURE_INVALID", id=f"created {label}"
            )
            for label, text in {
                "is a word": "now",
                "is negative": "-1",
                "is a fraction": "1.5",
                "is too long": "1" * 13,
            }.items()
        ),
        pytest.param(
            # Arabic-Indic digits: int() reads them, the signer never wrote them.
            HEADER.replace(f'"{NOW_S}"', "".join(chr(0x660 + int(d)) for d in str(NOW_S))),
            "AUT_SIGNATURE_INVALID",
            id="digits of another script",
        ),
        pytest.param(
            with_parameter("signature", base64.urlsafe_b64encode(b"\xfb" * 64).decode()),
            "AUT_SIGNATURE_INVALID",
            id="URL-safe base64",
        ),
        *(
            pytest.param(
                with_parameter("signature", text), "AUT_SIGNATURE_INVALID", id=f"signature {label}"
            )
            for label, text in {
                "of 63 bytes": base64.b64encode(b"x" * 63).decode(),
                "of 65 bytes": base64.b64encode(b"x" * 65).decode(),
                "with a blank": REFERENCE[:10] + " " + REFERENCE[10:],
                "without padding": REFERENCE.rstrip("="),
                "with loose bits": REFERENCE[:-3] + "B==",
            }.items()
        ),
    ],
)
def test_a_malformed_header_is_refused(header: str, code: str) -> None:
    assert code_of(header) == code


def told(header: str, *, answer: bool, usual: bool) -> SignatureHeader | str:
    """Return the parts of a header or the code of its refusal, by the short way or without it."""
    read = parse_header if usual else _unusual_header
    try:
        return read(header, answer=answer)
    except WireError as error:
        return error.code


@pytest.mark.parametrize("answer", [False, True])
@pytest.mark.parametrize("header", [HEADER, BOUND, HEADER.removeprefix("Signature ")])
def test_the_short_way_through_a_header_says_what_the_long_one_says(
    header: str, answer: bool
) -> None:
    """Every letter of it replaced, doubled and left out, and a scheme with thousands of blanks."""
    variants = [header, header.replace("Signature ", f"Signature {' ' * 2_048}")]
    for at in range(len(header)):
        start, letter, rest = header[:at], header[at], header[at + 1 :]
        variants += [f"{start}{other}{rest}" for other in ("", letter * 2, *'"|, =A0é\n')]
    for one in variants:
        by_both = [told(one, answer=answer, usual=usual) for usual in (True, False)]
        assert by_both[0] == by_both[1], one


def test_an_answer_may_leave_the_scheme_out() -> None:
    bare = BOUND.removeprefix("Signature ")
    assert parse_header(bare, answer=True) == parse_header(BOUND, answer=True)
    assert code_of(bare) == "AUT_SIGNATURE_INVALID"


@pytest.mark.parametrize(
    ("created", "expires", "accepted"),
    [
        pytest.param(0, 300, True, id="now"),
        pytest.param(5, 300, True, id="created 5 s ahead"),
        pytest.param(6, 300, False, id="created 6 s ahead"),
        pytest.param(-6, 300, True, id="created 6 s ago"),
        pytest.param(-300, 0, True, id="expires now"),
        pytest.param(-300, -1, False, id="expired 1 s ago"),
        pytest.param(3, 3, False, id="created = expires"),
        pytest.param(3, 2, False, id="created after expires"),
        pytest.param(0, 3_600, True, id="lifetime 3600 s"),
        pytest.param(0, 3_601, False, id="lifetime 3601 s"),
    ],
)
@pytest.mark.parametrize("fraction_ms", [0, 999])
def test_times_are_judged_to_the_second(
    created: int, expires: int, accepted: bool, fraction_ms: int
) -> None:
    header = SIGNER.header(BODY, created_s=NOW_S + created, expires_s=NOW_S + expires)
    parsed = parse_header(header)
    if accepted:
        check_times(parsed, now_ms=NOW_S * 1_000 + fraction_ms, skew_ms=5_000)
    else:
        with pytest.raises(WireError, match="does not hold"):
            check_times(parsed, now_ms=NOW_S * 1_000, skew_ms=5_000)


@pytest.mark.parametrize("label", DIGEST_LABELS)
@pytest.mark.parametrize("reference", [None, REFERENCE, REQUEST])
def test_every_label_and_reference_form_is_tried(label: str, reference: str | None) -> None:
    parsed = parse_header(HEADER if reference is None else BOUND)
    strings = list(candidate_strings(parsed, BODY, [REFERENCE, REQUEST]))
    lines = f"(created): {NOW_S}\n(expires): {NOW_S + 300}\ndigest: {label}{body_digest(BODY)}"
    if reference is not None:
        lines += f"\nrequest-signature: {reference}"
    assert lines.encode() in strings


def test_a_label_that_is_switched_off_is_not_tried() -> None:
    strings = list(candidate_strings(parse_header(HEADER), BODY, labels=["BLAKE2b-512="]))
    assert len(strings) == 1
    assert b"digest: BLAKE2b-512=" in strings[0]


def test_four_fields_without_a_stored_request_never_hold() -> None:
    assert not list(candidate_strings(parse_header(BOUND), BODY, []))
    assert not holds(BOUND)
    assert not holds(BOUND, references=("another",))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BODY[:-1] + b" ", id="one byte changed"),
        pytest.param(BODY + b"\n", id="final newline"),
        pytest.param(json.dumps(json.loads(BODY)).encode(), id="written anew"),
        pytest.param(b"", id="empty"),
    ],
)
def test_another_body_is_refused(body: bytes) -> None:
    assert not holds(HEADER, body)


def test_another_key_is_refused() -> None:
    other = Signer(SIGNER.subscriber_id, SIGNER.key_id, bytes(32))
    assert not holds(other.header(BODY, created_s=NOW_S, expires_s=NOW_S + 300))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([HEADER], parts_of(HEADER)["signature"], id="one header"),
        pytest.param([HEADER, HEADER], None, id="two headers"),
        pytest.param([], None, id="none"),
        pytest.param([f"{HEADER}, {HEADER}"], None, id="two headers joined"),
        pytest.param(["Bearer token"], None, id="another scheme"),
        pytest.param([with_parameter("signature", "short")], "short", id="invalid but readable"),
    ],
)
def test_signature_value_of_a_request(values: list[str], expected: str | None) -> None:
    assert signature_value(values) == expected


def test_a_point_of_the_main_subgroup_is_a_good_key() -> None:
    assert is_good_public_key(SIGNER.public_key)


MUTATIONS = st.tuples(
    st.sampled_from(["replace", "insert", "delete", "swap"]),
    st.integers(0, len(HEADER) - 1),
    st.characters(min_codepoint=0, max_codepoint=0x2FF),
)


def mutated(header: str, kind: str, at: int, char: str) -> str:
    match kind:
        case "replace":
            return header[:at] + char + header[at + 1 :]
        case "insert":
            return header[:at] + char + header[at:]
        case "delete":
            return header[:at] + header[at + 1 :]
        case _:
            return header[:at] + header[at : at + 2][::-1] + header[at + 2 :]


def says_the_same(header: str) -> bool:
    """Return whether a header differs in nothing but blanks, case of the scheme or quotes."""

    def fields(text: str) -> SignatureHeader:
        return parse_header(text)

    return fields(header) == fields(HEADER)


@settings(max_examples=2_000)
@given(st.lists(MUTATIONS, min_size=1, max_size=3))
def test_no_mutant_of_a_header_is_accepted(mutations: list[tuple[str, int, str]]) -> None:
    header = HEADER
    for kind, at, char in mutations:
        header = mutated(header, kind, at, char)
    assert not holds(header) or says_the_same(header)


@settings(max_examples=1_000)
@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_no_changed_byte_of_the_body_is_accepted(at: int, change: int) -> None:
    assert not holds(HEADER, BODY[:at] + bytes([BODY[at] ^ change]) + BODY[at + 1 :])


@settings(max_examples=1_000)
@given(st.integers(0, 64 * 8 - 1))
def test_no_flipped_bit_of_the_signature_is_accepted(bit: int) -> None:
    raw = bytearray(parse_header(HEADER).signature_bytes)
    raw[bit // 8] ^= 1 << bit % 8
    assert not holds(with_parameter("signature", base64.b64encode(raw).decode()))


@given(
    st.binary(max_size=300),
    st.integers(1, 10**10),
    st.integers(1, 3_600),
    st.one_of(st.none(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)),
)
def test_what_is_signed_verifies(
    body: bytes, created_s: int, lifetime_s: int, reference: str | None
) -> None:
    header = SIGNER.header(
        body,
        created_s=created_s,
        expires_s=created_s + lifetime_s,
        request_signature=reference,
    )
    parsed = parse_header(header)
    assert parsed.headers == (THREE_FIELDS if reference is None else FOUR_FIELDS)
    strings = candidate_strings(parsed, body, [reference] if reference else [])
    assert any(verify_bytes(SIGNER.public_key, text, parsed.signature_bytes) for text in strings)


@pytest.mark.parametrize("request_signature", [None, "c2ln", 'Signature keyId="a|b|ed25519"'])
def test_the_value_of_an_own_header_is_the_one_that_is_read(request_signature: str | None) -> None:
    signer = Signer("bap.example", "k1", bytes(range(32)))
    header = signer.header(b"x", created_s=1, expires_s=2, request_signature=request_signature)
    assert own_signature_value(header) == parse_header(header).signature
