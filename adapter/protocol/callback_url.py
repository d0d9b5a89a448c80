"""Which URLs a peer may have us call: judged as text, before anything is resolved.

The addresses that a name resolves to are judged where they are dialled, in
`transport.address_guard`. The grammar is narrower than RFC 3986, so that no two parsers read one
URL differently. Source: protocol specification, section 14, rules 1 and 2; quality targets, S1.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant

CACHED_URLS = 1_024
MAX_CACHED_URL = 256
"""Characters; with the number above it bounds what a peer can make a node keep."""
MAX_URL = 2_048
"""Characters. Source: section 14."""

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[^\s/?#@:\[\]\\%]{1,253})"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[!$&-;=@-\[\]_a-z~%]*)?",
    re.IGNORECASE,
)
_DOTS = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")
_FORBIDDEN_IN_PATH = re.compile(r"%(?:2e|2f|5c)|//|\\", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.IGNORECASE)
_DOTTED = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
_DEFAULT_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL that decide who is called."""

    scheme: str
    host: str
    """Lower case, IDNA form."""
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return scheme, host and port."""
        return self.scheme, self.host, self.port


def check_callback_url(
    url: str,
    records: Iterable[Participant],
    *,
    now_ms: int,
    allow_http: bool,
    path: str = "$.context.bap_uri",
    record_type: str = "BAP",
) -> Target:
    """Return the parts of a URL that the subscriber of `records` may be called at.

    Args:
        url: as the message says, without the action.
        records: what the registry lists for the subscriber that signed.
        now_ms: instant at which a record must be usable.
        allow_http: whether plain http will do: this node is on loopback, or says so.
        path: JSONPath of the URL in the message, for the refusal.
        record_type: type of the records whose path binds; for the URL of a BPP it is BPP.

    Raises:
        WireError: CTX_INVALID_FIELD.
    """
    target = parse_url(url, path=path)
    if target.scheme != "https" and not allow_http:
        why = "it is not https"
        raise _refused(why, path)
    has_origin = is_bound = False
    for record in records:
        listed = _listed(record) if record.usable(now_ms) else None
        if listed is None or listed.origin != target.origin:
            continue
        has_origin = True
        if record.type == record_type:
            is_bound = True
            if _lies_below(target.path, listed.path):
                return target
    if not has_origin:
        why = "scheme, host and port are not those the registry lists for the sender"
        raise _refused(why, path)
    if is_bound:
        why = "its path is not below the one the registry lists for the sender"
        raise _refused(why, path)
    return target


def parse_url(url: str, *, path: str) -> Target:
    """Return the parts of an absolute http(s) URL without user info, query and fragment.

    Raises:
        WireError: CTX_INVALID_FIELD.
    """
    if len(url) <= MAX_CACHED_URL:
        return _parsed(url, path)
    return _parse(url, path)


def _parse(url: str, path: str) -> Target:
    if len(url) > MAX_URL:
        why = f"it is longer than {MAX_URL} characters"
        raise _refused(why, path)
    match = _URL.fullmatch(url)
    if match is None:
        why = "it is no absolute http(s) URL without user info, query and fragment"
        raise _refused(why, path)
    way = match["path"] or "/"
    if _DOTS.search(way) or _FORBIDDEN_IN_PATH.search(way):
        why = "its path holds dots, a doubled slash or an escaped separator"
        raise _refused(why, path)
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else _DEFAULT_PORT[scheme]
    host = _host(match["host"])
    if host is None or not 0 < port < 65_536:
        why = "its host or port is no valid one"
        raise _refused(why, path)
    return Target(scheme, host, port, way)


_parsed = lru_cache(maxsize=CACHED_URLS)(_parse)
"""Peers name the same few URLs in message after message; a refusal is not kept."""


def _host(text: str) -> str | None:
    """Return the host in lower case and IDNA form; None for odd spellings of an address."""
    if text.startswith("["):
        return text.lower()
    try:
        host = text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    labels = host.removesuffix(".").split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        return None
    if _NUMERIC_LABEL.fullmatch(labels[-1]) and not _DOTTED.fullmatch(host):
        return None  # decimal, octal, hexadecimal or short forms that a resolver takes as IPv4
    return host


def _listed(record: Participant) -> Target | None:
    try:
        return parse_url(record.url, path="$")
    except WireError:
        return None


def _lies_below(way: str, listed: str) -> bool:
    base = listed.rstrip("/")
    return way == base or way.startswith(f"{base}/")


def _refused(why: str, path: str) -> WireError:
    return WireError("CTX_INVALID_FIELD", f"the URL is not accepted: {why}", path=path)
