"""The OpenAPI 3.1 document, made from the route table and the shapes, so that it cannot say anything else."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from relay import __version__
from relay.domain.subscription import JOB_EVENTS, OPERATIONAL_EVENTS, TEST_EVENT
from relay.web.calls import OpenRoute, Operation
from relay.web.choices import EVENT_DESCRIPTIONS
from relay.web.problems import MEDIA_TYPE, TITLES
from relay.web.reference.examples import ANSWERS, REQUESTS, event, problem
from relay.web.reference.notices import CredentialNotice, ExhaustedDelivery, SubscriptionNotice, TestNotice
from relay.web.reference.shapes import EndedJob, Problem
from relay.web.schemas import Nothing

REFERENCE = "#/components/schemas/{model}"
TAGS = {
    "jobs": "Providers' jobs that are watched until they end.",
    "subscriptions": "Who is told of what, and where.",
    "events": "What happened, as it was committed.",
    "deliveries": "Events on their way, with every attempt.",
    "credentials": "The accounts that looks are made with.",
    "providers": "What there is to choose from.",
    "keys": "Who may call this API.",
    "relay": "The relay itself.",
}
OF_EVENTS: dict[str, type[BaseModel]] = {
    **dict.fromkeys(JOB_EVENTS, EndedJob),
    TEST_EVENT: TestNotice,
    "credential.paused": CredentialNotice,
    "credential.resumed": CredentialNotice,
    "subscription.disabled": SubscriptionNotice,
    "delivery.exhausted": ExhaustedDelivery,
}
FAMILY = "metadata"  # filters by `metadata.<key>`
PARAMETER = re.compile(r"\{(\w+)\}")
HEADERS = {
    "x-request-id": "The id that the request came with or was given; the relay's logs have it.",
    "ratelimit-limit": "How many requests of this key may come at once. Absent, as the next two, where nothing limits.",
    "ratelimit-remaining": "How many are left at the moment.",
    "ratelimit-reset": "Seconds until one more is.",
    "retry-after": "Seconds to wait before the request is made again; on 429, 503 and 409 `idempotency_in_flight`.",
    "etag": "The state of the object, for If-None-Match and If-Match.",
    "idempotent-replayed": "`true` on the saved answer to an earlier request with the same Idempotency-Key.",
    "location": "Where to go, or where the new object is.",
}
COMMON_HEADERS = ("x-request-id", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
ALWAYS = {400: "query or header with faults", 401: "no valid key", 403: "a scope is missing", 429: "too many requests"}
DESCRIPTION = """
The relay watches jobs at providers that only answer when asked, and calls back once, signed, when a job has ended.
Errors are problem details (RFC 9457) that name every fault. Lists are pages, newest first. `Idempotency-Key` works on
every POST. Webhooks are signed as Standard Webhooks 1.0.
"""


def document(operations: Iterable[Operation], open_routes: Iterable[OpenRoute], server: str) -> dict[str, Any]:
    """The document for these routes, served at `server`."""
    operations = tuple(operations)
    models = _models(operations)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for route in open_routes:
        paths.setdefault(route.path, {})["get"] = _open_operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "relay",
            "version": __version__,
            "summary": "A webhook for every provider that only lets you poll.",
            "description": DESCRIPTION.strip(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "webhooks": {name: _webhook(name) for name in (*JOB_EVENTS, TEST_EVENT, *OPERATIONAL_EVENTS)},
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, `rl_…`."}},
            "schemas": {
                **{_name(name): _with_example(_name(name), told) for name, told in schemas["$defs"].items()},
                **{f"{model.__name__}Patch": _merge_patch(model) for model in _patched(operations)},
            },
            "headers": {
                name: {"description": text, "schema": {"type": "string"}} for name, text in sorted(HEADERS.items())
            },
            "responses": {"Problem": _problem("What went wrong, every fault named.")},
        },
    }


def _name(generated: str) -> str:
    """pydantic writes a generic model's name its own way, whatever the model says of itself."""
    return re.sub(r"^Page_(\w+)_$", r"\1Page", generated)


def _reference(model: type[BaseModel]) -> str:
    return REFERENCE.format(model=re.sub(r"^Page\[(\w+)\]$", r"\1Page", model.__name__))


def _with_example(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    example = REQUESTS.get(name) or ANSWERS.get(name)
    if example is None and name.endswith("Page"):
        example = {"data": [ANSWERS[name.removesuffix("Page")]], "next_cursor": "ImpvYl8wMWtj…", "prev_cursor": None}
    titled = {**schema, "title": name}
    return {**titled, "examples": [example]} if example is not None else titled


def _models(operations: Iterable[Operation]) -> list[type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for operation in operations:
        for model in (None if operation.method == "PATCH" else operation.body, operation.shows):
            if model is not None and model is not Nothing:
                found[model.__name__] = model
    shapes: tuple[type[BaseModel], ...] = (Problem, *OF_EVENTS.values())
    for shape in shapes:
        found[shape.__name__] = shape
    return [found[name] for name in sorted(found)]


def _patched(operations: Iterable[Operation]) -> list[type[BaseModel]]:
    return [one.body for one in operations if one.method == "PATCH" and one.body is not None]


def _operation(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [_tag(operation.path)],
        "summary": operation.summary,
        "description": " ".join(
            [f"Needs the scope `{operation.scope}`. Gives {operation.returns}.", *_families(operation)]
        ),
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation), *_headers(operation)],
        "responses": _responses(operation),
        "security": [{"key": [operation.scope]}],
        "x-scope": operation.scope,
    }
    if operation.body is not None and operation.body is not Nothing:
        form = "application/merge-patch+json" if operation.method == "PATCH" else "application/json"
        name = operation.body.__name__ + ("Patch" if operation.method == "PATCH" else "")
        schema = {"$ref": REFERENCE.format(model=name)}
        told["requestBody"] = {"required": True, "content": {form: {"schema": schema}}}
    return told


