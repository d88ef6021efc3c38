"""The reference for people, made from the same document that machines read, with no request to another host."""

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from relay import __version__
from relay.web.reference.examples import event
from relay.web.reference.openapi import TAGS

# 'unsafe-inline' for what the page brings itself; it loads nothing, from anywhere.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


async def show_document(request: Request) -> Response:
    """The OpenAPI document, with this relay's own URL."""
    return JSONResponse(request.app.state.document, headers={"cache-control": "public, max-age=300"})


async def show_page(request: Request) -> Response:
    """The reference page."""
    page = _page(json.dumps(request.app.state.document))
    return HTMLResponse(page, headers={"content-security-policy": POLICY, "cache-control": "public, max-age=300"})


@cache
def _page(document_text: str) -> str:
    document = json.loads(document_text)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((files("relay.web") / "templates" / "docs.html").read_text("utf-8"))
    operations = [
        _operation(document, path, method, told)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]
    return template.render(
        version=__version__,
        description=document["info"]["description"],
        tags=[
            {
                "name": name,
                "description": about,
                "operations": [one for one in operations if one["tag"] == name],
            }
            for name, about in TAGS.items()
        ],
        webhooks=[
            {
                "id": told["post"]["operationId"],
                "name": name,
                "summary": told["post"]["summary"],
                "body": json.dumps(event(name), indent=2, ensure_ascii=False),
            }
            for name, told in document["webhooks"].items()
        ],
    )


def _operation(document: dict[str, Any], path: str, method: str, told: dict[str, Any]) -> dict[str, Any]:
    body = _body_schema(document, told)
    return {
        "id": told["operationId"],
        "tag": told["tags"][0],
        "summary": told["summary"],
        "method": method.upper(),
        "path": path,
        "scope": told.get("x-scope", "no key"),
        "returns": told.get("description", ""),
        "fields": [*_parameters(told.get("parameters", [])), *_fields(body)],
        "curl": _curl(document, path, method, told, body),
        "codes": sorted(told["responses"]),
    }


def _body_schema(document: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    for content in told.get("requestBody", {}).get("content", {}).values():
        schema: dict[str, Any] = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        return schema
    return {}


def _parameters(parameters: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": one["name"],
            "place": one["in"],
            "required": one["required"],
            "type": _type(one["schema"]),
            "about": one.get("description", ""),
        }
        for one in parameters
    ]


def _fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "place": "body",
            "required": name in required,
            "type": _type(told),
            "about": told.get("description", ""),
        }
        for name, told in schema.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _curl(document: dict[str, Any], path: str, method: str, told: dict[str, Any], body: dict[str, Any]) -> str:
    words = ["curl -sS"]
    if method != "get":
        words.append(f"-X {method.upper()}")
    words.append(f'"{document["servers"][0]["url"]}{path}"')
    if "x-scope" in told:
        words.append('-H "Authorization: Bearer $KEY"')
    if body:
        form = next(iter(told["requestBody"]["content"]))
        words += [
            f"-H 'Content-Type: {form}'",
            f"-d '{json.dumps(body['examples'][0], ensure_ascii=False)}'",
        ]
    return " \\\n  ".join(words)
