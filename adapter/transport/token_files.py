"""Bearer tokens of a node: a YAML list of hashes, each with what its bearer may do.

A token is printed once, when it is made; the file holds its SHA-256. Source: interfaces, section 4.
"""

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

TOKEN_BYTES = 32
"""Randomness of a token."""
MAX_FILE = 1_024 * 1_024
"""Bytes of a tokens file."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ACTOR = re.compile(r"[A-Za-z0-9._:@/+-]{1,128}", re.ASCII)


class TokenFileError(ValueError):
    """A tokens file that cannot be used; one line without any token."""


class Scope(StrEnum):
    """What a token is for."""

    APPLICATION = "application"
    """The participant's own application: trades, offers, caller paths."""
    OPERATOR = "operator"
    """Who runs the node: all of that, and the contract layer as the actor named."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token, without the token."""

    sha256: str
    """Lower-case hexadecimal of the token's UTF-8 bytes."""
    scope: Scope
    actor: str | None = None
    """Who it acts as; None for the node itself."""


def hash_token(token: str) -> str:
    """Return what the file holds instead of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_tokens(file: Path) -> Sequence[TokenRecord]:
    """Return the tokens of a file.

    Raises:
        TokenFileError: it cannot be read, or something else is in it.
    """
    try:
        with file.open("rb") as stream:
            content = yaml.load(stream.read(MAX_FILE), yaml.CSafeLoader)
    except (OSError, yaml.YAMLError) as error:
        msg = f"tokens file {file} cannot be read: {' '.join(str(error).split())}"
        raise TokenFileError(msg) from None
    if content is None:
        return ()
    if not isinstance(content, list):
        msg = f"tokens file {file} must hold a list of {{sha256, scope, actor}}"
        raise TokenFileError(msg)
    return tuple(_record(file, number, entry) for number, entry in enumerate(content))


def add_token(file: Path, scope: Scope, actor: str | None = None) -> str:
    """Make a token, add it to the file, a new one of mode 0600 if need be, and return it.

    Raises:
        TokenFileError: the file cannot be used or written.
    """
    if actor is not None and _ACTOR.fullmatch(actor) is None:
        msg = f"actor {actor[:40]!r} is not 1 to 128 letters, digits or . _ : @ / + -"
        raise TokenFileError(msg)
    known = read_tokens(file) if file.exists() else ()
    token = secrets.token_urlsafe(TOKEN_BYTES)
    write_tokens(file, [*known, TokenRecord(hash_token(token), scope, actor)])
    return token


def write_tokens(file: Path, records: Sequence[TokenRecord]) -> None:
    """Write a tokens file of mode 0600, all at once.

    Raises:
        TokenFileError: it cannot be written.
    """
    entries = []
    for record in records:
        entry = {"sha256": record.sha256, "scope": record.scope.value}
        entries.append(entry if record.actor is None else entry | {"actor": record.actor})
    text = yaml.dump(entries, Dumper=yaml.CSafeDumper, sort_keys=False)
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        Path(name).replace(file)
    except OSError as error:
        msg = f"tokens file {file} cannot be written: {error.strerror}"
        raise TokenFileError(msg) from None


def _record(file: Path, number: int, entry: Any) -> TokenRecord:
    keys = {"sha256", "scope", "actor"}
    if not isinstance(entry, dict) or not {"sha256", "scope"} <= entry.keys() <= keys:
        msg = f"tokens file {file}, entry {number}: allowed is {{sha256, scope, actor}}"
        raise TokenFileError(msg)
    sha256, scope, actor = entry["sha256"], entry["scope"], entry.get("actor")
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
        msg = f"tokens file {file}, entry {number}: sha256 is not 64 lower-case hex digits"
        raise TokenFileError(msg)
    if scope not in tuple(Scope):
        msg = f"tokens file {file}, entry {number}: scope is not application or operator"
        raise TokenFileError(msg)
    if actor is not None and not (isinstance(actor, str) and _ACTOR.fullmatch(actor)):
        msg = f"tokens file {file}, entry {number}: actor is not an id"
        raise TokenFileError(msg)
    return TokenRecord(sha256, Scope(scope), actor)
