"""The figures of docs/performance.md: one table per benchmark, written by `make bench`.

The page is prose by people; between the two marks of a benchmark stands what it last measured.
"""

import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
_BLOCK = re.compile(r"(?s)(<!-- bench: (?P<name>[a-z]+) -->\n).*?(<!-- bench end -->)")
_HEAD = "| case | ours | baseline | ratio |\n| --- | --- | --- | --- |\n"


def write_page(results: Iterable[Mapping[str, Any]], page: Path = PAGE) -> list[str]:
    """Put the results into their places on the page; return the names that have none."""
    tables = {result["name"]: to_table(result) for result in results}
    text = page.read_text()
    known = {found["name"] for found in _BLOCK.finditer(text)}

    def replaced(found: re.Match[str]) -> str:
        table = tables.get(found["name"])
        return found[0] if table is None else f"{found[1]}{table}{found[3]}"

    page.write_text(_BLOCK.sub(replaced, text))
    return sorted(tables.keys() - known)


def to_table(result: Mapping[str, Any]) -> str:
    """Return a result as a table: median, and minimum to maximum in brackets."""
    rows = "".join(_row(case) for case in result["cases"])
    return f"In {result['unit']}, {_machine()}.\n\n{_HEAD}{rows}"


def _row(case: Mapping[str, Any]) -> str:
    ours, base = case["ours"], case["baseline"]
    named = f"{base['name']} {base['version']}".strip()
    ratio = case["ratio_median"]
    return f"| {case['case']} | {_spread(ours)} | {named}: {_spread(base)} | {ratio} |\n"


def _spread(figure: Mapping[str, Any]) -> str:
    return f"{figure['median']} ({figure['min']} to {figure['max']})"


def _machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}"
