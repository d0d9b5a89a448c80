"""A certificate for servers on loopback that signs itself, written as DER by hand.

Source: RFC 5280, section 4.1; RFC 8410.
"""

import base64
import ssl
from pathlib import Path

from nacl.signing import SigningKey

ED25519 = bytes.fromhex("300506032b6570")
NAME, ALT_NAMES, BASIC = (bytes.fromhex(oid) for oid in ("0603550403", "0603551d11", "0603551d13"))
SEQUENCE, SET, INTEGER, OCTETS, BITS, UTF8, TIME = 0x30, 0x31, 0x02, 0x04, 0x03, 0x0C, 0x18


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def server_context(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server for one DNS name, and of a client that trusts it alone."""
    key = SigningKey(b"\x07" * 32)
    subject = der(SEQUENCE, der(SET, der(SEQUENCE, NAME, der(UTF8, name.encode()))))
    public = der(SEQUENCE, ED25519, der(BITS, b"\x00", bytes(key.verify_key)))
    valid = der(SEQUENCE, der(TIME, b"20200101000000Z"), der(TIME, b"21200101000000Z"))
    names = der(SEQUENCE, ALT_NAMES, der(OCTETS, der(SEQUENCE, der(0x82, name.encode()))))
    authority = der(SEQUENCE, BASIC, b"\x01\x01\xff", der(OCTETS, der(SEQUENCE, b"\x01\x01\xff")))
    content = der(
        SEQUENCE,
        der(0xA0, der(INTEGER, b"\x02")),
        der(INTEGER, b"\x01"),
        ED25519,
        subject,
        valid,
        subject,
        public,
        der(0xA3, der(SEQUENCE, authority, names)),
    )
    signature = der(BITS, b"\x00", key.sign(content).signature)
    certificate = pem("CERTIFICATE", der(SEQUENCE, content, ED25519, signature))
    secret = der(SEQUENCE, der(INTEGER, b"\x00"), ED25519, der(OCTETS, der(OCTETS, bytes(key))))
    file = folder / "server.pem"
    file.write_text(certificate + pem("PRIVATE KEY", secret))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=certificate)
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which asks for more than a test needs
    return server, client


def pem(kind: str, content: bytes) -> str:
    text = base64.encodebytes(content).decode()
    return f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n"
