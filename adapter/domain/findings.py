"""One result of checking a message: what, where, by which rule."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

Path = tuple[str | int, ...]
"""A place in a JSON document: keys and indexes from the root."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Tier(StrEnum):
    """Which kind of check found it."""

    SCHEMA = "schema"
    SEMANTIC = "semantic"
    POLICY = "policy"


class Severity(StrEnum):
    """An error refuses a live message, the others inform."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check. Source: interfaces 2.1, contract specification section 1."""

    tier: Tier
    severity: Severity
    code: str
    """SCH_ or CTX_ (tier schema), P2P_ (semantic), POL_ (policy)."""
    path: str
    """JSONPath from `$`."""
    message: str
    rule: str | None = None
    """The P2P_ rule; for tier schema the rule that the failed keyword stands for, if any."""
    wire_code: str | None = None
    """Level-1 code of the NACK that a live message would get; None unless an error."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """The values put into the message, JSON types."""


_KEPT_KEY = 64
"""Longest name whose step is kept: names come from peers, who may send long ones."""


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return _kept_step(key) if len(key) <= _KEPT_KEY else _named_step(key)


def _named_step(key: str) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return f".{key}"
    quoted = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{quoted}']"


_kept_step = lru_cache(maxsize=4096)(_named_step)


def json_path(path: Path, root: str = "$") -> str:
    """Return `path` as JSONPath, e.g. `$.message.order['beckn:items'][0].quantity`."""
    return root + "".join(map(_step, path))


def document_position(document: object, path: Path) -> tuple[int, ...]:
    """Return a key that sorts paths in the order in which they stand in `document`.

    A key that an object lacks sorts after those it has.
    """
    position = []
    here = document
    for key in path:
        if isinstance(here, dict):
            place = next((i for i, name in enumerate(here) if name == key), len(here))
            here = here.get(key)
        elif isinstance(here, list) and isinstance(key, int):
            place = key
            here = here[key] if key < len(here) else None
        else:
            place = 0
            here = None
        position.append(place)
    return tuple(position)
