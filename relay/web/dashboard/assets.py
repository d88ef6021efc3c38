"""The few files that the pages load, each at an address that changes with its content."""

import hashlib
from functools import cache
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

TYPES = {"dashboard.css": "text/css", "dashboard.js": "text/javascript", "relay.svg": "image/svg+xml"}
DIGITS = 16  # of SHA-256 in hex
FOR_EVER = "public, max-age=31536000, immutable"


async def show(request: Request) -> Response:
    """The file; a browser may keep it for ever when it asked for this very content."""
    name = request.path_params["name"]
    if name not in TYPES:
        raise HTTPException(404)
    is_exact = request.query_params.get("v") == _version(name)
    headers = {"cache-control": FOR_EVER if is_exact else "no-cache"}
    return Response(_content(name), headers=headers, media_type=TYPES[name])


def address(name: str) -> str:
    """Where the file is, as it is now."""
    return f"/assets/{name}?v={_version(name)}"


@cache
def _content(name: str) -> bytes:
    return (files("relay.web") / "assets" / name).read_bytes()


@cache
def _version(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:DIGITS]
