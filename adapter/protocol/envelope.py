"""One message as received: what its context says, and the bytes it came in.

Reading checks everything about the context that can be judged without keys and without state.
Source: protocol specification, section 3 and R10.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import parse_duration, parse_instant
from adapter.domain.once import once
from adapter.domain.trade import Peer
from adapter.protocol.acks import take_error
from adapter.protocol.actions import WITHOUT_CONTRACT, Action
from adapter.protocol.callback_url import parse_url
from adapter.protocol.contract_view import CONTRACT, ORDER, ContractView, contract_of
from adapter.protocol.digest import body_digest

VERSION = "2.0.0"
"""The only accepted version; it does not tell dialects apart."""

_IDS = ("transaction_id", "message_id")
_VISIBLE = re.compile(r"[!-~]{1,128}")
_SPELLINGS = (
    ("transaction_id", "transactionId"),
    ("message_id", "messageId"),
    ("bap_id", "bapId"),
    ("bap_uri", "bapUri"),
    ("bpp_id", "bppId"),
    ("bpp_uri", "bppUri"),
)


@dataclass(frozen=True)
class Envelope:
    """A message with a well-formed context.

    Without slots: what the context and the order say is worked out when it is first asked for, and
    every stage, rule and handler after that finds it.
    """

    action: Action
    context: Mapping[str, Any]
    message: Mapping[str, Any]
    """Empty when an error callback carries none."""
    error: Mapping[str, Any] | None
    """The error of an error callback."""
    raw: bytes
    digest: str
    """Base64 BLAKE2b-512 of `raw`."""
    timestamp_ms: int
    ttl_ms: int | None
    dialect: str = "draft"

    @once
    def transaction_id(self) -> str:
        """Return the id of the whole transaction."""
        return str(self.context["transaction_id"])

    @once
    def message_id(self) -> str:
        """Return the id of a request, shared by its callbacks."""
        return str(self.context["message_id"])

    @once
    def bap(self) -> Peer:
        """Return the BAP that the context names."""
        return Peer(self.context["bap_id"], self.context["bap_uri"])

    @once
    def bpp(self) -> Peer:
        """Return the BPP that the context names; empty texts on a discover without one."""
        return Peer(self.context.get("bpp_id", ""), self.context.get("bpp_uri", ""))

    @once
    def sender(self) -> Peer:
        """Return who says to have sent this: the BAP of a request, the BPP of a callback."""
        return self.bpp if self.action.is_callback else self.bap

    @once
    def body(self) -> Mapping[str, Any]:
        """Return context and message, which is what schema and rules look at."""
        return {"context": self.context, "message": self.message}

    @once
    def order(self) -> Mapping[str, Any]:
        """Return the order, empty when the message has none."""
        order = self.message.get("order")
        return order if isinstance(order, dict) else {}

    @once
    def contract(self) -> Mapping[str, Any]:
        """Return the contract of the order, empty when there is none."""
        contract = self.order.get(CONTRACT)
        return contract if isinstance(contract, dict) else {}

    @once
    def view(self) -> ContractView | None:
        """Return the contract as rules and history read it, once the schema has passed.

        None without one, and for an action of WITHOUT_CONTRACT.
        """
        if self.action in WITHOUT_CONTRACT:
            return None
        contract = contract_of(self.body)
        return None if contract is None else ContractView(contract, (*ORDER, CONTRACT))

    @property
    def deadline_ms(self) -> int | None:
        """Return when the sender stops waiting."""
        return None if self.ttl_ms is None else self.timestamp_ms + self.ttl_ms


def make_envelope(
    body: Mapping[str, Any],
    raw: bytes,
    action: Action,
    times: tuple[int, int | None],
    digest: str | None = None,
) -> Envelope:
    """Return the envelope of a body whose context was checked.

    Args:
        body: the decoded body.
        raw: its bytes.
        action: the action of the path.
        times: timestamp and ttl in ms, as `check_context` returned them.
        digest: that of `raw`, if it is known already.
    """
    error, rest = take_error(body) if action.is_callback else (None, body)
    return Envelope(
        action=action,
        context=body["context"],
        message=rest.get("message") or {},
        error=error,
        raw=raw,
        digest=digest or body_digest(raw),
        timestamp_ms=times[0],
        ttl_ms=times[1],
    )


def read_own(body: Mapping[str, Any], raw: bytes) -> Envelope:
    """Return the envelope of a message that this node made itself."""
    context = body["context"]
    times = parse_instant(context["timestamp"]), parse_duration(context["ttl"])
    return make_envelope(body, raw, Action(context["action"]), times)


def is_judgeable(body: Mapping[str, Any]) -> bool:
    """Return whether `context` and `message` are objects, so that the context can be judged."""
    if not isinstance(body.get("context"), dict):
        return False
    if "message" in body:
        return isinstance(body["message"], dict)
    return isinstance(body.get("error"), dict)


def check_context(
    context: Mapping[str, Any], action: Action, *, me: str, now_ms: int, skew_ms: int
) -> tuple[int, int | None]:
    """Check the static rules and return (timestamp, ttl) in ms.

    Args:
        context: the context as received.
        action: the action of the path.
        me: the receiving node's subscriber id.
        now_ms: the receiver's time.
        skew_ms: how far a timestamp may lie ahead.

    Raises:
        WireError: CTX_ codes of section 3.
    """
    problems = context_problems(context, action, me=me, latest_ms=now_ms + skew_ms)
    if problems:
        raise problems[0]
    ttl = context.get("ttl")
    return parse_instant(context["timestamp"]), None if ttl is None else parse_duration(ttl)


def context_problems(
    context: Mapping[str, Any],
    action: Action,
    *,
    me: str | None = None,
    latest_ms: int | None = None,
) -> list[WireError]:
    """Return every static rule that a context breaks, in the order in which a node judges them.

    Args:
        context: the context as received.
        action: the action of the path.
        me: the receiving node's subscriber id; None for a file, which is addressed to nobody.
        latest_ms: latest instant that a timestamp may name; None when no clock counts.
    """
    found: list[WireError] = []
    for one, other in _SPELLINGS:
        if other in context and one in context:
            msg = f"{one} is also written {other}"
            found.append(_invalid(msg, other))
    _version_and_action(context, action, found)
    for name in _IDS:
        _visible_id(context, name, found)
    _parties(context, action, me, found)
    _times(context, latest_ms, found)
    return found


def _version_and_action(context: Mapping[str, Any], action: Action, found: list[WireError]) -> None:
    version = _text(context, "version", found)
    if version not in {None, VERSION}:
        msg = f"version is {str(version)[:40]!r}, expected {VERSION!r}"
        found.append(WireError("CTX_VERSION_UNSUPPORTED", msg, path="$.context.version"))
    named = _text(context, "action", found)
    if named not in {None, action.value}:
        msg = f"action is {str(named)[:40]!r}, the path says {action.value!r}"
        found.append(WireError("CTX_ACTION_MISMATCH", msg, path="$.context.action"))


def _parties(
    context: Mapping[str, Any], action: Action, me: str | None, found: list[WireError]
) -> None:
    _visible_id(context, "bap_id", found)
    if context.get("bap_uri") in (None, ""):
        msg = "bap_uri is missing, callbacks need it"
        found.append(WireError("CTX_CALLBACK_URL_MISSING", msg, path="$.context.bap_uri"))
    else:
        _text(context, "bap_uri", found)
    if action is not Action.DISCOVER or "bpp_id" in context:
        _visible_id(context, "bpp_id", found)
    if action is not Action.DISCOVER or "bpp_uri" in context:
        uri = _text(context, "bpp_uri", found)
        if uri is not None and not is_absolute_http(uri):
            msg = f"bpp_uri {uri[:40]!r} is not an absolute http(s) URL"
            found.append(WireError("CTX_INVALID_BPP_URI", msg, path="$.context.bpp_uri"))
    mine = "bap_id" if action.is_callback else "bpp_id"
    if me is not None and context.get(mine, me) != me:
        msg = f"{mine} is {str(context[mine])[:40]!r}, this node is {me!r}"
        found.append(_invalid(msg, mine))


def _times(context: Mapping[str, Any], latest_ms: int | None, found: list[WireError]) -> None:
    timestamp = _text(context, "timestamp", found)
    if timestamp is not None:
        try:
            timestamp_ms = parse_instant(timestamp)
        except (ValueError, OverflowError):
            msg = f"timestamp {timestamp[:40]!r} is not RFC 3339 with offset"
            found.append(_invalid(msg, "timestamp"))
        else:
            if latest_ms is not None and timestamp_ms > latest_ms:
                msg = f"timestamp {timestamp} lies in the future"
                found.append(_invalid(msg, "timestamp"))
    if context.get("ttl") is None:
        return
    ttl = _text(context, "ttl", found)
    try:
        parse_duration("PT1S" if ttl is None else ttl)
    except ValueError:
        msg = f"ttl {str(ttl)[:40]!r} is not an ISO 8601 duration above zero, such as PT30S"
        found.append(_invalid(msg, "ttl"))


def is_absolute_http(uri: str) -> bool:
    """Return whether this is an absolute http or https URL that can be called."""
    try:
        parse_url(uri, path="$")
    except WireError:
        return False
    return True


def _text(context: Mapping[str, Any], name: str, found: list[WireError]) -> str | None:
    """Return a text that is not empty; None after adding what is wrong with it."""
    value = context.get(name)
    if isinstance(value, str) and value:
        return value
    if value is None:
        other = dict(_SPELLINGS).get(name)
        hint = f"; {other} is its name in another dialect" if other in context else ""
        msg = f"{name} is missing{hint}"
        found.append(WireError("CTX_MISSING_FIELD", msg, path=f"$.context.{name}"))
    else:
        msg = f"{name} must be a non-empty string"
        found.append(_invalid(msg, name))
    return None


def _visible_id(context: Mapping[str, Any], name: str, found: list[WireError]) -> None:
    value = _text(context, name, found)
    if value is not None and _VISIBLE.fullmatch(value) is None:
        msg = f"{name} must be 1 to 128 visible ASCII characters"
        found.append(_invalid(msg, name))


def _invalid(message: str, name: str) -> WireError:
    return WireError("CTX_INVALID_FIELD", message, path=f"$.context.{name}")
