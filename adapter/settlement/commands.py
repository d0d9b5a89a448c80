"""Commands, and what the table of functions says about each.

The arguments of a function are the fields of one frozen dataclass, each `Annotated` with its
kind: that class is the argument table, for parsing, documents and the handler alike.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

from adapter.settlement.kinds import Kind
from adapter.settlement.refusals import invalid
from adapter.settlement.roles import Role
from adapter.settlement.state import LedgerStore
from adapter.settlement.work import Work

A = TypeVar("A")
H = TypeVar("H", contravariant=True)

COMMAND_ID_MAX = 256
"""Characters; `{contract_id}:{action}:{message_id}` must fit."""


@dataclass(frozen=True, slots=True)
class Command:
    """A call of a contract function."""

    id: str
    """Chosen by the caller; together with the actor it makes the call repeatable."""
    contract: str
    function: str
    args: Mapping[str, Any]
    """Canonical: amounts in millionths, times in ms; absent instead of None."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a function."""

    name: str
    kind: Kind
    required: bool
    default: Any
    """Put in when the argument is absent; None: stays absent."""
    field: str
    """Of the form: the name, with a `_` where Python has that word for itself."""


class NoEntry(Exception):  # noqa: N818 - not an error: a success that changes nothing
    """Raised by a handler that found everything done already."""

    def __init__(self, result: Mapping[str, Any], seq: int | None = None) -> None:
        """Say the result, and the entry that did it before, if there is one."""
        super().__init__("nothing to do")
        self.result = result
        self.seq = seq


class Handler(Protocol[H]):
    """What a function does: checks from P5 on, then changes."""

    def __call__(self, work: Work, args: H, /) -> Mapping[str, Any]:
        """Return the result, JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class Function:
    """A contract function that changes the ledger."""

    contract: str
    name: str
    form: type[Any]
    """Dataclass of the arguments."""
    arguments: tuple[Argument, ...]
    handler: Handler[Any]
    roles: tuple[Role, ...]
    """The actor needs one of them; empty: the handler checks the relation to the object."""
    refusal: str
    """Code for an actor without the role."""
    callers: str
    """Who may call, for people."""
    precheck: Callable[[Work, Any], None] | None
    """Checks of arguments that need the ledger's settings; before roles."""

    def complete(self, args: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a new command, with what replaying it may not look up again.

        The form knows what that is, in a static method `complete`; most have nothing to add.
        """
        added: dict[str, Any] = getattr(self.form, "complete", dict)(args)
        return added

    @property
    def summary(self) -> str:
        """Return one line about what it does."""
        return (self.form.__doc__ or "").strip().splitlines()[0]


class ReadHandler(Protocol[H]):
    """What a read answers."""

    def __call__(self, view: "ReadView", args: H, /) -> Any:
        """Return JSON values with amounts as decimal strings."""
        ...


@dataclass(frozen=True, slots=True)
class ReadView:
    """The state as one caller reads it."""

    ledger: LedgerStore
    actor: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Read:
    """A contract function that only reads."""

    contract: str
    name: str
    form: type[Any]
    arguments: tuple[Argument, ...]
    handler: ReadHandler[Any]

    @property
    def summary(self) -> str:
        """Return one line about what it answers."""
        return (self.form.__doc__ or "").strip().splitlines()[0]


def define(
    name: str,
    form: type[A],
    handler: Handler[A],
    *,
    callers: str = "",
    roles: tuple[Role, ...] = (),
    precheck: Callable[[Work, A], None] | None = None,
) -> Function:
    """Return the table row of `contract.function`."""
    contract, function = name.split(".")
    refused = roles[0].refusal if roles else "NOT_AUTHORIZED"
    return Function(
        contract,
        function,
        form,
        arguments_of(form),
        handler,
        roles,
        refused,
        callers or ", ".join(roles),
        precheck,
    )


def define_read(name: str, form: type[A], handler: ReadHandler[A]) -> Read:
    """Return the table row of a read."""
    contract, function = name.split(".")
    return Read(contract, function, form, arguments_of(form), handler)


def arguments_of(form: type[Any]) -> tuple[Argument, ...]:
    """Return the argument table that the fields of a dataclass declare."""
    hints = get_type_hints(form, include_extras=True)
    return tuple(_argument(field, hints[field.name]) for field in dataclasses.fields(form))


def _argument(field: "dataclasses.Field[Any]", hint: Any) -> Argument:
    assert get_origin(hint) is Annotated, f"{field.name} has no kind"
    kind = get_args(hint)[1]
    assert isinstance(kind, Kind)
    required = field.default is dataclasses.MISSING
    default = None if required else field.default
    return Argument(field.name.rstrip("_"), kind, required, default, field.name)


def decode_args(arguments: tuple[Argument, ...], wire: Mapping[str, object]) -> dict[str, Any]:
    """Return canonical arguments from JSON values, checked.

    Raises:
        ContractError: INVALID_INPUT and the finer codes of P2, in signature order.
    """
    known = [argument.name for argument in arguments]
    for name in wire:
        if name not in known:
            raise invalid(str(name)[:60], f"no such argument; known: {', '.join(known) or 'none'}")
    args: dict[str, Any] = {}
    for argument in arguments:
        name = argument.name
        if name in wire:
            args[name] = argument.kind.decode(name, wire[name])
            argument.kind.check(name, args[name])
        elif argument.required:
            raise invalid(name, f"missing: {argument.kind.title}")
        elif argument.default is not None:
            args[name] = argument.default
    return args


def check_args(arguments: tuple[Argument, ...], args: Mapping[str, Any]) -> None:
    """Check canonical arguments, as of a command that was built in code.

    Raises:
        ContractError: as `decode_args`.
    """
    known = {argument.name for argument in arguments}
    if not args.keys() <= known:
        raise invalid("arguments", f"unknown: {', '.join(sorted(args.keys() - known))[:200]}")
    for argument in arguments:
        if argument.name in args:
            argument.kind.check(argument.name, args[argument.name])
        elif argument.required:
            raise invalid(argument.name, f"missing: {argument.kind.title}")


def bind(form: type[A], arguments: tuple[Argument, ...], args: Mapping[str, Any]) -> A:
    """Return the arguments as the dataclass of the function."""
    return form(**{a.field: args[a.name] for a in arguments if a.name in args})


def journal_args(arguments: tuple[Argument, ...], args: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as the journal writes them."""
    kinds = {argument.name: argument.kind for argument in arguments}
    return {name: kinds[name].encode(value) for name, value in args.items()}


def restored_args(arguments: tuple[Argument, ...], journal: Mapping[str, Any]) -> dict[str, Any]:
    """Return canonical arguments from those of an entry."""
    kinds = {argument.name: argument.kind for argument in arguments}
    return {name: kinds[name].restore(value) for name, value in journal.items()}
