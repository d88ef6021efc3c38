"""The reference for people, made from the same document that machines read, with no request to another host."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from relay import __version__
from relay.web.reference.answers import codes_told
from relay.web.reference.components import PATH_PARAMETER, target
from relay.web.reference.examples import ANSWERS, event

# 'unsafe-inline' for what the page brings itself; it loads nothing, from anywhere.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)

# What stands in the commands for each parameter of a path, by the path before it, and a value that shows what it is.
VARIABLES: dict[str, tuple[str, str]] = {
    "/v1/jobs/": ("JOB", ANSWERS["Job"]["id"]),
    "/v1/subscriptions/": ("SUBSCRIPTION", ANSWERS["Subscription"]["id"]),
    "/v1/events/": ("EVENT", ANSWERS["Event"]["id"]),
    "/v1/deliveries/": ("DELIVERY", ANSWERS["Delivery"]["id"]),
    "/v1/credentials/": ("CREDENTIAL", ANSWERS["Credential"]["id"]),
    "/v1/keys/": ("KEY_ID", ANSWERS["Key"]["id"]),
    "/v1/providers/": ("PROVIDER", ANSWERS["Provider"]["name"]),
    "/r/": ("TOKEN", "what follows /r/ in the result_url of a job"),
    "/problems/": ("CODE", "invalid_request"),
}

Told = dict[str, Any]


class Piece(NamedTuple):
    """A part of a type's name; `shape` is what it leads to, empty for a plain word."""

    text: str
    shape: str = ""


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
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["prose"] = _prose
    template = environment.from_string((files("relay.web") / "templates" / "docs.html").read_text("utf-8"))
    operations = [
        _operation(document, path, method, told)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]
    return template.render(
        version=__version__,
        description=document["info"]["description"].split("\n\n"),
        variables=_variables(document),
        headers=[
            {"name": name, "about": told["description"]} for name, told in document["components"]["headers"].items()
        ],
        tags=[
            {**tag, "operations": [one for one in operations if one["tag"] == tag["name"]]} for tag in document["tags"]
        ],
        webhooks=[_webhook(document, name, told["post"]) for name, told in document["webhooks"].items()],
        shapes=[_shape(name, told) for name, told in sorted(document["components"]["schemas"].items())],
    )


