"""Entity tags: an answer that has not changed is not sent again, and a change does not meet what nobody has seen."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.web.problems import Problem

DIGITS = 24  # of SHA-256 in hex, for each part of a tag
OBJECT = b'{"id":'  # how the body of a single thing begins, and that of a list does not
# What a change is decided upon. Last successes and counted looks are not, though they are in the bytes as well: else
# nobody could change what is in use.
DECIDES = ("updated_at", "status")


def tagged(request: Request, response: Response) -> Response:
    """The answer with its tag; to a GET 304 without a body when the caller has it already."""
    is_json = response.headers.get("content-type") == JSONResponse.media_type
    if not is_json or response.status_code not in (200, 201, 202):
        return response
    tag = _tag(bytes(response.body))
    headers = {"etag": tag}
    is_read = request.method in ("GET", "HEAD")
    if is_read and _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    if is_read or bytes(response.body).startswith(OBJECT):
        response.headers.update(headers)
    return response


def check_match(request: Request, view: Mapping[str, Any]) -> None:
    """Problem 412 when the caller's `If-Match` names another version of the object than the one in `view`."""
    told = request.headers.get("if-match")
    if told is None or "*" in (named := _named(told)):
        return
    if _version(view) not in {tag.strip('"').partition(".")[0] for tag in named if not tag.startswith("W/")}:
        detail = "The object is not in the state that If-Match names: read it again, and decide anew."
        raise Problem(412, "precondition_failed", detail)


def _tag(body: bytes) -> str:
    """A strong tag (RFC 9110, section 8.8.3) of the bytes; that of a single thing begins with its version."""
    content = _digest(body)
    return f'"{_version(json.loads(body))}.{content}"' if body.startswith(OBJECT) else f'"{content}"'


def _version(view: Mapping[str, Any]) -> str:
    told = next((view[name] for name in DECIDES if name in view), "")
    return _digest(f"{view['id']} {told}".encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def _has(told: str, tag: str) -> bool:
    """If-None-Match compares weakly."""
    named = {one.removeprefix("W/") for one in _named(told)}
    return "*" in named or tag in named


def _named(told: str) -> set[str]:
    return {one.strip() for one in told.split(",") if one.strip()}
