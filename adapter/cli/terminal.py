"""Colour and progress, on a terminal only; texts that any terminal can show."""

import os
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TextIO

QUIET_S = 1
"""Work that takes no longer shows no progress bar."""

_STYLES: Mapping[str, str] = MappingProxyType(
    {
        "error": "1;31",
        "warning": "1;33",
        "info": "1;36",
        "fine": "32",
        "faint": "2",
        "strong": "1",
    }
)


def has_colour(stream: TextIO) -> bool:
    """Return whether to colour: on a terminal, unless NO_COLOR says otherwise."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, *, colour: bool) -> str:
    """Return a text in one of the styles."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colour else text


def printable(text: str) -> str:
    """Return text without control characters, so that a file cannot drive the terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)


def columns(text: str) -> int:
    """Return how many columns of a terminal a text fills."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def accept_any_text() -> None:
    """Make the output streams take every character, whatever the locale says."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="replace")


class Progress:
    """A bar on stderr that appears after a second of work."""

    def __init__(self, what: str, total: int) -> None:
        """Take what is counted, for people, and how many there are."""
        self._what = what
        self._total = total
        self._began = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def advance(self) -> None:
        """Count one more."""
        if self._bar is not None:
            self._bar.advance(self._task)
        elif time.monotonic() - self._began > QUIET_S:
            self._show()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _show(self) -> None:
        from rich.console import Console  # 70 ms, which short work does not pay
        from rich.progress import Progress as Bar

        console = Console(stderr=True, no_color=not has_colour(sys.stderr))
        self._bar = Bar(console=console, transient=True, redirect_stdout=sys.stdout.isatty())
        self._task = self._bar.add_task(self._what, total=self._total)
        self._bar.start()
        self._began = time.monotonic()


@contextmanager
def progress(what: str, total: int) -> Iterator[Progress | None]:
    """Give a progress bar; None where nobody would see it."""
    if total < 2 or not sys.stderr.isatty():
        yield None
        return
    bar = Progress(what, total)
    try:
        yield bar
    finally:
        bar.close()
