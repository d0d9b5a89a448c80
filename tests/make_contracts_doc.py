"""`docs/contracts.md`: every function, read and event of the contract layer, from its tables.

Refusals and events of a function are those whose names stand in code that it can reach: in its
handler and check, and in what these call in the contract layer. A code that is passed on counts for
everybody who passes it.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from adapter.domain.settlement_codes import SETTLEMENT_CODES
from adapter.settlement import EVENTS, FUNCTIONS, READS, Argument, Function, Read
from adapter.settlement.events import EventType, Field

PACKAGE = "adapter.settlement"
STOP = ("adapter.settlement.refusals", "adapter.settlement.events")
"""Modules that know all codes and events."""
EVERYWHERE = ("UNAUTHENTICATED", "UNKNOWN_FUNCTION", "IDEMPOTENCY_CONFLICT", "INVALID_INPUT")
"""Refusals of every function; the page says them once."""
_CONTRACTS: Mapping[str, str] = {
    "registry": "Users, meters, roles, caps and settings.",
    "token": "GRID (1 GRID is 1 kWh) and cash.",
    "trading": "The order book, cleared every 15 minutes, and the root statements.",
    "oracle": "Signed meter readings and the upkeep of the market.",
    "agreements": "Forward trades between two users: what a contract of the network becomes.",
    "pool": "Fixed-price offers of energy that exists.",
}
_KINDS: Mapping[Field, str] = {
    Field.TEXT: "text",
    Field.USER: "user id",
    Field.METER: "meter id",
    Field.AGREEMENT: "number",
    Field.REQUEST: "number",
    Field.NUMBER: "integer",
    Field.FLAG: "true or false",
    Field.ENERGY: "kWh",
    Field.MONEY: "money",
    Field.PRICE: "price per kWh",
    Field.AMOUNT: "amount of `asset`",
    Field.WINDOW: "`{start, end}` in ms",
    Field.CAPS: "`{seller: {cap, total}, buyer}` in kWh",
    Field.DEVIATIONS: "list of `{kind, quantity}`",
    Field.LIST: "list",
}
_HEAD = """\
# The contract layer, function by function

Generated from the tables in `adapter/settlement/tables` by `python -m tests.make_docs`.
`GET /contracts` answers the same as JSON schemas, `/openapi.json` has a path for each.

A function is called with `POST /contracts/{contract}/{function}`, a read with `GET` and its
arguments in the query; `&at_seq=N` reads the state after journal entry N. *Caller* is a role, or a
relation to the object; a registered representative acts for its user. Arguments marked * are
required. Energies are kWh, prices and money decimals with at most six places, times ms since 1970.

Every call can be refused with `UNAUTHENTICATED`, `UNKNOWN_FUNCTION`, `IDEMPOTENCY_CONFLICT`,
`NOT_INITIALIZED` and, for its arguments, `INVALID_INPUT`. The further *refusals* and the *events*
of a function are those that its code can reach; refusals stand as in `docs/errors.md`, not in the
order in which they are looked for. A clearing also tells `Transfer`, `TradeExecuted` and
`OrderExpired` for every trade and order: they follow from the blocks of its entry.

The receipt of an accepted call is
`{command_id, seq, entry_hash, replayed, result, events: [{id, name, ...}]}`; a read answers
`{seq, result}`.
"""


def contracts() -> str:
    """Return the page."""
    names = dict.fromkeys(contract for contract, _ in (*FUNCTIONS, *READS))
    parts = [_HEAD, *(_contract(name) for name in names), _events()]
    return "\n".join(parts)


def _contract(name: str) -> str:
    lines = [f"## {name}\n", f"{_CONTRACTS[name]}\n"]
    for function in FUNCTIONS.values():
        if function.contract == name:
            lines += _function(function)
    lines += ["### Reads\n", "| read | arguments | answers |", "| --- | --- | --- |"]
    lines += [_read(read) for read in READS.values() if read.contract == name]
    return "\n".join([*lines, ""])


def _function(function: Function) -> Iterator[str]:
    codes, events = said_by(function)
    yield f"### {function.contract}.{function.name}\n"
    yield f"{function.summary}\n"
    yield f"- caller: {function.callers or 'any'}"
    yield f"- arguments: {_arguments(function.arguments)}"
    yield f"- refusals: {', '.join(f'`{code}`' for code in codes) or 'none of its own'}"
    yield f"- events: {', '.join(events) or 'none'}\n"


def _read(read: Read) -> str:
    summary = read.summary.replace("|", "\\|")
    return f"| `{read.name}` | {_arguments(read.arguments, '<br>')} | {summary} |"


def _arguments(arguments: Iterable[Argument], between: str = "; ") -> str:
    shown = [f"`{one.name}`{'*' * one.required} {_kind(one)}" for one in arguments]
    return between.join(shown) or "none"


def _kind(argument: Argument) -> str:
    text = argument.kind.title
    choices = argument.kind.schema.get("enum")
    if choices:
        text += f" ({', '.join(choices)})"
    if argument.default not in (None, ""):
        text += f", default {argument.default}"
    return text.replace("|", "\\|")


def _events() -> str:
    rows = [f"| `{event.name}` | {_fields(event)} | {_seers(event)} |" for event in EVENTS.values()]
    head = ["## Events\n", "In the feed each has `id` (SEQ.INDEX), `seq`, `time`, `contract` and"]
    head += ["`function` of its entry besides. A field without a value is absent.\n"]
    head += ["| event | fields | seen by |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, ""])


def _fields(event: EventType) -> str:
    return ", ".join(f"`{name}` {_KINDS[kind]}" for name, kind in event.fields.items()) or "none"


def _seers(event: EventType) -> str:
    return "everybody" if event.public else "those it concerns, overseers"


# What a function can say


def said_by(function: Function) -> tuple[list[str], list[str]]:
    """Return the codes and the events of a function, in the order of their tables."""
    texts = set(_texts([function.handler, function.precheck]))
    if function.roles:
        texts.add(function.refusal)
    codes = [code for code in SETTLEMENT_CODES if code in texts and code not in EVERYWHERE]
    return codes, [name for name in EVENTS if name in texts]


def _texts(begin: Iterable[Any]) -> Iterator[str]:
    """Give all texts in code and tables of the contract layer that can be reached."""
    waiting, seen = list(begin), set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif id(one) not in seen:
            seen.add(id(one))
            waiting += _parts(one)


def _parts(one: Any) -> list[Any]:
    if isinstance(one, FunctionType):
        if one.__module__ in STOP:
            return []
        cells = [cell.cell_contents for cell in one.__closure__ or ()]
        return [*_named(one), *cells] if one.__module__.startswith(PACKAGE) else []
    if isinstance(one, CodeType):
        return list(one.co_consts)
    if isinstance(one, tuple | list | frozenset | set):
        return list(one)
    if isinstance(one, Mapping):
        return list(one.values())
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return [getattr(one, field.name) for field in dataclasses.fields(one)]
    return []


def _named(function: FunctionType) -> list[Any]:
    """Return the texts in a function and what its names stand for."""
    codes = [function.__code__]
    for code in codes:
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]
    names = {name for code in codes for name in code.co_names}
    found: list[Any] = [const for code in codes for const in code.co_consts]
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and value.__name__.startswith(PACKAGE):
            found += [getattr(value, attribute, None) for attribute in names]
        else:
            found.append(value)
    return found
