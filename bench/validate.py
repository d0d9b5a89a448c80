"""One on_init of our own examples: strict decoding and schema, against two other engines.

Ours decodes bytes with exact numbers and lists every error; the baselines get the decoded message.
The document-loading time of all three is left out.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest

from adapter.protocol import strict_json
from adapter.protocol.rules import check_message
from adapter.protocol.schemas import Schemas
from adapter.store.documents import load_bundle
from bench.harness import Candidate, compared, interleaved

MESSAGE = Path(__file__).parents[1] / "examples" / "p2p_trading" / "06_on_init.json"
MICROSECONDS = 1e6


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark."""
    raw = strict_json.encode(strict_json.decode(MESSAGE.read_bytes()))
    bundle = load_bundle()
    schemas = Schemas(bundle)
    plain = json.loads(raw)
    other = jsonschema.Draft202012Validator(json_schema(bundle, "on_init"))
    openapi = OpenAPI.from_dict(bundle)
    request = MockRequest("https://node.example", "post", "/bap/receiver/on_init", data=raw)

    def ours() -> None:
        assert schemas.check("on_init", strict_json.decode(raw)) == ()

    def ours_with_rules() -> None:
        body = strict_json.decode(raw)
        assert schemas.check("on_init", body) == ()
        check_message("on_init", body)

    figures = interleaved(
        [
            Candidate("ours", version("p2ptrade"), ours, 200),
            Candidate("ours with rules", version("p2ptrade"), ours_with_rules, 100),
            Candidate("jsonschema", version("jsonschema"), lambda: other.validate(plain), 20),
            Candidate(
                "openapi-core",
                version("openapi-core"),
                lambda: openapi.validate_request(request),
                20,
            ),
        ],
        rounds,
    )
    pairs = [
        (f"decode and schema, {len(raw)} B", "ours", "openapi-core"),
        (f"decode and schema, {len(raw)} B", "ours", "jsonschema"),
        (f"decode, schema and rules, {len(raw)} B", "ours with rules", "openapi-core"),
    ]
    cases = [
        {"case": case, **compared(figures[mine], figures[theirs], MICROSECONDS)}
        for case, mine, theirs in pairs
    ]
    return {"name": "validate", "unit": "microseconds", **_headline(cases), "cases": cases}


def json_schema(bundle: Mapping[str, Any], action: str) -> dict[str, Any]:
    """Return the schema of an action as JSON Schema with the bundle's components."""
    body = bundle["paths"][f"/bap/receiver/{action}"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    return {**schema, "components": bundle["components"]}


def _headline(cases: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in cases[0].items() if key != "case"}
