"""One on_init of our own examples, judged by three programs in turn.

The headline is what a node does with each body: bytes to a document, strictly and with exact
numbers, and the verdict of the schema. openapi-core also gets bytes, but reads them with
`json.loads`: duplicate keys and floats pass. jsonschema gets the decoded message. The time to load
the schema documents is left out for all.

openapi-core drops what stands beside a `$ref` at the root of a body's schema. Our document avoids
that with `allOf`, so that it judges the whole message; what it takes when it looks at the context
only is shown too.
"""

import json
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest

from adapter.protocol import strict_json
from adapter.protocol.rules import check_message
from adapter.protocol.schemas import Schemas
from adapter.store.documents import load_bundle
from bench.harness import Candidate, compared, interleaved

MESSAGE = Path(__file__).parents[1] / "examples" / "p2p_trading" / "06_on_init.json"
ACTION = "on_init"
MICROSECONDS = 1e6


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark."""
    written = MESSAGE.read_bytes()
    raw = strict_json.encode(strict_json.decode(written))
    bundle = load_bundle()
    schemas = Schemas(bundle)
    other = jsonschema.Draft202012Validator(json_schema(bundle, ACTION))
    openapi = OpenAPI.from_dict(bundle)
    partial = OpenAPI.from_dict(with_siblings(bundle, ACTION))
    broken = raw.replace(b'"status":"PENDING"', b'"status":"NONE"')
    assert schemas.check(ACTION, strict_json.decode(broken)) != ()
    assert not other.is_valid(json.loads(broken))
    assert _refuses(openapi, broken)
    assert not _refuses(partial, broken)
    plain, request, ours = json.loads(raw), _request(raw), version("p2ptrade")

    def with_rules() -> None:
        body = strict_json.decode(raw)
        assert schemas.check(ACTION, body) == ()
        check_message(ACTION, body)

    def verdict(text: bytes) -> Callable[[], object]:
        return lambda: schemas.check(ACTION, strict_json.decode(text))

    figures = interleaved(
        [
            Candidate("ours", ours, verdict(raw), 200),
            Candidate("ours, indented", ours, verdict(written), 200),
            Candidate("ours, decoding", ours, lambda: strict_json.decode(raw), 200),
            Candidate("ours with rules", ours, with_rules, 100),
            Candidate("json.loads", platform.python_version(), lambda: json.loads(raw), 200),
            Candidate("jsonschema", version("jsonschema"), lambda: other.validate(plain), 20),
            Candidate(
                "openapi-core",
                version("openapi-core"),
                lambda: openapi.validate_request(request),
                20,
            ),
            Candidate(
                "openapi-core, context only",
                version("openapi-core"),
                lambda: partial.validate_request(request),
                20,
            ),
        ],
        rounds,
    )
    pairs = [
        (f"decode strictly, Decimals, schema verdict, {len(raw)} B", "ours", "openapi-core"),
        (f"the same message indented, {len(written)} B", "ours, indented", "openapi-core"),
        (f"decode and schema, {len(raw)} B", "ours", "jsonschema"),
        (f"decode and schema, {len(raw)} B", "ours", "openapi-core, context only"),
        (f"decode, schema and rules, {len(raw)} B", "ours with rules", "openapi-core"),
        (f"decode alone, {len(raw)} B", "ours, decoding", "json.loads"),
    ]
    cases = [
        {"case": case, **compared(figures[mine], figures[theirs], MICROSECONDS)}
        for case, mine, theirs in pairs
    ]
    return {"name": "validate", "unit": "microseconds", **_headline(cases), "cases": cases}


def _request(raw: bytes) -> MockRequest:
    return MockRequest("https://node.example", "post", f"/bap/receiver/{ACTION}", data=raw)


def _refuses(openapi: OpenAPI, raw: bytes) -> bool:
    try:
        openapi.validate_request(_request(raw))
    except OpenAPIError:
        return True
    return False


def with_siblings(bundle: Mapping[str, Any], action: str) -> dict[str, Any]:
    """Return the document with the `allOf` of an action's body as a `$ref` beside the rest."""
    name = json_schema(bundle, action)["$ref"].rpartition("/")[2]
    schemas = dict(bundle["components"]["schemas"])
    body = dict(schemas[name])
    (part,) = body.pop("allOf")
    schemas[name] = {**part, **body}
    return {**bundle, "components": {**bundle["components"], "schemas": schemas}}


def json_schema(bundle: Mapping[str, Any], action: str) -> dict[str, Any]:
    """Return the schema of an action as JSON Schema with the bundle's components."""
    body = bundle["paths"][f"/bap/receiver/{action}"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    return {**schema, "components": bundle["components"]}


def _headline(cases: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in cases[0].items() if key != "case"}
