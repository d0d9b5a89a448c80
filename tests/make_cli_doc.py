"""The page of all commands, made from the typer application."""

from typing import Any

import typer

from adapter.cli.main import COMMANDS, app


def commands() -> str:
    """Return the page."""
    parts = [
        "# Command line\n",
        "Generated from `adapter/cli` by `python -m tests.make_docs`.\n",
        "Results go to stdout, diagnostics to stderr. Exit code 0: fine; 1: findings or a refusal; "
        "2: wrong usage. `--json` gives one JSON document, or one object per line where it says "
        "so. Colours and progress bars are for terminals only, and `NO_COLOR` is honoured. "
        "`p2ptrade --install-completion` teaches the shell commands, options and choices.\n",
    ]
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="p2ptrade")
    parts += [_table(group.params)]
    for name in COMMANDS:
        command: Any = group.get_command(context, name)
        parts += _command(f"p2ptrade {name}", command, "##")
    return "\n".join(parts)


def _command(name: str, command: Any, level: str) -> list[str]:
    inner = getattr(command, "commands", None)
    text = (command.help or "").strip()
    parts = [f"{level} {name}\n", *([f"{text}\n"] if text else [])]
    if inner is None:
        parts += [f"```\n{_usage(name, command)}\n```\n", _table(command.params)]
        return parts
    if command.params:
        parts.append(_table(command.params))
    for subname, subcommand in inner.items():
        parts += _command(f"{name} {subname}", subcommand, level + "#")
    return parts


def _usage(name: str, command: Any) -> str:
    words = [name]
    for param in command.params:
        if param.param_type_name == "argument":
            many = "..." if param.nargs == -1 else ""
            word = f"{(param.metavar or param.name).upper()}{many}"
            words.append(word if param.required else f"[{word}]")
    has_options = any(param.param_type_name == "option" for param in command.params)
    return " ".join([*words, *(["[OPTIONS]"] if has_options else [])])


def _table(params: list[Any]) -> str:
    if not params:
        return ""
    rows = ["| parameter | values | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*rows, *map(_row, params)]) + "\n"


def _row(param: Any) -> str:
    is_option = param.param_type_name == "option"
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    shown = names if is_option else f"`{(param.metavar or param.name).upper()}`"
    text = (getattr(param, "help", None) or "").replace("|", "\\|")
    required = "required" if param.required else _default(param)
    return f"| {shown} | {_values(param)} | {required} | {text} |"


def _values(param: Any) -> str:
    descriptor = param.type_descriptor
    if descriptor.is_choice and descriptor.choices is not None:
        return ", ".join(f"`{getattr(choice, 'value', choice)}`" for choice in descriptor.choices)
    if getattr(param, "is_flag", False):
        return "flag"
    kind = descriptor.annotation
    names = {"str": "text", "int": "integer", "Path": "path", "bool": "flag"}
    name = getattr(kind, "__name__", str(kind))
    many = name == "list"
    found = names.get(kind.__args__[0].__name__ if many else name, name)
    return f"{found}, several" if many or param.multiple else str(found)


def _default(param: Any) -> str:
    default = param.default() if callable(param.default) else param.default
    if default is None or default is False or getattr(param, "is_flag", False) or default == ():
        return ""
    return f"`{getattr(default, 'value', default)}`"
