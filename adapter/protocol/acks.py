"""Acknowledgements: bodies that we answer with, and what a peer's answer means.

One ACK profile per peer decides the shape of ours; all known shapes are read. An error object `E`
is `{"code", "message", "details"?}`. Signing is left to the caller.
Source: protocol specification, sections 7 and 11.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from adapter.domain.codes import is_transient
from adapter.domain.errors import AdapterError, WireError
from adapter.domain.findings import Finding
from adapter.protocol import strict_json

MAX_ERRORS = 100
"""Findings listed in one error object. Source: section 7."""
MAX_CAUSES = 3
"""Causes below one error object; a peer's further ones are cut. Source: section 7."""
MAX_TEXT = 1_000
"""Characters kept of a peer's message, which may travel on to another peer."""
MAX_RETRY_AFTER_MS = 300_000
"""Longest Retry-After that is honoured. Source: section 7."""

ErrorObject = Mapping[str, Any]
"""`{"code", "message", "details"?}`."""

_RETRY_STATUS = frozenset({408, 425, 429})
_UNNAMED_CODE = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An answer without its signature header."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class MessageIds:
    """Ids of the message that is answered; None where it had no readable one."""

    message_id: str | None = None
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class AckProfile:
    """How one family of peers wants to be answered. The error object may be None."""

    ack: Callable[[MessageIds], Acknowledgement]
    nack: Callable[[MessageIds, int, ErrorObject], Acknowledgement]
    without_callback: Callable[[MessageIds, ErrorObject], Acknowledgement]


def ack(profile: str, ids: MessageIds) -> Acknowledgement:
    """Return the answer that promises a callback."""
    return PROFILES[profile].ack(ids)


def nack(profile: str, ids: MessageIds, error: AdapterError) -> Acknowledgement:
    """Return the refusal with the error's own HTTP status."""
    return PROFILES[profile].nack(ids, error.http_status, error_object(error))


def ack_without_callback(profile: str, ids: MessageIds, error: AdapterError) -> Acknowledgement:
    """Return the answer to a message that was understood and needs no callback."""
    return PROFILES[profile].without_callback(ids, error_object(error))


def error_object(error: AdapterError) -> dict[str, Any]:
    """Return `E` of a refusal: its own details, then path, cause and errors where it has them.

    A rule outside the published codes, such as P2P_CAP_EXCEEDED, becomes the cause.
    """
    details = dict(error.details)
    first = error.findings[0] if error.findings else None
    path = error.path or (first.path if first else None)
    cause = error.cause if error.cause is not None else _rule_as_cause(error.code, first)
    if path is not None:
        details["path"] = path
    if cause is not None:
        details["cause"] = _bounded(cause, MAX_CAUSES)
    if error.findings:
        details["errors"] = [_listed(finding) for finding in error.findings[:MAX_ERRORS]]
    rendered: dict[str, Any] = {"code": error.code, "message": error.message}
    return rendered | {"details": details} if details else rendered


def error_callback(
    context: Mapping[str, Any], error: ErrorObject, message: Mapping[str, Any] | None = None
) -> bytes:
    """Return the body of a callback that carries an error instead of a result.

    Args:
        context: context of the callback, its action set.
        error: `E`, placed at top level.
        message: the last known order or contract, left out when there is none.
    """
    body: dict[str, Any] = {"context": context, "error": error}
    return strict_json.encode(body if message is None else body | {"message": message})


class Outcome(StrEnum):
    """What an answer means for the message that was sent."""

    DELIVERED = "delivered"
    """A callback is due if it was a request."""
    DELIVERED_WITHOUT_CALLBACK = "delivered_without_callback"
    REFUSED = "refused"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A peer's answer, read."""

    outcome: Outcome
    error: dict[str, Any] | None = None
    """`E` of the answer, if it carried one."""
    retry_after_ms: int | None = None
    """How long the peer asks us to wait, at most MAX_RETRY_AFTER_MS."""
    understood: bool = True
    """False for a body of unknown shape: worth a warning."""


