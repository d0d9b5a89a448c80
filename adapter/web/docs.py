"""`/openapi.json` completed, and `/docs`: the same as a page that loads nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from jinja2 import Environment

from adapter.web.contract_docs import add_contracts

TOKEN, SIGNATURE = "bearerToken", "participantSignature"
NEEDED: Mapping[str, list[dict[str, list[str]]]] = {
    "callers": [{TOKEN: []}],
    "trades": [{TOKEN: []}],
    "offers": [{TOKEN: []}],
    "contracts": [{TOKEN: []}, {SIGNATURE: []}],
}
"""What the paths of a tag demand."""
OPEN_PATHS = frozenset({"/contracts"})
"""Paths of those tags that demand nothing."""
LOOKUP_PATHS = ("/lookup", "/registry/lookup")

_SCHEMES = {
    TOKEN: {"type": "http", "scheme": "bearer", "description": "A token of the node's own file."},
    SIGNATURE: {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "Beckn signature of a participant over the body; see `p2ptrade sign`.",
    },
}
_LOOKUP_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "description": "At least one; everything given must match.",
                "properties": {
                    name: {"type": "string"}
                    for name in ("subscriber_id", "key_id", "type", "domain")
                },
            }
        }
    },
}
_FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem}code,pre{font:14px/1.4 ui-monospace,monospace}
details{border:1px solid #8886;border-radius:6px;margin:.6rem 0;padding:.4rem .8rem}
summary{cursor:pointer}pre{overflow:auto;background:#8881;padding:.8rem;border-radius:6px}
.m{display:inline-block;min-width:4.5rem;font-weight:700}:root{color-scheme:light dark}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title><style>{{ style | safe }}</style></head>
<body>
<h1>{{ title }}</h1>
<p>{{ summary }}. Everything here as one document: <a href="openapi.json">openapi.json</a>.</p>
{% for tag, operations in tags %}
<h2>{{ tag }}</h2>
{% for one in operations %}
<details><summary><span class="m">{{ one.method }}</span> <code>{{ one.path }}</code>
 &ndash; {{ one.title }}</summary>
{% if one.security %}<p>Needs: {{ one.security }}</p>{% endif %}
{% if one.parameters %}<ul>{% for name, text in one.parameters %}
<li><code>{{ name }}</code> {{ text }}</li>{% endfor %}</ul>{% endif %}
{% if one.body %}<p>Body:</p><pre>{{ one.body }}</pre>{% endif %}
<p>Answers: {{ one.answers }}</p>
</details>
{% endfor %}
{% endfor %}
</body></html>
""")


def add_docs(app: FastAPI) -> None:
    """Complete the application's OpenAPI document and add the page `/docs`."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """Show what can be called, and with what."""
        return Response(_page(document()), headers=_HEADERS, media_type="text/html")


def _completed(app: FastAPI) -> dict[str, Any]:
    """Return the framework's document with our schemes and without its own kind of refusal."""
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SCHEMES
    add_contracts(document)
    for path, _, operation in _operations(document):
        answer = operation["responses"].get("422", {})
        if "HTTPValidationError" in str(answer):
            del operation["responses"]["422"]
        tag = (operation.get("tags") or [""])[0]
        if tag in NEEDED and path not in OPEN_PATHS:
            operation["security"] = NEEDED[tag]
        if path in LOOKUP_PATHS:
            operation.setdefault("requestBody", _LOOKUP_BODY)
    for name in _FRAMEWORK_SCHEMAS:
        components.get("schemas", {}).pop(name, None)
    return document


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _page(document: Mapping[str, Any]) -> str:
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, method, operation in _operations(document):
        shown = _shown(path, method, operation)
        tags.setdefault((operation.get("tags") or ["other"])[0], []).append(shown)
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    return _PAGE.render(
        title=title, summary=info.get("summary", ""), tags=tags.items(), style=_STYLE
    )


def _shown(path: str, method: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    schemes = [name for needed in operation.get("security", ()) for name in needed]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    properties = content.get("schema", {}).get("properties", {})
    required = content.get("schema", {}).get("required", ())
    lines = [
        f"{name}{'' if name in required else '?'}: {_type(schema)}"
        for name, schema in properties.items()
    ]
    return {
        "path": path,
        "method": method.upper(),
        "title": operation.get("description") or operation.get("summary", ""),
        "security": " or ".join(schemes),
        "parameters": [
            (one["name"], one.get("description", "")) for one in operation.get("parameters", ())
        ],
        "body": "\n".join(lines) or content.get("schema", {}).get("description", ""),
        "answers": ", ".join(operation["responses"]),
    }


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    return str(schema.get("format") or schema.get("type", "any"))