def _prose(text: str) -> Markup:
    """The text with what stands in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  escaped just before


def _operation(document: Told, path: str, method: str, told: Told) -> Told:
    form, body = _body(document, told)
    return {
        "id": told["operationId"],
        "tag": told["tags"][0],
        "summary": told["summary"],
        "method": method.upper(),
        "path": path,
        "scope": told.get("x-scope"),
        "about": told.get("description", ""),
        "fields": [*_parameters(document, told.get("parameters", [])), *_fields(body, "body")],
        "form": form,
        "curl": _curl(path, method, told, form, body),
        "answers": list(_answers(document, told)),
        "problems": list(_problems(document, told)),
    }


def _body(document: Told, told: Told) -> tuple[str, Told]:
    for form, content in told.get("requestBody", {}).get("content", {}).items():
        schema: Told = document["components"]["schemas"][target(content["schema"])]
        return form, schema
    return "", {}


def _answers(document: Told, told: Told) -> Iterator[Told]:
    """The good answers, those that differ in nothing but their status together."""
    by_content: dict[str, Told] = {}
    for status, response in told["responses"].items():
        if codes_told(document, response):
            continue
        known = _resolved(document, "responses", response)
        one = by_content.setdefault(json.dumps(known), {"statuses": [], "response": known})
        one["statuses"].append(status)
    for one in by_content.values():
        content = one["response"].get("content", {})
        shape = next((target(said["schema"]) for said in content.values() if target(said["schema"])), "")
        yield {
            "statuses": one["statuses"],
            "about": one["response"]["description"],
            "forms": [form for form in content if form != "application/json"],
            "headers": list(one["response"].get("headers", {})),
            "shape": _shape(shape, document["components"]["schemas"][shape]) if shape else None,
        }


def _problems(document: Told, told: Told) -> Iterator[Told]:
    for status, response in sorted(told["responses"].items()):
        codes = codes_told(document, response)
        if codes and status != "default":
            has_pause = "retry-after" in _resolved(document, "responses", response)["headers"]
            phrase = HTTPStatus(int(status)).phrase
            yield {"status": status, "phrase": phrase, "codes": codes, "has_pause": has_pause}


def _resolved(document: Told, kind: str, told: Told) -> Told:
    found: Told = document["components"][kind][target(told)] if "$ref" in told else told
    return found


def _parameters(document: Told, parameters: Iterable[Told]) -> list[Told]:
    return [
        {
            "name": "metadata.<key>" if one.get("explode") else one["name"],
            "place": one["in"],
            "required": one.get("required", False),
            "optional": False,
            "type": [Piece("string")] if one.get("explode") else _type(one["schema"]),
            "about": one.get("description", ""),
        }
        for one in (_resolved(document, "parameters", told) for told in parameters)
    ]


def _fields(schema: Told, place: str = "") -> list[Told]:
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "place": place,
            # Of an answer's fields all are there; what is worth a mark is the few that need not be.
            "required": place == "body" and name in required,
            "optional": not place and name not in required,
            "type": _type(told),
            "about": told.get("description", ""),
        }
        for name, told in schema.get("properties", {}).items()
    ]


def _shape(name: str, schema: Told) -> Told:
    return {
        "name": name,
        "about": schema.get("description", ""),
        "fields": _fields(schema),
        "type": [] if "properties" in schema else _type(schema),
        "example": json.dumps(schema["examples"][0], indent=2, ensure_ascii=False) if "examples" in schema else "",
    }


def _webhook(document: Told, name: str, told: Told) -> Told:
    content = told["requestBody"]["content"]["application/json"]
    return {
        "id": told["operationId"],
        "name": name,
        "summary": told["summary"],
        "headers": _parameters(document, told["parameters"]),
        "fields": _fields(content["schema"]),
        "body": json.dumps(event(name), indent=2, ensure_ascii=False),
    }


def _type(schema: Told) -> list[Piece]:
    if name := target(schema):
        return [Piece(name, name)]
    if "const" in schema:
        return [Piece(json.dumps(schema["const"]))]
    if "enum" in schema:
        return [Piece(" | ".join(map(json.dumps, schema["enum"])))]
    for choices in (schema.get("anyOf"), schema.get("oneOf")):
        if choices:
            return _joined([_type(one) for one in choices])
    kind = schema.get("type", "any")
    if kind == "array":
        return [Piece("list of "), *_type(schema.get("items", {}))]
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return [Piece("object of "), *_type(schema["additionalProperties"])]
    words = " | ".join(kind if isinstance(kind, list) else [kind])
    return [Piece(words + _bounds(schema))]


def _joined(types: list[list[Piece]]) -> list[Piece]:
    pieces = types[0]
    for one in types[1:]:
        pieces = [*pieces, Piece(" | "), *one]
    return pieces


def _bounds(schema: Told) -> str:
    """What else is said of a value, in brackets: its form, the bounds of its length or of itself, its default."""
    told = [schema["format"]] if "format" in schema else []
    for lowest, highest, unit in (
        ("minimum", "maximum", ""),
        ("exclusiveMinimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
    ):
        if highest in schema and (lowest in schema or unit):
            prefix = "above " if lowest.startswith("ex") else ""
            told.append(f"{prefix}{schema.get(lowest, 0)} to {schema[highest]}{unit}")
    if "default" in schema:
        told.append(f"default {json.dumps(schema['default'])}")
    return f" ({', '.join(told)})" if told else ""


def _variables(document: Told) -> str:
    lines = [f"RELAY={shlex.quote(document['servers'][0]['url'])}", "KEY='rl_…'"]
    lines += [f"{name}={shlex.quote(value)}" for name, value in VARIABLES.values()]
    return "\n".join(lines)


def _curl(path: str, method: str, told: Told, form: str, body: Told) -> str:
    address = PATH_PARAMETER.sub(lambda found: f"${VARIABLES[path[: found.start()]][0]}", path)
    words = ["curl -sS" if "302" not in told["responses"] else "curl -sS -i"]
    if method != "get":
        words.append(f"-X {method.upper()}")
    words.append(f'"$RELAY{address}"')
    if "x-scope" in told:
        words.append('-H "Authorization: Bearer $KEY"')
    if body:
        words += [
            f"-H 'Content-Type: {form}'",
            f"-d {shlex.quote(json.dumps(body['examples'][0], ensure_ascii=False))}",
        ]
    return " \\\n  ".join(words)
