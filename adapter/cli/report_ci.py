"""Validation reports for build servers: JUnit XML and SARIF 2.1.0, each one document."""

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from adapter.cli.output import say, say_json
from adapter.cli.report_people import places_of, right_of
from adapter.domain.codes import CODES
from adapter.domain.findings import Finding, Severity
from adapter.protocol.positions import Place
from adapter.protocol.rules.catalogue import catalogue
from adapter.protocol.validation import Report

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True)
class _Case:
    """What one file gave."""

    file: str
    errors: tuple[tuple[Finding, Place], ...]
    findings: tuple[tuple[Finding, Place], ...]


class _Collector:
    """Keeps the results of all files until the end."""

    def __init__(self) -> None:
        self._cases: list[_Case] = []

    def add(self, file: str, raw: bytes, report: Report) -> None:
        """Keep the report about one file."""
        places = places_of(raw, report.results)
        self._cases.append(
            _Case(
                file,
                tuple((one, places[one.path]) for one in report.errors),
                tuple((one, places[one.path]) for one in report.findings),
            )
        )


class JUnitWriter(_Collector):
    """One test case per file; it fails when the file has errors."""

    def end(self) -> None:
        """Write the document."""
        counts = f'tests="{len(self._cases)}" failures="{sum(bool(c.errors) for c in self._cases)}"'
        say('<?xml version="1.0" encoding="UTF-8"?>')
        say(f'<testsuites name="p2ptrade validate" {counts} errors="0">')
        say(f'  <testsuite name="p2ptrade validate" {counts} errors="0" skipped="0">')
        for case in self._cases:
            _write_case(case)
        say("  </testsuite>\n</testsuites>")


def _write_case(case: _Case) -> None:
    say(f'    <testcase classname="p2ptrade.validate" name={_attribute(case.file)}>')
    if case.errors:
        first = case.errors[0][0]
        kind, text = _attribute(first.rule or first.code), _attribute(first.message)
        say(f"      <failure type={kind} message={text}>{_lines(case.file, case.errors)}</failure>")
    if case.findings:
        say(f"      <system-out>{_lines(case.file, case.findings)}</system-out>")
    say("    </testcase>")


def _lines(file: str, found: tuple[tuple[Finding, Place], ...]) -> str:
    lines = [
        f"{file}:{place.line}:{place.column}: {one.severity.value} {one.rule or one.code} "
        f"at {one.path}: {one.message}"
        for one, place in found
    ]
    return escape(_NOT_XML.sub("�", "\n".join(lines)))


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("�", text))


class SarifWriter(_Collector):
    """One result per finding, with its line; build servers show them beside the file."""

    def end(self) -> None:
        """Write the document."""
        rules: dict[str, int] = {}
        results = [
            _result(case.file, one, place, rules)
            for case in self._cases
            for one, place in (*case.errors, *case.findings)
        ]
        driver = {
            "name": "p2ptrade validate",
            "semanticVersion": version("p2ptrade"),
            "rules": [_rule(code) for code in rules],
        }
        run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
        say_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(file: str, one: Finding, place: Place, rules: dict[str, int]) -> dict[str, Any]:
    code = one.rule or one.code
    region = {
        "startLine": place.line,
        "startColumn": place.column,
        "endColumn": place.column + place.length,
    }
    location = {
        "physicalLocation": {"artifactLocation": {"uri": _uri(file)}, "region": region},
        "logicalLocations": [{"fullyQualifiedName": one.path}],
    }
    right = right_of(one)
    text = f"{one.message}. Right would be: {right}" if right else one.message
    return {
        "ruleId": code,
        "ruleIndex": rules.setdefault(code, len(rules)),
        "level": _LEVELS[one.severity],
        "message": {"text": text},
        "locations": [location],
        "properties": {"tier": one.tier.value, "code": one.code, "wireCode": one.wire_code},
    }


def _rule(code: str) -> dict[str, Any]:
    entry = catalogue().get(code)
    described: dict[str, Any] = {"id": code}
    if entry is not None:
        described["shortDescription"] = {"text": entry.condition}
        described["defaultConfiguration"] = {"level": _LEVELS[entry.severity]}
    elif code in CODES:
        described["shortDescription"] = {"text": CODES[code].meaning}
    return described


def _uri(file: str) -> str:
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
