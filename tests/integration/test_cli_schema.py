"""`p2ptrade schema`: list, show, lint and bundle."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from adapter.protocol.actions import Action
from adapter.store.documents import API, data_folder, load_documents
from adapter.store.schema_checks import check_documents

EXAMPLES = data_folder("examples")
CONTRACT = "EnergyContractP2PTrade/v1/attributes.yaml"


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Return what the command did."""
    return subprocess.run(
        [sys.executable, "-m", "adapter", "schema", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def references(node: object) -> Iterator[str]:
    """Give every $ref of a document."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.mark.parametrize("dialect", ["draft", "lts"])
def test_the_bundle_is_one_document_with_a_path_per_action(dialect: str) -> None:
    done = run("bundle", "--dialect", dialect)
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["openapi"].startswith("3.1")
    found = {path.rpartition("/")[2] for path in document["paths"]}
    assert found == {action.value for action in Action}
    assert all(reference.startswith("#/components/") for reference in references(document))


def test_an_unknown_dialect_is_wrong_usage() -> None:
    assert run("bundle", "--dialect", "rc").returncode == 2


def test_the_list_names_actions_and_objects() -> None:
    rows = json.loads(run("list", "--json").stdout)
    names = [row["name"] for row in rows]
    assert names[: len(Action)] == [action.value for action in Action]
    assert {"EnergyContractP2PTrade", "EnergyOffer", "Tariff"} <= set(names)
    assert "on_discover" in run("list").stdout


@pytest.mark.parametrize("name", ["init", "EnergyOffer", "Tariff", "EnergyOffer.EnergyOffer"])
def test_a_shown_schema_stands_alone(name: str) -> None:
    schema = json.loads(run("show", name).stdout)
    validator = jsonschema_rs.Draft202012Validator(schema)
    assert not validator.is_valid(7)


def test_an_unknown_schema_is_wrong_usage() -> None:
    assert run("show", "EnergyNothing").returncode == 2


def test_our_documents_have_no_fault() -> None:
    done = run("lint")
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads(run("lint", "--json").stdout)["faults"] == []


def faults(documents: dict[str, Any], examples: Path = EXAMPLES) -> str:
    """Return the faults of changed documents."""
    return "\n".join(map(str, check_documents(documents, examples)))


def copied() -> dict[str, Any]:
    """Return our documents to change."""
    import copy

    return copy.deepcopy(dict(load_documents()))


def test_a_reference_out_of_the_documents_is_a_fault() -> None:
    documents = copied()
    documents[API]["components"]["schemas"]["Context"] = {"$ref": "https://x.example/a.yaml"}
    assert "refers out of the documents: https://x.example/a.yaml" in faults(documents)


def test_a_reference_to_nothing_is_a_fault() -> None:
    documents = copied()
    documents[API]["components"]["schemas"]["Context"] = {"$ref": "#/components/schemas/Nothing"}
    assert "leads nowhere" in faults(documents)


def test_an_unknown_rule_and_a_lost_one_are_faults() -> None:
    documents = copied()
    text = json.dumps(documents[CONTRACT], default=str).replace("P2P_CAP_POSITIVE", "P2P_CAPS")
    documents[CONTRACT] = json.loads(text)
    found = faults(documents)
    assert "x-rule P2P_CAPS is no rule of the catalogue" in found
    assert "no subschema carries x-rule P2P_CAP_POSITIVE" in found


@pytest.mark.parametrize("keyword", ["nullable", "multipleOf"])
def test_a_keyword_that_misleads_is_a_fault(keyword: str) -> None:
    documents = copied()
    documents[API]["components"]["schemas"]["Context"]["properties"]["ttl"][keyword] = 1
    assert f"/ttl: {keyword}" in faults(documents)


def test_what_the_standard_forbids_is_a_fault() -> None:
    documents = copied()
    del documents[API]["info"]
    assert '"info" is a required property' in faults(documents)


def test_a_schema_that_no_example_fits_is_a_fault(tmp_path: Path) -> None:
    documents = copied()
    documents[API]["components"]["schemas"]["Cancel"] = {"type": "object", "not": {}}
    assert "bundle draft#/cancel: no example message fits this schema" in faults(documents)
    shutil.copytree(EXAMPLES / "p2p_trading", tmp_path / "p2p_trading")
    (tmp_path / "p2p_trading" / "00.json").write_text('{"context": {"action": "init"}}')
    (tmp_path / "p2p_trading" / "01.json").write_text("[")
    found = faults(copied(), tmp_path)
    assert "examples/p2p_trading/00.json#: SCH_" in found
    assert "examples/p2p_trading/01.json#: is no message" in found
