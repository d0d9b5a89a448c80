"""Results on stdout, diagnostics on stderr, colours and progress on a terminal only."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import typer

from adapter.domain.errors import AdapterError

FINDINGS = 1
"""Exit code: findings or refusal."""
USAGE = 2
"""Exit code: wrong usage."""


def say(text: str) -> None:
    """Print one line of the result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """Print one JSON document on one line."""
    from adapter.protocol import strict_json  # a tenth of the start of short commands

    say(strict_json.encode(value).decode())


def complain(text: str) -> None:
    """Print one diagnostic line."""
    sys.stderr.write(f"p2ptrade: {_printable(text)}\n")
    sys.stderr.flush()


def refuse(text: str) -> NoReturn:
    """End with exit code 1, findings or refusal."""
    complain(text)
    raise typer.Exit(FINDINGS)


def misuse(text: str) -> NoReturn:
    """End with exit code 2, wrong usage."""
    complain(text)
    raise typer.Exit(USAGE)


def refuse_error(error: AdapterError) -> NoReturn:
    """End with exit code 1 because of a refusal that has a code."""
    where = f" at {error.path}" if error.path else ""
    refuse(f"{error.code}{where}: {error.message}")


def table(rows: Iterable[Mapping[str, str]]) -> None:
    """Print rows with equal keys as columns, headings first."""
    listed = list(rows)
    if not listed:
        return
    names = list(listed[0])
    widths = {name: max(len(name), *(len(row[name]) for row in listed)) for name in names}
    for row in ({name: name for name in names}, *listed):
        say("  ".join(row[name].ljust(widths[name]) for name in names).rstrip())


def _printable(text: str) -> str:
    """Return text without control characters, so that a file cannot drive the terminal."""
    return "".join(char if char.isprintable() or char == " " else "�" for char in text)
