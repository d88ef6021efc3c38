"""The OpenAPI 3.1 document, made from the route table and the shapes, so that it cannot say anything else."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from relay import __version__
from relay.domain.ids import Prefix
from relay.domain.subscription import JOB_EVENTS, OPERATIONAL_EVENTS, TEST_EVENT
from relay.web.calls import OpenRoute, Operation
from relay.web.choices import EVENT_DESCRIPTIONS
from relay.web.reference.answers import header_components, open_responses_of, response_components, responses_of
from relay.web.reference.components import (
    PATH_PARAMETER,
    REFERENCE,
    plain,
    reference_to,
    schema_components,
)
from relay.web.reference.examples import event
from relay.web.reference.fields import FIELDS
from relay.web.reference.notices import CredentialNotice, ExhaustedDelivery, SubscriptionNotice, TestNotice
from relay.web.reference.shapes import EndedJob
from relay.web.schemas import IDENTIFIER, Nothing, Query

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
DESCRIPTION = """
The relay watches jobs at providers that only answer when asked, and calls back once, signed, when a job has ended.
Errors are problem details (RFC 9457) that name every fault. Lists are pages, newest first. `Idempotency-Key` works on
every POST. Webhooks are signed as Standard Webhooks 1.0.

A key may do what its scopes say, and each operation names the one that it needs. `admin` has every scope; no other one
has another in it, so that a key that is to write and to read has `read` as well.
"""
PREFIXES: dict[str, Prefix] = {  # of the ids in a path, by what stands before them
    "jobs": "job",
    "subscriptions": "sub",
    "events": "evt",
    "deliveries": "dlv",
    "credentials": "crd",
    "keys": "key",
}
HEADER_PARAMETERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
        "description": "The same key with the same body gives the first answer again. It belongs to the API key that "
        "used it, and its answer is kept for 24 hours.",
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "schema": {"type": "string"},
        "description": "Entity tags, as the `etag` header of an answer gave them: 304 while the answer is the same.",
    },
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "schema": {"type": "string"},
        "description": "Entity tags, as the `etag` header of an answer gave them: 412 when it has changed since.",
    },
    "webhook-id": {
        "name": "webhook-id",
        "in": "header",
        "required": True,
        "schema": {"type": "string"},
        "description": "The event's id, the same at every attempt.",
    },
    "webhook-timestamp": {
        "name": "webhook-timestamp",
        "in": "header",
        "required": True,
        "schema": {"type": "string"},
        "description": "Seconds since the epoch, of this attempt.",
    },
    "webhook-signature": {
        "name": "webhook-signature",
        "in": "header",
        "required": True,
        "schema": {"type": "string"},
        "description": "`v1,` and base64 HMAC-SHA256 of `{id}.{timestamp}.{body}`; a list during rotation.",
    },
}


def document(operations: Iterable[Operation], open_routes: Iterable[OpenRoute], server: str) -> dict[str, Any]:
    """The document for these routes, served at `server`."""
    operations, open_routes = tuple(operations), tuple(open_routes)
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
            "schemas": schema_components(operations, open_routes, OF_EVENTS.values()),
            "parameters": HEADER_PARAMETERS,
            "headers": header_components(),
            "responses": response_components(),
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [_tag(operation.path)],
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.scope}`. Gives {operation.returns}.",
        "parameters": [
            *_path_parameters(operation.path),
            *_query_parameters(operation.query),
            *_header_parameters(*_header_names(operation)),
        ],
        "responses": responses_of(operation),
        "security": [{"key": [operation.scope]}],
        "x-scope": operation.scope,
    }
    if operation.body is not None and operation.body is not Nothing:
        form = "application/merge-patch+json" if operation.method == "PATCH" else "application/json"
        name = operation.body.__name__ + ("Patch" if operation.method == "PATCH" else "")
        schema = {"$ref": REFERENCE.format(model=name)}
        told["requestBody"] = {"required": True, "content": {form: {"schema": schema}}}
    return told


def _open_operation(route: OpenRoute) -> dict[str, Any]:
    return {
        "operationId": route.name,
        "tags": ["relay"],
        "summary": route.summary,
        "security": [],
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": open_responses_of(route),
    }


def _path_parameters(path: str) -> list[dict[str, Any]]:
    prefix = PREFIXES.get(path.split("/")[2]) if path.startswith("/v1/") else None
    schema = {"type": "string", **({"pattern": f"^{prefix}_{IDENTIFIER}$"} if prefix else {})}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in PATH_PARAMETER.findall(path)]


def _query_parameters(query: type[Query]) -> list[dict[str, Any]]:
    schema = query.model_json_schema(ref_template=REFERENCE)
    parameters = []
    for name, told in schema.get("properties", {}).items():
        # A query cannot say null: what may be absent is None in the model alone.
        kinds = [one for one in told.get("anyOf", []) if one != {"type": "null"}]
        said = plain(told if len(kinds) != 1 else kinds[0])
        parameter = {"name": name, "in": "query", "schema": said}
        if about := FIELDS.get(f"{query.__name__}.{name}") or FIELDS.get(name):
            parameter["description"] = about
        if said.get("type") == "object":  # its names are parameters themselves: the family `metadata.<key>`
            parameter |= {"style": "form", "explode": True}
        parameters.append(parameter)
    return parameters


def _header_names(operation: Operation) -> list[str]:
    if operation.method == "POST":
        return ["Idempotency-Key"]
    if operation.method == "GET" and operation.status_code == 200:
        return ["If-None-Match"]
    return ["If-Match"] if "precondition_failed" in operation.problems else []


def _header_parameters(*names: str) -> list[dict[str, Any]]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _webhook(event_type: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["id", "type", "timestamp", "data"],
        "properties": {
            "id": {"type": "string"},
            "type": {"const": event_type},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": reference_to(OF_EVENTS[event_type]),
        },
    }
    return {
        "post": {
            "operationId": "on_" + event_type.replace(".", "_"),
            "summary": EVENT_DESCRIPTIONS[event_type],
            "parameters": _header_parameters("webhook-id", "webhook-timestamp", "webhook-signature"),
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


def _tag(path: str) -> str:
    noun = path.split("/")[2]
    return noun if noun in TAGS else "events" if noun == "event-types" else "relay"
