"""Which entries tell the story of an agreement, so that a proof need not read the whole journal.

Derived from the events of each entry when it is written; a replay gives the same rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from adapter.settlement.events import Event
from adapter.settlement.rows import padded
from adapter.settlement.state import Index, Reader, Row


@dataclass(frozen=True, slots=True)
class Trail(Row):
    """One entry in which something happened to an object."""

    KIND: ClassVar[str] = "trail"
    object: str
    """`agreement:4` or `contract:<contract id>`."""
    seq: int
    index: int
    """Of the event in its entry."""

    @property
    def key(self) -> str:
        """Return object and event."""
        return f"{self.object}|{padded(self.seq)}.{self.index}"

    def indexes(self) -> tuple[Index, ...]:
        """List the entries of each object."""
        return (Index("object", self.object, padded(self.seq)),)


def agreement_object(agreement_no: int) -> str:
    """Return the name of an agreement in the trails."""
    return f"agreement:{agreement_no}"


def contract_object(contract_id: str) -> str:
    """Return the name of a contract id; several platforms may use the same one."""
    return f"contract:{contract_id}"


_Fields = Mapping[str, Any]


def _agreement(fields: _Fields) -> tuple[str, ...]:
    return (agreement_object(fields["agreement_no"]),)


def _created(fields: _Fields) -> tuple[str, ...]:
    return (agreement_object(fields["agreement_no"]), contract_object(fields["contract_id"]))


OBJECTS: Mapping[str, Callable[[_Fields], tuple[str, ...]]] = MappingProxyType(
    {
        "AgreementCreated": _created,
        "AgreementActivated": _agreement,
        "PaymentSettled": _agreement,
    }
)
"""Whose trail an event belongs to, by its name."""


def trails(seq: int, events: Iterable[Event]) -> Iterator[Trail]:
    """Give the trails of an entry."""
    for index, event in enumerate(events):
        named = OBJECTS.get(event.name)
        if named is not None:
            for one in named(event.fields):
                yield Trail(one, seq, index)


def trail_of(reader: Reader, named: str) -> list[Trail]:
    """Return what happened to an object, oldest first."""
    return list(reader.find(Trail, "object", named))
