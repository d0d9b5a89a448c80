"""A validation report for people: the line of the file, a caret, and what would be right."""

import sys
from collections.abc import Sequence

from adapter.cli.output import say
from adapter.cli.terminal import columns, has_colour, printable, styled
from adapter.domain.findings import Finding, Severity
from adapter.protocol.positions import Place, find_fault, find_places, line_of
from adapter.protocol.rules.catalogue import catalogue
from adapter.protocol.validation import Report

MOST_SHOWN = 100
"""Findings of one file that are shown; the rest is counted."""
WIDEST = 100
"""Characters of a source line that are shown; a longer one is cut around its caret."""
_BEFORE = 60
"""Characters kept before the caret of a cut line."""
_NAMES = {
    Severity.ERROR: ("error", "errors"),
    Severity.WARNING: ("warning", "warnings"),
    Severity.INFO: ("note", "notes"),
}


class PeopleWriter:
    """Writes each report as it comes, and a summary line at the end."""

    def __init__(self) -> None:
        """Decide about colour once."""
        self._colour = has_colour(sys.stdout)
        self._files = 0
        self._failed = 0
        self._found: list[Severity] = []

    def add(self, file: str, raw: bytes, report: Report) -> None:
        """Write the report about one file."""
        self._files += 1
        self._failed += not report.valid
        self._found += [finding.severity for finding in report.results]
        say(self._heading(file, report))
        shown = report.results[:MOST_SHOWN]
        places = places_of(raw, shown)
        for finding in shown:
            say("")
            for line in self._block(file, raw, finding, places[finding.path]):
                say(line)
        if len(report.results) > len(shown):
            say(f"\n  … and {len(report.results) - len(shown)} more")
        if shown:
            say("")

    def end(self) -> None:
        """Write the summary."""
        files = f"{self._files} file" + ("s" if self._files != 1 else "")
        fine = f"{self._files - self._failed} valid, {self._failed} not"
        counted = _counted(self._found)
        style = "error" if self._failed else "fine"
        text = f"{files}: {fine}" + (f"; {counted}" if counted else "")
        say(styled(text, style, colour=self._colour))

    def _heading(self, file: str, report: Report) -> str:
        known = (report.action, report.dialect, report.mode)
        about = ", ".join(str(part) for part in known if part)
        verdict = "valid" if report.valid else "not valid"
        counted = _counted([finding.severity for finding in report.results])
        style = "fine" if report.valid else "error"
        text = f"{styled(printable(file), 'strong', colour=self._colour)}: "
        text += styled(verdict, style, colour=self._colour)
        text += f", {counted}" if counted else ""
        return text + (f" ({about})" if about else "")

    def _block(self, file: str, raw: bytes, finding: Finding, place: Place) -> list[str]:
        names = [finding.code] if finding.rule in {None, finding.code} else []
        names = names or [str(finding.rule), finding.code]
        word = _NAMES[finding.severity][0]
        heading = styled(f"{word} {names[0]}", finding.severity.value, colour=self._colour)
        number = str(place.line)
        bar = " " * len(number)
        before, marked, after = _cut(line_of(raw, place.line), place)
        caret = " " * columns(before) + "^" * max(1, columns(marked))
        lines = [
            "  " + " ".join([heading, *(f"({name})" for name in names[1:])]),
            self._faint(f"  {bar}--> ") + f"{printable(file)}:{place.line}:{place.column}",
            self._faint(f"  {bar} |"),
            self._faint(f"  {number} | ") + before + marked + after,
            self._faint(f"  {bar} | ") + styled(caret, finding.severity.value, colour=self._colour),
            self._faint(f"  {bar} = ") + printable(finding.message),
            self._faint(f"  {bar} = path:  ") + printable(finding.path),
        ]
        right = right_of(finding)
        return [*lines, self._faint(f"  {bar} = right: ") + right] if right else lines

    def _faint(self, text: str) -> str:
        return styled(text, "faint", colour=self._colour)


def places_of(raw: bytes, findings: Sequence[Finding]) -> dict[str, Place]:
    """Return the place of each finding's path in the bytes of its file."""
    unread = next(
        (f for f in findings if f.code in {"SCH_INVALID_JSON", "SCH_INVALID_FORMAT"}), None
    )
    if unread is not None and unread.path == "$":
        fault = unread.code == "SCH_INVALID_JSON"
        return {"$": find_fault(raw, unread.message) if fault else Place(1, 1)}
    return find_places(raw, [finding.path for finding in findings])


def right_of(finding: Finding) -> str | None:
    """Return what would be right, where the text of the finding does not say it already."""
    entry = catalogue().get(finding.rule or finding.code)
    return None if entry is None else entry.condition


def _cut(line: str, place: Place) -> tuple[str, str, str]:
    """Return what stands before, at and after the marked place, printable and not too long."""
    line = line.replace("\t", " ")
    start, end = place.column - 1, place.column - 1 + place.length
    begin = max(0, start - _BEFORE) if len(line) > WIDEST else 0
    stop = begin + WIDEST
    before = ("…" if begin else "") + line[begin:start]
    after = line[min(end, stop) : stop] + ("…" if len(line) > stop else "")
    return printable(before), printable(line[start : min(end, stop)]), printable(after)


def _counted(severities: Sequence[Severity]) -> str:
    """Return e.g. `1 error, 2 warnings`, nothing when there are none."""
    parts = []
    for severity, (one, many) in _NAMES.items():
        count = severities.count(severity)
        if count:
            parts.append(f"{count} {one if count == 1 else many}")
    return ", ".join(parts)
