"""The API document holds every function, read and event, and what a node answers fits to it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from adapter.settlement import EVENTS, FUNCTIONS, READS
from tests.fakes.readings import submit_readings
from tests.fakes.web import Web, json_of, open_web


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        yield opened


async def document_of(web: Web) -> dict[str, Any]:
    document: dict[str, Any] = json_of(await web.grid.get("/openapi.json"))
    return document


def checker(document: dict[str, Any], name: str) -> Draft202012Validator:
    """Return what checks a value against a component."""
    components = {"components": document["components"]}
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", **components})


async def test_every_function_and_read_has_a_path_of_its_own(web: Web) -> None:
    document = await document_of(web)
    validate(document)
    for (contract, name), function in FUNCTIONS.items():
        operation = document["paths"][f"/contracts/{contract}/{name}"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        plain, signed = schema["anyOf"]
        assert plain["properties"].keys() == {one.name for one in function.arguments}
        assert signed["properties"]["args"]["properties"] == plain["properties"]
        assert operation["security"]
        assert operation["summary"] == function.summary
    for (contract, name), read in READS.items():
        operation = document["paths"][f"/contracts/{contract}/{name}"]["get"]
        names = {one["name"] for one in operation["parameters"]}
        assert names == {"at_seq", *(one.name for one in read.arguments)}
    ids = [
        operation.get("operationId")
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    assert len(ids) == len(set(ids))


async def test_every_event_has_a_schema_and_the_feed_fits(web: Web) -> None:
    document = await document_of(web)
    assert {f"Event{name}" for name in EVENTS} <= document["components"]["schemas"].keys()
    web.network.clock.move_to("2026-03-02T08:31:00Z")
    await submit_readings(web.network, count=1)
    page = json_of(await web.grid.get("/contracts/events", headers=web.operators["rec"]))
    checker(document, "EventPageModel").validate(page)
    for event in page["events"]:
        checker(document, f"Event{event['name']}").validate(event)
        assert event.keys() <= properties(document, event["name"]).keys()


def properties(document: dict[str, Any], event: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][f"Event{event}"]["properties"]
    return found


async def test_a_receipt_and_a_read_fit_their_schemas(web: Web) -> None:
    document = await document_of(web)
    body = {"to": "bob", "amount": "5.00", "external_reference": "x"}
    headers = web.operators["treasury"] | {"Idempotency-Key": "c-1"}
    receipt = json_of(await web.grid.post("/contracts/token/deposit", json=body, headers=headers))
    checker(document, "CallModel").validate(receipt)
    operation = document["paths"]["/contracts/token/deposit"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    Draft202012Validator(schema).validate(body)
    assert not Draft202012Validator(schema).is_valid(body | {"more": 1})
    answer = await web.grid.get(
        "/contracts/token/balance_of",
        params={"user": "bob", "asset": "USD"},
        headers=web.operators["rec"],
    )
    checker(document, "ReadModel").validate(json_of(answer))


async def test_roots_and_proofs_are_described(web: Web) -> None:
    document = await document_of(web)
    await web.network.run(1)
    web.network.clock.advance(900)
    await web.network.grid.timers.tick()
    page = json_of(await web.grid.get("/contracts/roots", headers=web.operators["rec"]))
    assert page["roots"]
    checker(document, "RootPageModel").validate(page)
    for path in ("/contracts/proofs/{trade_id}", "/contracts/journal", "/contracts/events"):
        assert document["paths"][path]["get"]["responses"]["200"]["content"]
