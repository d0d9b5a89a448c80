"""Values of settings: text from a file or the environment to typed values.

Each raises ValueError on anything else; what is allowed stands beside the key in `model`.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapter.domain.instants import parse_duration

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where a node listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of `127.0.0.1:8102` or `[::1]:8102`."""
        match = _HOST_PORT.fullmatch(text)
        if match is None or not 0 < int(match[3]) < 65_536:
            msg = "not host:port"
            raise ValueError(msg)
        return cls(match[1] or match[2], int(match[3]))

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine can reach it."""
        return is_loopback_host(self.host)


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where a node keeps its state."""

    kind: Literal["sqlite", "postgresql"]
    url: str = field(repr=False)
    """As given; may hold a password."""
    path: Path | None
    """The file of an SQLite database."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of sqlite:///relative, sqlite:////absolute or postgresql://…."""
        if text.startswith("sqlite:///") and len(text) > len("sqlite:///"):
            return cls("sqlite", text, Path(text.removeprefix("sqlite:///")))
        if text.startswith(("postgresql://", "postgres://")):
            return cls("postgresql", text, None)
        msg = "not a database URL"
        raise ValueError(msg)


def is_loopback_host(host: str) -> bool:
    """Return whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_host_port(value: object) -> HostPort:
    """Return a HostPort."""
    return HostPort.parse(_text(value))


def read_database_url(value: object) -> DatabaseUrl:
    """Return a DatabaseUrl."""
    return DatabaseUrl.parse(_text(value))


def read_base_url(value: object) -> str:
    """Return an absolute http(s) URL without a final slash."""
    text = _text(value).rstrip("/")
    parts = urlsplit(text)
    whole = parts.scheme in ("http", "https") and parts.hostname and not parts.username
    if not whole or parts.query or parts.fragment or parts.port == 0:
        msg = "not a base URL"
        raise ValueError(msg)
    return text


def read_contracts_host(value: object) -> str:
    """Return `here` or a base URL."""
    return "here" if value == "here" else read_base_url(value)


def read_duration_ms(value: object) -> int:
    """Return an ISO 8601 duration in milliseconds."""
    return parse_duration(_text(value))


def read_rate_per_s(value: object) -> Decimal | None:
    """Return requests per second, None for `none`."""
    if value in (None, "none"):
        return None
    try:
        rate = Decimal(str(value))
    except InvalidOperation:
        msg = "not a number"
        raise ValueError(msg) from None
    if isinstance(value, bool) or not rate.is_finite() or rate <= 0:
        msg = "not above zero"
        raise ValueError(msg)
    return rate


def read_network(value: object) -> IpNetwork:
    """Return an IP network."""
    return ipaddress.ip_network(_text(value))


def read_time_zone(value: object) -> str:
    """Return the name of a time zone that this machine knows."""
    name = _text(value)
    if name != "UTC":
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, OSError):
            msg = "unknown time zone"
            raise ValueError(msg) from None
    return name


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = "not a text"
        raise ValueError(msg)
    return value
