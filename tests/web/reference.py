"""Holds every answer that a test of the web receives against the OpenAPI document."""

import re
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from relay.web.problems import MEDIA_TYPE
from relay.web.reference.answers import codes_told
from relay.web.reference.meanings import MEANINGS
from relay.web.reference.openapi import document
from relay.web.routes import OPEN_ROUTES, OPERATIONS

DOCUMENT = document(OPERATIONS, OPEN_ROUTES, "http://localhost:8000")
ROUTES = {re.compile(re.sub(r"\{\w+\}", "[^/]+", path)): path for path in sorted(DOCUMENT["paths"])}


async def documented(response: httpx.Response) -> None:
    """An httpx hook: raises AssertionError for a status, a body or a problem's code that the document does not know."""
    await response.aread()
    path = next((path for route, path in ROUTES.items() if route.fullmatch(response.request.url.path)), None)
    told = DOCUMENT["paths"].get(path, {}).get(response.request.method.lower())
    if told is None:
        return
    answers = told["responses"]
    status = str(response.status_code)
    assert status in answers or "default" in answers, f"{path} does not document {status}: {response.text[:300]}"
    schema = schema_of(str(path), response.request.method.lower(), status if status in answers else "default")
    if schema is not None and response.content and response.headers["content-type"].endswith("json"):
        assert faults(schema, response.json()) == []
    if response.headers.get("content-type") == MEDIA_TYPE:
        code = response.json()["code"]
        assert response.status_code in MEANINGS[code].statuses, response.text
        if status in answers:
            assert code in codes_told(DOCUMENT, answers[status]), f"{path} does not document {status} {code}"


@cache
def schema_of(path: str, method: str, status: str) -> str | None:
    """The reference to the schema of that answer, as text; None when it has none."""
    answer = DOCUMENT["paths"][path][method]["responses"][status]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    content = [one for form, one in answer.get("content", {}).items() if form.endswith("json")]
    reference: str | None = content[0]["schema"].get("$ref") if content else None
    return reference


def faults(reference: str, value: Any) -> list[str]:
    """What of the value the schema does not allow."""
    return [f"{list(fault.absolute_path)}: {fault.message}" for fault in validator(reference).iter_errors(value)]


@cache
def validator(reference: str) -> Draft202012Validator:
    """The schema, ready for use."""
    return Draft202012Validator({"$ref": reference, "components": DOCUMENT["components"]})
