"""Values of parameters without pydantic, which typer would load for each text it takes.

That costs 0.2 s, more than most commands do. Texts, numbers, paths, choices and lists of them are
made here; any other kind is left to typer. Source: quality targets, section 5 (start).
"""

from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
import typer.core


def use_plain_values() -> None:
    """Have typer ask `PlainValues` for all values that these can make."""
    of_typer = getattr(typer.core, "build_runtime_param", None)
    if of_typer is None:
        return  # another version of typer; all works, only later

    def build(descriptor: Any) -> Any:
        info, kind = descriptor.parameter_info, descriptor.annotation
        plain = info.parser is None and _is_plain(kind)
        return PlainValues(kind) if plain else of_typer(descriptor)

    setattr(typer.core, "build_runtime_param", build)  # noqa: B010  # not one of its exports


class PlainValues:
    """What typer asks for the value of one parameter."""

    def __init__(self, kind: type[Any]) -> None:
        """Take str, int, bool, Path, an Enum, or a list of one of them."""
        self._kind = kind

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of a parameter; None and no values at all stay what they are."""
        if param.multiple or param.nargs == -1:
            (kind,) = get_args(self._kind)
            return [_value(item, kind, param, ctx) for item in value or ()]
        return None if value is None else _value(value, self._kind, param, ctx)


def _is_plain(kind: Any) -> bool:
    if get_origin(kind) is list:
        return all(_is_plain(item) for item in get_args(kind))
    return isinstance(kind, type) and (kind in (str, int, bool, Path) or issubclass(kind, Enum))


def _value(value: Any, kind: type[Any], param: Any, ctx: Any) -> Any:
    if isinstance(value, kind):
        return value
    try:
        return kind(value)
    except ValueError:
        expected = "an integer" if kind is int else "a value that is allowed"
        if issubclass(kind, Enum):
            expected = "one of " + ", ".join(str(choice.value) for choice in kind)
        msg = f"{value!r} is not {expected}."
        raise typer.BadParameter(msg, ctx=ctx, param=param) from None
