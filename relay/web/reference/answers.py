"""What a route answers: its good responses with their headers, and the codes of problems that come with each status."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from relay.web.calls import OpenRoute, Operation
from relay.web.problems import MEDIA_TYPE
from relay.web.reference.components import PATH_PARAMETER, reference_to
from relay.web.reference.examples import problem
from relay.web.reference.meanings import MEANINGS
from relay.web.reference.shapes import Problem
from relay.web.schemas import Query

OF_ANY_ADDRESS = ("method_not_allowed", "unavailable", "internal_error")
OF_ANY_OPERATION = ("unauthorized", "forbidden", "too_many_requests", "internal_error", "unavailable")
WITH_A_BODY = ("malformed_body", "body_too_slow", "body_too_large", "unsupported_media_type", "invalid_request")
OF_A_POST = ("idempotency_key_malformed", "idempotency_key_reused", "idempotency_in_flight")
OF_A_QUERY = 400  # the other status of `invalid_request`

HEADERS: dict[str, tuple[str, str]] = {
    "x-request-id": ("string", "The id that the request came with or was given; the relay's logs have it."),
    "ratelimit-limit": (
        "integer",
        "How many requests of this key may come at once. Absent, as all `ratelimit-…`, where nothing limits.",
    ),
    "ratelimit-remaining": ("integer", "How many are left at the moment."),
    "ratelimit-reset": ("integer", "Seconds until one more is."),
    "ratelimit-policy": (
        "string",
        "The limit again, with the seconds in which all of it comes back (`100;w=10`); with the other three.",
    ),
    "retry-after": ("integer", "Seconds to wait before the same request is made again."),
    "etag": ("string", "The state of the object, for If-None-Match and If-Match."),
    "idempotent-replayed": ("string", "`true` on the saved answer to an earlier request with this Idempotency-Key."),
    "location": ("string", "Where to go, or where the new object is."),
    "www-authenticate": ("string", "How to show who calls (RFC 6750)."),
}
COUNTED = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
UNCOUNTED = (401, 403)  # refused before the key's requests are counted
WAITING = (409, 429, 502, 503)


def responses_of(operation: Operation) -> dict[str, Any]:
    """Every status of an operation; a problem's says its codes where they are not all of that status."""
    good: dict[str, Any] = {"description": sentence(operation.returns)}
    if operation.shows is not None:
        good["content"] = {"application/json": {"schema": reference_to(operation.shows)}}
    good["headers"] = _header_references("x-request-id", *COUNTED, *_good_headers(operation))
    responses = {str(code): good for code in (operation.status_code, *operation.also)}
    if _is_tagged_read(operation):
        responses["304"] = {"$ref": "#/components/responses/NotModified"}
    for status, codes in sorted(_by_status(_codes_of(operation)).items()):
        responses[str(status)] = _problem_reference(status, codes)
    return responses


def open_responses_of(route: OpenRoute) -> dict[str, Any]:
    """The same of a route without a key; whatever any address can answer is its `default`."""
    shape = reference_to(route.shows) if route.shows is not None else {"type": "object"}
    content = {form: {"schema": shape if form.endswith("json") else {"type": "string"}} for form in route.forms}
    good = {
        str(code): {"description": sentence(text), **({"content": content} if content else {})}
        for code, text in route.answers.items()
    }
    told = [(OF_A_QUERY, "invalid_request")] if route.query is not Query else []
    told += [(MEANINGS[code].statuses[0], code) for code in route.problems]
    problems = {str(status): _problem_reference(status, codes) for status, codes in sorted(_by_status(told).items())}
    return {**good, **problems, "default": {"$ref": "#/components/responses/Problem"}}


def response_components() -> dict[str, Any]:
    """What responses refer to: one for each status of problems, with its codes and an example of each."""
    statuses = sorted({status for meaning in MEANINGS.values() for status in meaning.statuses} - {405})
    unchanged = {
        "description": "Nothing has changed since the state that If-None-Match names.",
        "headers": _header_references("x-request-id", *COUNTED, "etag"),
    }
    return {
        "NotModified": unchanged,
        "Problem": _problem("Whatever any address can answer", [(code, None) for code in OF_ANY_ADDRESS], ()),
        **{f"Problem{status}": _problem_of(status) for status in statuses},
    }


def header_components() -> dict[str, Any]:
    """Every header of an answer that says something of the API's own."""
    return {name: {"description": text, "schema": {"type": kind}} for name, (kind, text) in sorted(HEADERS.items())}


def codes_told(document: dict[str, Any], response: dict[str, Any]) -> list[str]:
    """The codes of problems that a response of the document names, by itself or by what it refers to."""
    if "$ref" not in response:
        return []
    component = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    named = re.findall(r"`(\w+)`", response.get("description", component["description"]))
    return [code for code in named if code in MEANINGS]


def _codes_of(operation: Operation) -> list[tuple[int, str]]:
    codes = [*OF_ANY_OPERATION, *operation.problems]
    if operation.body is not None:
        codes += WITH_A_BODY
    if operation.method == "POST":
        codes += OF_A_POST
    if PATH_PARAMETER.search(operation.path):
        codes.append("not_found")
    return [(OF_A_QUERY, "invalid_request"), *((MEANINGS[code].statuses[0], code) for code in codes)]


def _by_status(told: Iterable[tuple[int, str]]) -> dict[int, list[str]]:
    by_status: dict[int, list[str]] = {}
    for status, code in told:
        by_status.setdefault(status, []).append(code)
    return {status: sorted(codes) for status, codes in by_status.items()}


def _all_codes(status: int) -> list[str]:
    return sorted(code for code, meaning in MEANINGS.items() if status in meaning.statuses)


def _problem_reference(status: int, codes: list[str]) -> dict[str, Any]:
    reference = {"$ref": f"#/components/responses/Problem{status}"}
    return reference if codes == _all_codes(status) else {**reference, "description": _about(status, codes)}


def _about(status: int, codes: Iterable[str]) -> str:
    return f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in codes)}."


def _problem_of(status: int) -> dict[str, Any]:
    names = ["x-request-id", *(() if status in UNCOUNTED else COUNTED)]
    names += ["www-authenticate"] if status == HTTPStatus.UNAUTHORIZED else []
    names += ["retry-after"] if status in WAITING else []
    names += ["ratelimit-policy"] if status == HTTPStatus.TOO_MANY_REQUESTS else []
    return _problem(HTTPStatus(status).phrase, [(code, status) for code in _all_codes(status)], names)


def _problem(about: str, codes: list[tuple[str, int | None]], headers: Iterable[str]) -> dict[str, Any]:
    return {
        "description": f"{about}: {', '.join(f'`{code}`' for code, _ in codes)}.",
        "headers": _header_references(*(headers or ("x-request-id",))),
        "content": {
            MEDIA_TYPE: {
                "schema": reference_to(Problem),
                "examples": {code: {"value": problem(code, status)} for code, status in codes},
            }
        },
    }


def _is_tagged_read(operation: Operation) -> bool:
    return operation.method == "GET" and operation.status_code == HTTPStatus.OK


def _good_headers(operation: Operation) -> list[str]:
    names = []
    is_one_object = operation.shows is not None and "id" in operation.shows.model_fields
    if _is_tagged_read(operation) or is_one_object:
        names.append("etag")
    if operation.method == "POST":
        names.append("idempotent-replayed")
    if operation.status_code in (201, 302) or 202 in operation.also:
        names.append("location")
    return names


def _header_references(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def sentence(text: str) -> str:
    """A phrase of the route table as a sentence."""
    return text[:1].upper() + text[1:] + "."
