"""The lts examples are what their maker writes, fit the lts document, and break when changed."""

from typing import Any

import pytest

from adapter.protocol import strict_json
from adapter.protocol.schemas import Schemas
from adapter.store.documents import load_bundle
from tests.conformance.make_lts_examples import LTS, files

SCHEMAS = Schemas(load_bundle("lts"))


def kept(name: str) -> dict[str, Any]:
    return strict_json.decode_object((LTS / f"{name}.json").read_bytes())


def found(message: dict[str, Any]) -> list[tuple[str, str]]:
    action = message["context"]["action"]
    return [(one.code, one.path) for one in SCHEMAS.check(action, message)]


def test_the_files_are_those_that_their_maker_writes() -> None:
    here = {path.name: path.read_bytes() for path in LTS.glob("*.json")}
    assert here == files(), "python -m tests.conformance.make_lts_examples"


@pytest.mark.parametrize("name", sorted(path.stem for path in LTS.glob("*.json")))
def test_each_fits_the_document(name: str) -> None:
    assert found(kept(name)) == []


def test_the_document_has_every_action_and_needs_nothing_else() -> None:
    assert SCHEMAS.actions == Schemas(load_bundle()).actions
    names = load_bundle("lts")["components"]["schemas"]
    assert "draft.ContractSlot" in names
    assert "draft.Init" not in names


def test_a_contract_is_closed_and_has_a_commitment() -> None:
    message = kept("05_init")
    contract = message["message"]["contract"]
    contract["order"] = {}
    contract["commitments"] = []
    assert found(message) == [
        ("SCH_SCHEMA_VALIDATION_FAILED", "$.message.contract.commitments"),
        ("SCH_FIELD_NOT_ALLOWED", "$.message.contract.order"),
    ]


def test_the_energy_contract_inside_is_judged_as_in_the_draft() -> None:
    message = kept("05_init")
    attributes = message["message"]["contract"]["contractAttributes"]
    attributes["roles"][0]["roleInputs"]["pricePerKWh"] = -5
    del attributes["@context"]
    places = [path for _, path in found(message)]
    root = "$.message.contract.contractAttributes"
    assert f"{root}.roles[0].roleInputs.pricePerKWh" in places
    assert f"{root}['@context']" in places
