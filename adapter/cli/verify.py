"""`p2ptrade verify`: does an Authorization header hold for the bytes of a file."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from adapter.cli.output import misuse, refuse_error, say, say_json
from adapter.cli.sign import read_file
from adapter.domain.errors import WireError
from adapter.protocol.signature import (
    FOUR_FIELDS,
    SignatureHeader,
    candidate_strings,
    check_times,
    parse_header,
    verify_bytes,
)
from adapter.transport.clock import SystemClock

SKEW_MS = 5_000
"""How far ahead the signer's clock may be. Source: protocol specification, 5.2."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The message as it was sent, byte for byte.")],
    header: Annotated[str, typer.Option(help="Value of the Authorization or Signature header.")],
    public_key: Annotated[str, typer.Option(help="Base64 of the signer's 32-byte key.")],
    now: Annotated[int | None, typer.Option(help="Unix seconds to judge at; now.")] = None,
    request_header: Annotated[
        str | None, typer.Option(help="Authorization of the request that this answers.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a header against a file: exit code 0 valid, 1 not, with the AUT_ code."""
    body = read_file(file)
    key = _key(public_key)
    now_ms = SystemClock().now_ms() if now is None else now * 1_000
    try:
        parsed = parse_header(_value(header), answer=request_header is not None)
        check_times(parsed, now_ms=now_ms, skew_ms=SKEW_MS)
        _check(parsed, body, key, _references(request_header))
    except WireError as error:
        if as_json:
            say_json({"valid": False, "code": error.code, "message": error.message})
        refuse_error(error)
    known = {"subscriber_id": parsed.subscriber_id, "key_id": parsed.key_id}
    if as_json:
        say_json({"valid": True, **known})
    else:
        say(f"valid: signed by {parsed.subscriber_id} with key {parsed.key_id}")


def _check(
    header: SignatureHeader, body: bytes, public_key: bytes, references: Sequence[str]
) -> None:
    """Refuse a signature that does not hold.

    Raises:
        WireError: AUT_SIGNATURE_INVALID.
    """
    if header.headers == FOUR_FIELDS and not references:
        msg = "the header answers a request: give its Authorization with --request-header"
        raise WireError("AUT_SIGNATURE_INVALID", msg)
    strings = candidate_strings(header, body, references)
    if not any(verify_bytes(public_key, text, header.signature_bytes) for text in strings):
        msg = "the signature does not hold for these bytes and this key"
        raise WireError("AUT_SIGNATURE_INVALID", msg)


def _references(request_header: str | None) -> list[str]:
    if request_header is None:
        return []
    value = _value(request_header)
    return [parse_header(value).signature, value]


def _value(header: str) -> str:
    """Return the value of a header that may have been given with its name."""
    name, colon, value = header.partition(":")
    named = colon and name.strip().lower() in ("authorization", "signature")
    return value.strip() if named else header


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        misuse("--public-key is not base64 of 32 bytes")
    return key
