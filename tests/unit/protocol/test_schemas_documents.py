"""The schema documents: valid OpenAPI 3.1, self-contained, without the known traps."""

import json
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openapi_core
import pytest
from jsonschema import Draft202012Validator
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest
from openapi_spec_validator import validate

from adapter.formula.grammar import MAX_FLOWS
from adapter.protocol.actions import Action
from adapter.protocol.role_inputs import ENVELOPE_TYPES, ROLE_INPUTS
from adapter.protocol.rules import ALL_RULES
from adapter.protocol.schema_errors import DATE_TIME_PATTERN, RULE_TEXTS
from adapter.protocol.schemas import Schemas
from adapter.store import documents
from adapter.store.documents import (
    KEPT,
    DocumentError,
    bundle,
    data_folder,
    load_bundle,
    load_documents,
)
from adapter.store.yaml_exact import load_yaml
from tests.make_bundle import kept

DOCUMENTS = load_documents()
BUNDLE = load_bundle()
P2P = "EnergyContractP2PTrade"


def mappings(node: object) -> Iterator[dict[str, Any]]:
    """Give every mapping in a document."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from mappings(value)


def schema(name: str) -> dict[str, Any]:
    """Return a schema of the bundle."""
    found: dict[str, Any] = BUNDLE["components"]["schemas"][name]
    return found


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_document_is_openapi_3_1_1(name: str) -> None:
    assert DOCUMENTS[name]["openapi"] == "3.1.1"


def test_the_bundle_is_a_valid_openapi_document() -> None:
    validate(dict(BUNDLE))


def test_openapi_core_loads_the_bundle() -> None:
    loaded = openapi_core.OpenAPI.from_dict(dict(BUNDLE))
    assert loaded.spec["info"]["title"] == BUNDLE["info"]["title"]


def test_every_schema_is_a_valid_json_schema() -> None:
    for name, found in BUNDLE["components"]["schemas"].items():
        Draft202012Validator.check_schema(found)
        assert found is not None, name


def test_every_action_has_one_path_and_a_schema() -> None:
    assert set(Schemas(BUNDLE).actions) == {action.value for action in Action}
    for action in Action:
        side = "bap" if action.is_callback else "bpp"
        operation = BUNDLE["paths"][f"/{side}/receiver/{action}"]["post"]
        assert operation["operationId"] == action


@pytest.mark.parametrize("keyword", ["nullable", "multipleOf", "discriminator", "oneOf", "$id"])
def test_a_keyword_that_is_a_trap_is_not_used(keyword: str) -> None:
    for node in mappings(BUNDLE["components"]):
        assert keyword not in node


def test_closed_objects_are_never_combined() -> None:
    """`allOf` of closed objects admits nothing; a closed object stands alone or is refined."""
    for node in mappings(BUNDLE["components"]):
        for part in node.get("allOf", ()):
            assert "additionalProperties" not in part


def test_no_reference_leaves_the_bundle() -> None:
    references = [node["$ref"] for node in mappings(BUNDLE) if isinstance(node.get("$ref"), str)]
    assert references
    assert all(reference.startswith("#/components/") for reference in references)


def test_numbers_in_documents_are_exact() -> None:
    assert not [v for n in mappings(BUNDLE) for v in n.values() if type(v).__name__ == "float"]


def test_the_loader_makes_decimals() -> None:
    assert load_yaml(b"a: 0.1\nb: 1\n") == {"a": Decimal("0.1"), "b": 1}


def test_the_kept_bundle_is_that_of_the_documents() -> None:
    raw = (data_folder("schema") / KEPT).read_bytes()
    assert json.loads(raw, parse_float=Decimal) == kept(), "run: python -m tests.make_bundle"
    assert bundle(DOCUMENTS) == BUNDLE


def test_a_kept_bundle_of_other_documents_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data_folder("schema"), tmp_path / "schema")
    monkeypatch.setattr(documents, "_PACKAGE", tmp_path / "adapter")
    assert documents._kept_bundle() is not None
    changed = tmp_path / "schema" / documents.API
    changed.write_text(changed.read_text() + "# changed\n")
    assert documents._kept_bundle() is None


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("SELLER", "Seller"),
        ("BUYER", "Buyer"),
        ("GRID_OPERATOR", "GridOperator"),
        ("MARKET_CLEARING_AGENT", "MarketClearingAgent"),
        ("PROSUMER", "Prosumer"),
    ],
)
def test_code_and_schema_name_the_same_inputs(role: str, name: str) -> None:
    declared = schema(f"{P2P}.{name}")["properties"]["roleInputs"]["properties"]
    assert ROLE_INPUTS[role] == declared.keys() - {"@context", "@type"}


def test_code_and_schema_know_the_same_envelopes() -> None:
    declared = schema(f"{P2P}.IsEnvelope")["properties"]["type"]["enum"]
    assert set(declared) == ENVELOPE_TYPES


def test_every_rule_of_the_schema_has_a_text_and_no_function() -> None:
    used = {node["x-rule"] for node in mappings(BUNDLE) if isinstance(node.get("x-rule"), str)}
    assert used == set(RULE_TEXTS)
    assert used.isdisjoint(rule.code for rule in ALL_RULES)


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.com/x.yaml#/components/schemas/X",
        "/etc/x.yaml#/components/schemas/X",
        "#/components/schemas/Nothing",
        "../../Nowhere/v1/attributes.yaml#/components/schemas/X",
        "other.yaml#/definitions/X",
    ],
)
def test_a_reference_that_leads_nowhere_or_out_is_refused(reference: str) -> None:
    api: dict[str, Any] = {
        "openapi": "3.1.1",
        "paths": {},
        "components": {"schemas": {"A": {"$ref": reference}}},
    }
    with pytest.raises(DocumentError):
        bundle({documents.API: api})


def test_the_folder_comes_from_the_package_or_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (documents.data_folder("schema") / documents.API).is_file()
    package = tmp_path / "adapter"
    (package / "_data" / "schema").mkdir(parents=True)
    monkeypatch.setattr(documents, "_PACKAGE", package)
    assert documents.data_folder("schema") == package / "_data" / "schema"
    with pytest.raises(DocumentError):
        documents.data_folder("examples")


def test_code_and_schema_allow_the_same_number_of_flows() -> None:
    assert schema("EnergyContract.RevenueFlows")["properties"]["flows"]["maxItems"] == MAX_FLOWS


def test_the_text_for_date_times_knows_their_pattern() -> None:
    assert schema("EnergyContract.DateTime")["pattern"] == DATE_TIME_PATTERN


def test_openapi_core_judges_the_whole_message() -> None:
    # It drops what stands beside a `$ref` at the root of a body's schema.
    openapi = openapi_core.OpenAPI.from_dict(dict(BUNDLE))
    for path in BUNDLE["paths"]:
        action = path.rpartition("/")[2]
        body = json.dumps({"context": {"action": action}, "message": {}}).encode()
        request = MockRequest("https://node.example", "post", path, data=body)
        with pytest.raises(OpenAPIError):
            openapi.validate_request(request)
