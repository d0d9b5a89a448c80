"""Signature checks alone: from the header's text and the body's bytes to the verdict."""

import base64
import hashlib
import importlib
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapter.protocol.signature import candidate_strings, parse_header, verify_bytes
from adapter.transport.clock import SystemClock
from bench.harness import Candidate, compared, interleaved
from bench.receive_setup import BAP, Messages, Window, signer_of

MICROSECONDS = 1e6
TIMES = 500
_PARAMETER = re.compile(r'([A-Za-z-]+)="([^"]*)"')


def verify_case(packages: Path, rounds: int) -> dict[str, Any]:
    """Return the case of one message whose key is known.

    Args:
        packages: folder with the baseline's library.
        rounds: of TIMES checks.
    """
    now_ms = SystemClock().now_ms()
    messages = Messages(Window.after(now_ms), now_ms)
    body = messages.new()
    authorization = messages.signature(body, now_ms)
    public_key = signer_of(BAP).public_key
    sys.path.append(str(packages))
    keys: Any = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    key = keys.Ed25519PublicKey.from_public_bytes(public_key)

    def ours() -> None:
        header = parse_header(authorization)
        assert verify_bytes(
            public_key, next(candidate_strings(header, body)), header.signature_bytes
        )

    def other() -> None:
        given = dict(_PARAMETER.findall(authorization))
        digest = base64.b64encode(hashlib.blake2b(body, digest_size=64).digest()).decode()
        text = f"(created): {given['created']}\n(expires): {given['expires']}\n"
        signature = base64.b64decode(given["signature"])
        key.verify(signature, f"{text}digest: BLAKE-512={digest}".encode())

    name = "cryptography"
    figures = interleaved(
        [
            Candidate("ours", f"PyNaCl {version('PyNaCl')}", ours, TIMES),
            Candidate(name, _version(packages), other, TIMES),
        ],
        rounds,
    )
    return {"case": "verify alone", **compared(figures["ours"], figures[name], MICROSECONDS)}


def _version(packages: Path) -> str:
    found = next(packages.glob("cryptography-*.dist-info"))
    return found.name.removeprefix("cryptography-").removesuffix(".dist-info")
