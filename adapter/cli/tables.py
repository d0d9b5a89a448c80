"""Results as tables for people; long ones are cut, --json has all."""

import sys
from collections.abc import Iterable, Sequence
from itertools import islice

from adapter.cli.terminal import has_colour, printable

ROWS_MAX = 20
"""Rows of a table that people will read."""
_WIDTH = 110
"""Columns where there is no terminal that has a width."""


class Tables:
    """Lines and tables on stdout."""

    def __init__(self) -> None:
        """Load what draws them."""
        from rich.console import Console  # 70 ms, which --json does not pay

        self._console = Console(
            highlight=False,
            no_color=not has_colour(sys.stdout),
            width=None if sys.stdout.isatty() else _WIDTH,
        )

    def line(self, text: str) -> None:
        """Print a line."""
        self._console.print(printable(text), markup=False)

    def table(
        self,
        title: str,
        headings: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        most: int | None = ROWS_MAX,
    ) -> None:
        """Print a table of at most so many rows; a heading that begins with `>` is of numbers."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left", title_style="bold")
        for heading in headings:
            number = heading.startswith(">")
            table.add_column(
                heading.removeprefix(">"),
                justify="right" if number else "left",
                no_wrap=number,
                overflow="fold",
            )
        remaining = iter(rows)
        for row in islice(remaining, most):
            table.add_row(*(Text(printable(cell)) for cell in row))
        self._console.print(table)
        more = sum(1 for _ in remaining)
        if more:
            self.line(f"and {more} more; --json has all")
