"""Private key files: base64 of a 32-byte Ed25519 seed, readable by their owner alone."""

import base64
import binascii
import os
import secrets
from pathlib import Path

from nacl.signing import SigningKey

from adapter.protocol.signature import decode_seed

MAX_FILE = 1_024
"""Bytes of a key file; 128 would do."""

SAMPLE_PUBLIC_KEYS = frozenset(
    {
        "awGPjRK6i/Vg/lWr+0xObclVxlwZXvTjWYtlu6NeOHk=",
        "KVYEWkQB2WwnttVMWfy7KrnqiD51ZDvi8vfCac2IwRE=",
        "jf9D/vm4PR/g4drtf2TwDb7yFNvINV+0Rg1sfXmj5/I=",
        "pObAIepLC9kawMKrgCMWDaPLppCsp0gfd9In2gsR8XA=",
        "HQe/aszBNOAU33ihZ3bm/kEuBKOQE6sw4NlFNRNAD50=",
    }
)
"""Keys whose seeds are published: the signing examples of Beckn and DEG, and our test vectors."""


class KeyFileError(Exception):
    """A key file that cannot be used; one line without any key."""


def read_seed(file: Path) -> bytes:
    """Return the 32-byte seed in `file`.

    Raises:
        KeyFileError: no such file, or something else in it.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE + 1)
    except OSError as error:
        msg = f"key file {file} cannot be read: {error.strerror}"
        raise KeyFileError(msg) from None
    try:
        if len(text) > MAX_FILE:
            raise ValueError
        return decode_seed(text.decode("ascii"))
    except (ValueError, binascii.Error):
        msg = f"key file {file} must hold base64 of a 32-byte seed, or of 64 bytes with its key"
        raise KeyFileError(msg) from None


def write_seed(file: Path, seed: bytes | None = None) -> bytes:
    """Write a seed, a fresh one unless given, to a new file of mode 0600, and return it.

    Raises:
        KeyFileError: the file exists or cannot be written.
    """
    seed = secrets.token_bytes(32) if seed is None else seed
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"key file {file} cannot be written: {error.strerror}"
        raise KeyFileError(msg) from None
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, 0o600)  # whatever the umask says
        stream.write(base64.b64encode(seed) + b"\n")
        stream.flush()
        os.fsync(descriptor)
    return seed


def is_private(file: Path) -> bool:
    """Return whether nobody but the owner may read or write the file."""
    return file.stat().st_mode & 0o077 == 0


def refuse_sample_seed(seed: bytes, *, on_loopback: bool) -> None:
    """Refuse a published key on a node that others can reach.

    Raises:
        KeyFileError: the seed is public knowledge.
    """
    public_key = base64.b64encode(bytes(SigningKey(seed).verify_key)).decode()
    if public_key in SAMPLE_PUBLIC_KEYS and not on_loopback:
        msg = "node.seed_file holds a published sample key; allowed only bound to loopback"
        raise KeyFileError(msg)
