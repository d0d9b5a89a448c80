"""A bounded part of a large value, for saying what is wrong with it.

Whether a message fits its schema costs milliseconds at any size. To list what does not fit costs
25 µs and 4 kB per failed keyword: 43 s and 3 GB for 256 KiB of bad roles. So only that many values
are explained; they are the first of every list and object, where a person looks first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from adapter.domain.findings import Finding, Severity, Tier
from adapter.protocol.schema_errors import OTHER, Failure, SchemaFindings

MAX_EXPLAINED = 2_000
"""Values (members, items, the root) of a message that are explained; usual ones have 200."""
WIDTHS = (300, 100, 30, 10, 3, 1)
"""Items kept of each list, tried in turn until the rest is small enough."""


def explain(
    value: Any, path: str, schema: Mapping[str, Any], failures: Callable[[Any], Iterable[Failure]]
) -> tuple[Finding, ...]:
    """Return at least one finding about a value that does not fit its schema.

    Args:
        value: as decoded.
        path: JSONPath under which it is known.
        schema: the root schema, with everything it refers to.
        failures: gives what an engine finds wrong with a value.
    """
    if not has_more_than(MAX_EXPLAINED, value):
        return SchemaFindings(value, path).of(failures(value))
    part, width = small_excerpt(value, property_names(schema))
    found = SchemaFindings(part, path).of(failures(part)) if part is not None else ()
    if found:
        return found
    where = "too many to say where"
    if part is not None:
        where = f"and only the first {width} of each list and object were searched, without result"
    message = (
        f"the message does not fit its schema; it has more than {MAX_EXPLAINED} values, {where}"
    )
    return (Finding(Tier.SCHEMA, Severity.ERROR, OTHER, path, message, wire_code=OTHER),)


def has_more_than(limit: int, value: object) -> bool:
    """Return whether a value holds more than `limit` values, itself included."""
    waiting = [value]
    count = 1
    while waiting and count <= limit:
        here = waiting.pop()
        if isinstance(here, dict):
            count += len(here)
            waiting += here.values()
        elif isinstance(here, list):
            count += len(here)
            waiting += here
    return count > limit


def small_excerpt(value: Any, known: frozenset[str]) -> tuple[Any, int]:
    """Return the largest excerpt that can be explained, and how many members each part keeps.

    Args:
        value: a decoded message.
        known: names of properties in any schema; these are kept, so that none seems missing.

    Returns:
        Excerpt and width; (None, 1) when no excerpt is small enough.
    """
    for width in WIDTHS:
        part = excerpt(value, known, width=width)
        if not has_more_than(MAX_EXPLAINED, part):
            return part, width
    return None, WIDTHS[-1]


def excerpt(value: Any, known: frozenset[str], *, width: int) -> Any:
    """Return a value with the first `width` items of each list and unknown keys of each object."""
    if isinstance(value, dict):
        return {
            name: excerpt(value[name], known, width=width) for name in _kept(value, known, width)
        }
    if isinstance(value, list):
        return [excerpt(item, known, width=width) for item in value[:width]]
    return value


def _kept(value: Mapping[str, Any], known: frozenset[str], width: int) -> Iterator[str]:
    others = 0
    for name in value:
        if name not in known:
            others += 1
            if others > width:
                continue
        yield name


def property_names(node: object) -> frozenset[str]:
    """Return every name that a schema document knows as a property."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Mapping):
            properties = here.get("properties")
            if isinstance(properties, Mapping):
                found.update(properties)
            required = here.get("required")
            if isinstance(required, list):
                found.update(name for name in required if isinstance(name, str))
            waiting += here.values()
        elif isinstance(here, list):
            waiting += here
    return frozenset(found)
