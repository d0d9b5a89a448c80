"""The figures of docs/performance.md: one table per benchmark, written by `make bench`.

The page is prose by people; between the two marks of a benchmark stands what it last measured.
"""

import os
import platform
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
_BLOCK = re.compile(r"(?s)(<!-- bench: (?P<name>[a-z]+) -->\n).*?(<!-- bench end -->)")
_SPREAD = frozenset({"name", "version", "median", "min", "max"})
_ROW = frozenset({"case", "ours", "baseline", "ratio_median"})
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
    """Return a result as a table, minimum to maximum in brackets; and what else was measured."""
    rows = "".join(_row(case) for case in result["cases"])
    besides = "".join(_besides(case) for case in result["cases"])
    ending = f"\nMeasured besides:\n\n{besides}" if besides else ""
    return f"In {result['unit']}, {_machine()}.\n\n{_HEAD}{rows}{ending}"


def _row(case: Mapping[str, Any]) -> str:
    ours, base = case["ours"], case["baseline"]
    named = f"{base['name']} {base['version']}".strip()
    ratio = case["ratio_median"]
    return f"| {case['case']} | {_spread(ours)} | {named}: {_spread(base)} | {ratio} |\n"


def _besides(case: Mapping[str, Any]) -> str:
    """Return a line with the figures of a case that are not in its row, none if there are none."""
    figures = {
        **{f"ours {name}": found for name, found in _figures(case["ours"], _SPREAD)},
        **{f"baseline {name}": found for name, found in _figures(case["baseline"], _SPREAD)},
        **dict(_figures(case, _ROW)),
    }
    listed = ", ".join(f"{name} {found}" for name, found in figures.items())
    return f"- {case['case']}: {listed}\n" if listed else ""


def _figures(found: Mapping[str, Any], without: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Give the figures inside nested mappings by the names that lead to them."""
    for name, value in found.items():
        if name in without:
            continue
        if isinstance(value, Mapping):
            yield from ((f"{name} {inner}", figure) for inner, figure in _figures(value, ()))
        else:
            yield name, value


def _spread(figure: Mapping[str, Any]) -> str:
    return f"{figure['median']} ({figure['min']} to {figure['max']})"


def _machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}"
