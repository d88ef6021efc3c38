"""Entity tags: an answer that has not changed is not sent again, and a change does not meet what nobody has seen."""

import hashlib
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.web.problems import Problem

DIGITS = 32  # of SHA-256 in hex: 128 bits


def tag_of(body: bytes) -> str:
    """The strong entity tag (RFC 9110, section 8.8.3) of an answer's bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:DIGITS]}"'


def tagged(request: Request, response: Response) -> Response:
    """The answer to a GET with its tag, or 304 without a body when the caller has it already."""
    if response.status_code != 200 or not isinstance(response, JSONResponse):
        return response
    tag = tag_of(bytes(response.body))
    headers = {"etag": tag}
    if _names(request.headers.get("if-none-match", ""), tag, is_weak=True):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response


def check_match(request: Request, view: Mapping[str, Any]) -> None:
    """Problem 412 when the caller's `If-Match` names another state of the object than the one in `view`."""
    told = request.headers.get("if-match")
    if told is None or _names(told, tag_of(bytes(JSONResponse(view).body)), is_weak=False):
        return
    detail = "The object is not in the state that If-Match names: read it again, and decide anew."
    raise Problem(412, "precondition_failed", detail)


def _names(told: str, tag: str, *, is_weak: bool) -> bool:
    """Whether a list of tags holds this one; If-Match compares strongly, If-None-Match weakly."""
    named = {one.strip() for one in told.split(",") if one.strip()}
    if is_weak:
        named = {one.removeprefix("W/") for one in named}
    return "*" in named or tag in named