def read_answer(status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """Return what an answer means.

    Args:
        status: HTTP status.
        headers: names in lower case.
        body: as received; any of the four shapes, or none.
    """
    answer = _json_object(body)
    word, error = _ack_word(answer), read_error(answer)
    understood = word is not None
    code = error["code"] if error else ""
    if 300 <= status < 400 or status >= 500 or status in _RETRY_STATUS or is_transient(code):
        wait = _retry_after_ms(headers.get("retry-after"))
        return Verdict(Outcome.RETRY, error, wait, understood)
    if word == "ACK" and status in (202, 409):
        return Verdict(Outcome.DELIVERED_WITHOUT_CALLBACK, error)
    if status < 300 and word != "NACK":
        return Verdict(Outcome.DELIVERED, error, understood=understood)
    return Verdict(Outcome.REFUSED, error, understood=understood or error is not None)


def read_error(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `E` of an answer or a callback, None when it carries none."""
    return take_error(body)[0]


def take_error(body: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return `E` and the body without it; a message that held nothing else is removed.

    Read at top level first, then inside `message`, as `error` or as AsyncError's own keys.
    """
    rest = {key: value for key, value in body.items() if key != "error"}
    found = _named(body.get("error"))
    message = body.get("message")
    if isinstance(message, dict):
        inner = _named(message.get("error")) or _named(message, "errorCode", "errorMessage")
        if inner is not None:
            found = found or inner
            left = {key: item for key, item in message.items() if key not in _ERROR_KEYS}
            rest["message"] = left
            if not left:
                del rest["message"]
    return found, rest


def _onix_ack(ids: MessageIds) -> Acknowledgement:
    return _onix(200, "ACK", ids)


def _onix_nack(ids: MessageIds, status: int, error: ErrorObject) -> Acknowledgement:
    return _onix(status, "NACK", ids, error)


def _onix_without_callback(ids: MessageIds, error: ErrorObject) -> Acknowledgement:
    return _onix(202, "ACK", ids, error)


def _onix(
    status: int, word: str, ids: MessageIds, error: ErrorObject | None = None
) -> Acknowledgement:
    message: dict[str, Any] = {"status": word}
    if ids.message_id is not None:
        message["messageId"] = ids.message_id
    if error is not None:
        message["error"] = error
    return Acknowledgement(status, strict_json.encode({"message": message}))


PROFILES: Mapping[str, AckProfile] = MappingProxyType(
    {"onix": AckProfile(_onix_ack, _onix_nack, _onix_without_callback)}
)
"""Known shapes of our answers, by the name of the setting `ack_profile`."""

_ERROR_KEYS = frozenset({"error", "errorCode", "errorMessage"})


def _rule_as_cause(code: str, finding: Finding | None) -> dict[str, Any] | None:
    """Return the rule behind a refusal when the code at level 1 is another one."""
    rule = (finding.rule or finding.code) if finding else None
    if finding is None or rule in (None, code):
        return None
    return {"code": rule, "message": finding.message, "details": {"path": finding.path}}


def _listed(finding: Finding) -> dict[str, str]:
    entry = {"code": finding.code, "path": finding.path, "message": finding.message}
    differs = finding.rule not in (None, finding.code)
    return entry | {"rule": str(finding.rule)} if differs else entry


def _bounded(error: ErrorObject, causes: int) -> dict[str, Any]:
    """Return `E` with texts cut and at most `causes` error objects in a row, itself included."""
    bounded = _named(error) or {"code": _UNNAMED_CODE, "message": ""}
    details = bounded.get("details")
    if details is None:
        return bounded
    kept = {key: value for key, value in details.items() if key not in ("cause", "errors")}
    cause, errors = details.get("cause"), details.get("errors")
    if causes > 1 and isinstance(cause, Mapping):
        kept["cause"] = _bounded(cause, causes - 1)
    if isinstance(errors, list):
        kept["errors"] = errors[:MAX_ERRORS]
    return bounded | {"details": kept}


def _named(
    value: object, code_key: str = "code", message_key: str = "message"
) -> dict[str, Any] | None:
    """Return `E` from an object with either pair of keys; numeric codes are kept as text."""
    if not isinstance(value, Mapping):
        return None
    if code_key == "code" and "code" not in value and "errorCode" in value:
        return _named(value, "errorCode", "errorMessage")
    if code_key not in value and code_key != "code":
        return None
    code, message = value.get(code_key), value.get(message_key)
    named: dict[str, Any] = {
        "code": str(code)[:100] if isinstance(code, str | int) and code != "" else _UNNAMED_CODE,
        "message": message[:MAX_TEXT] if isinstance(message, str) else "",
    }
    details = value.get("details")
    return named | {"details": dict(details)} if isinstance(details, Mapping) else named


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        return strict_json.decode_object(body)
    except WireError:
        return {}


def _ack_word(answer: Mapping[str, Any]) -> str | None:
    """Return ACK or NACK, wherever the answer has it; the places are tried in this order."""
    message = answer.get("message")
    places: list[object] = []
    if isinstance(message, dict):
        inner = message.get("ack")
        places += [message.get("status"), inner.get("status") if isinstance(inner, dict) else None]
    places += [answer.get("status"), answer.get("ack_status")]
    return next((word for word in places if word in ("ACK", "NACK")), None)


def _retry_after_ms(value: str | None) -> int | None:
    """Return a Retry-After in seconds; its rarer date form is left to our own schedule."""
    if value is None or not (value.isascii() and value.strip().isdigit()):
        return None
    return min(int(value.strip()[:6]) * 1_000, MAX_RETRY_AFTER_MS)
