"""Every file below examples/invalid breaks exactly the rule that its folder is named after."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest

from adapter.domain.codes import CODES
from adapter.domain.findings import Finding, Severity
from adapter.domain.instants import parse_instant
from adapter.domain.quantities import Energy
from adapter.domain.tariff import ProfilePiece
from adapter.protocol import strict_json
from adapter.protocol.rules import check_prices
from adapter.protocol.rules.catalogue import catalogue
from adapter.protocol.schemas import Schemas
from adapter.protocol.schemas_py import PythonSchemas
from adapter.protocol.validation import Histories, Report, SchemaEngine, validate
from adapter.store.documents import load_bundle
from tests.conformance.make_invalid import FOLDER, HISTORIES, PRICES, PROFILE, files

FOLDERS = sorted(folder for folder in FOLDER.iterdir() if folder.is_dir())
OF_MESSAGES = [folder for folder in FOLDERS if folder.name not in PRICES]
BUNDLE = load_bundle()
ENGINES: Mapping[str, SchemaEngine] = {"rs": Schemas(BUNDLE), "py": PythonSchemas(BUNDLE)}
COMPANIONS = {
    "P2P_MODE_HINT": {"P2P_EXTENSION_KEY"},  # the key that the rule is about
    "P2P_CURVE_BOUNDS": {"P2P_CURVE_ORDER"},  # ascending from end to end, no point lies outside
}
"""What a rule cannot be broken without."""
NEEDS_MORE_THAN_A_FILE = {
    "CTX_ACTION_MISMATCH",  # the path of a request
    "CTX_TTL_EXPIRED",  # a clock
    "CTX_MESSAGE_ID_DUPLICATE",  # a node's state
    "CTX_TRANSACTION_ID_UNKNOWN",
    "SCH_ATTRIBUTE_PACK_INVALID",  # wire code of the rules, which stand in their own folders
}


def names(found: tuple[Finding, ...]) -> set[str]:
    """Return the rule or else the code of each finding."""
    return {one.rule or one.code for one in found}


def judged(folder: Path) -> list[Report]:
    """Return the report about each file, in name order, as one history where the rule needs it."""
    histories: Histories | None = {} if folder.name in HISTORIES else None
    return [
        validate(file.read_bytes(), ENGINES, histories=histories)
        for file in sorted(folder.glob("*.json"))
    ]


@pytest.mark.parametrize("folder", OF_MESSAGES, ids=lambda folder: folder.name)
def test_the_folder_breaks_exactly_its_rule(folder: Path) -> None:
    reports = judged(folder)
    assert reports
    if folder.name in HISTORIES:
        for earlier in reports[:-1]:
            assert earlier.results == ()
        reports = reports[-1:]
    entry = catalogue().get(folder.name)
    fails = entry is None or entry.severity is Severity.ERROR
    for report in reports:
        found = report.errors or report.findings
        assert names(found) - COMPANIONS.get(folder.name, set()) == {folder.name}
        assert bool(report.errors) is fails or folder.name == "P2P_FLOW_UNBOUND"


@pytest.mark.parametrize("code", sorted(PRICES))
def test_the_delivery_beside_a_valid_message_breaks_exactly_its_rule(code: str) -> None:
    host = strict_json.decode_object((FOLDER / code / PROFILE).read_bytes())
    (file,) = (FOLDER / code).glob("0*.json")
    raw = file.read_bytes()
    assert validate(raw, ENGINES).results == ()
    pieces = [
        ProfilePiece(
            parse_instant(piece["start"]), parse_instant(piece["end"]), Fraction(piece["kwh"])
        )
        for piece in host["profile"] or ()
    ]
    found = check_prices(
        strict_json.decode_object(raw)["message"]["order"]["beckn:orderAttributes"],
        delivered=Energy.from_kwh(host["delivered_kwh"]),
        profile=pieces or None,
    )
    assert names(found) == {code}


def test_an_unbound_flow_is_information_and_then_an_error() -> None:
    pending, active = judged(FOLDER / "P2P_FLOW_UNBOUND")
    assert (pending.valid, active.valid) == (True, False)


def test_every_rule_and_every_code_that_a_file_can_show_has_a_folder() -> None:
    codes = {code for code in CODES if code.startswith(("SCH_", "CTX_"))}
    expected = set(catalogue()) | codes - NEEDS_MORE_THAN_A_FILE
    assert {folder.name for folder in FOLDERS} == expected


def test_the_files_are_those_that_the_builder_makes() -> None:
    kept = {
        file.relative_to(FOLDER).as_posix(): file.read_bytes() for file in FOLDER.rglob("*.json")
    }
    assert kept == files(), "run: python -m tests.conformance.make_invalid"