def _merge_patch(model: type[BaseModel]) -> dict[str, Any]:
    """Any of the model's fields; null sets one back, where the model allows that it is absent."""
    told = model.model_json_schema(ref_template=REFERENCE)
    about = f"A merge patch (RFC 7396) of {model.__name__}."
    return {
        "type": "object",
        "title": f"{model.__name__}Patch",
        "description": about,
        "properties": told["properties"],
        "additionalProperties": False,
        "examples": [REQUESTS[model.__name__]],
    }


def _responses(operation: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {"description": _sentence(operation.returns)}
    if operation.shows is not None:
        good["content"] = {"application/json": {"schema": {"$ref": _reference(operation.shows)}}}
    good["headers"] = _header_references(*_good_headers(operation))
    codes = [operation.status_code, *operation.also]
    responses = {str(code): good for code in codes}
    if operation.method == "GET" and operation.status_code == 200:
        about = "Nothing has changed since the state that If-None-Match names."
        responses["304"] = {"description": about, "headers": _header_references("etag")}
    problems = dict(ALWAYS)
    if PARAMETER.search(operation.path):
        problems[404] = "no such object"
    if operation.method in ("POST", "PATCH", "DELETE"):
        problems[409] = "the object's state forbids it"
    if operation.body is not None:
        problems |= {408: "too slow", 413: "too large", 415: "not JSON", 422: "faults in the body"}
    if operation.method in ("PATCH", "DELETE"):
        problems[412] = "If-Match names another state"
    problems |= {500: "the relay's own fault", 503: "a part of the relay is away", **operation.problems}
    for code in sorted(problems):
        responses.setdefault(str(code), {"$ref": "#/components/responses/Problem"})
    return responses


def _good_headers(operation: Operation) -> list[str]:
    names = []
    if operation.method == "GET" and operation.status_code == 200:
        names.append("etag")
    if operation.method == "POST":
        names.append("idempotent-replayed")
    if operation.status_code in (201, 302):
        names.append("location")
    return names


def _header_references(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*COMMON_HEADERS, *names)}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in PARAMETER.findall(path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    schema = operation.query.model_json_schema(ref_template=REFERENCE)
    parameters = []
    for name, told in schema.get("properties", {}).items():
        if name == FAMILY:
            continue  # OpenAPI cannot name a family of parameters
        # A query cannot say null: what may be absent is None in the model alone.
        kinds = [one for one in told.get("anyOf", []) if one != {"type": "null"}]
        said = told if len(kinds) != 1 else {"title": told["title"], **kinds[0]}
        parameters.append({"name": name, "in": "query", "required": name in schema.get("required", []), "schema": said})
    return parameters


def _families(operation: Operation) -> list[str]:
    if FAMILY not in operation.query.model_fields:
        return []
    return ["`metadata.<key>=<value>`, any number of times, narrows it to those whose metadata says so."]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if operation.method != "POST":
        name = "If-None-Match" if operation.method == "GET" else "If-Match"
        about = "Entity tags, as the `etag` header of an answer gave them."
        tags = {"type": "string"}
        return [{"name": name, "in": "header", "required": False, "schema": tags, "description": about}]
    text = {"type": "string", "minLength": 1, "maxLength": 255}
    about = "The same key with the same body gives the first answer again, for as long as it is kept."
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "schema": text, "description": about}]


def _open_operation(route: OpenRoute) -> dict[str, Any]:
    return {
        "operationId": route.name,
        "tags": ["relay"],
        "summary": route.summary,
        "security": [],
        "parameters": _path_parameters(route.path),
        "responses": {
            **{str(code): {"description": text} for code, text in route.answers.items()},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _webhook(event_type: str) -> dict[str, Any]:
    data = {"$ref": _reference(OF_EVENTS[event_type])}
    schema = {
        "type": "object",
        "required": ["id", "type", "timestamp", "data"],
        "properties": {
            "id": {"type": "string"},
            "type": {"const": event_type},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": data,
        },
    }
    headers = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": text}
        for name, text in {
            "webhook-id": "The event's id, the same at every attempt.",
            "webhook-timestamp": "Seconds since the epoch, of this attempt.",
            "webhook-signature": "`v1,` and base64 HMAC-SHA256 of `{id}.{timestamp}.{body}`; a list during rotation.",
        }.items()
    ]
    return {
        "post": {
            "operationId": "on_" + event_type.replace(".", "_"),
            "summary": EVENT_DESCRIPTIONS[event_type],
            "parameters": headers,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": schema, "examples": {event_type: {"value": event(event_type)}}}
                },
            },
            "responses": {
                "2XX": {"description": "Acknowledged."},
                "410": {"description": "Never call this URL again."},
            },
        }
    }


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": _reference(Problem)}
    codes = ", ".join(f"`{code}`" for code in sorted(TITLES))
    examples = {code: {"summary": title, "value": problem(code)} for code, title in sorted(TITLES.items())}
    return {
        "description": f"{description} Codes: {codes}.",
        "headers": _header_references("retry-after"),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }


def _tag(path: str) -> str:
    noun = path.split("/")[2]
    return noun if noun in TAGS else "events" if noun == "event-types" else "relay"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
