"""A request's body, read within its limit and refused unless it is plain, bounded JSON."""

import asyncio
import json
import math
from typing import Any

from starlette.requests import Request

from relay.domain.errors import Fault
from relay.web.problems import Problem

BODY_SECONDS_MAX = 30.0
DEPTH_MAX = 32
NAMES_MAX = 1000  # of one object; what is told of each of its faults would be longer than the body
# So much beyond the limit is read and thrown away: a client that still sends would see a reset and not the answer.
DISCARDED_BYTES_MAX = 16 * 1024 * 1024
INTEGER_MAX = 2**53 - 1  # RFC 8259, section 6: beyond it two readers need not agree on the number
JSON_TYPE = "application/json"
PATCH_TYPE = "application/merge-patch+json"
# What is left of a body is never read, so its connection cannot carry another request.
LAST_OF_CONNECTION = {"connection": "close"}


async def read_document(
    request: Request, body_bytes_max: int, *, is_patch: bool = False, body_seconds_max: float = BODY_SECONDS_MAX
) -> dict[str, Any]:
    """
    The JSON object in the body; `{}` for an empty one.

    Raises Problem: 413 beyond the limit, 408 when it is not here in time, 415 for another form,
    400 for what is no object of plain JSON.
    """
    accepted = (JSON_TYPE, PATCH_TYPE) if is_patch else (JSON_TYPE,)
    body = await read_body(request, body_bytes_max, body_seconds_max)
    if not body:
        return {}
    _check_form(request, accepted)
    document = parse(body)
    if not isinstance(document, dict):
        raise _malformed("the body must be a JSON object")
    return document


async def read_body(request: Request, body_bytes_max: int, body_seconds_max: float = BODY_SECONDS_MAX) -> bytes:
    """The bytes as they come; Problem 413 beyond the limit, 408 when they are not here in time."""
    length = request.headers.get("content-length", "")
    told_bytes = int(length) if length.isdecimal() else 0
    is_asking = request.headers.get("expect", "").lower() == "100-continue"
    if told_bytes > body_bytes_max and (is_asking or told_bytes > DISCARDED_BYTES_MAX):
        raise _too_large(body_bytes_max)
    chunks, total = [], 0
    try:
        async with asyncio.timeout(body_seconds_max):
            async for chunk in request.stream():
                total += len(chunk)
                if total > max(DISCARDED_BYTES_MAX, body_bytes_max):
                    raise _too_large(body_bytes_max)
                if total <= body_bytes_max:
                    chunks.append(chunk)
    except TimeoutError:
        detail = f"The body must be here within {body_seconds_max:g} seconds."
        raise Problem(408, "body_too_slow", detail, headers=LAST_OF_CONNECTION) from None
    if total > body_bytes_max:
        raise _too_large(body_bytes_max)
    return b"".join(chunks)


def _too_large(body_bytes_max: int) -> Problem:
    detail = f"The body may have {body_bytes_max} bytes at most."
    return Problem(413, "body_too_large", detail, headers=LAST_OF_CONNECTION)


def _check_form(request: Request, accepted: tuple[str, ...]) -> None:
    told = request.headers.get("content-type", "")
    form, _, parameters = told.partition(";")
    charset = parameters.partition("charset=")[2].strip(' "').lower()
    is_encoded = request.headers.get("content-encoding", "identity").lower() != "identity"
    if is_encoded or (told and form.strip().lower() not in accepted) or charset not in ("", "utf-8", "utf8"):
        detail = f"The body must be {' or '.join(accepted)}, in UTF-8, and not compressed."
        raise Problem(415, "unsupported_media_type", detail)


def parse(body: bytes) -> Any:
    """The value in `body`; Problem 400 for anything that two JSON readers could understand differently."""
    try:
        text = body.decode("utf-8")
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_safe_integer,
        )
    except UnicodeDecodeError:
        raise _malformed("the body is not UTF-8") from None
    except RecursionError:
        raise _malformed(f"the body is nested more than {DEPTH_MAX} levels deep") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    _walk(document, checks_text="\\u" in text)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > NAMES_MAX:
        raise ValueError(f"an object has more than {NAMES_MAX} names")
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a name appears twice in one object")
    return document


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _safe_integer(text: str) -> int:
    if len(text) > len(str(-INTEGER_MAX)) or abs(int(text)) > INTEGER_MAX:
        raise ValueError("an integer is too large to be read alike everywhere; send it as a string")
    return int(text)


def _walk(document: Any, *, checks_text: bool) -> None:
    # Only an escape can bring in what a UTF-8 text cannot hold (a lone surrogate) or a database will not (NUL).
    level: list[Any] = [document]
    for _ in range(DEPTH_MAX):
        if checks_text and not all(_is_storable(value) for value in _texts(level)):
            raise _malformed("a string holds half of a surrogate pair or the character U+0000")
        level = [inner for value in level for inner in _children(value)]
        if not level:
            return
    raise _malformed(f"the body is nested more than {DEPTH_MAX} levels deep")


def _children(value: Any) -> list[Any]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [one for one in inner if isinstance(one, dict | list)]


def _texts(level: list[Any]) -> list[str]:
    found: list[str] = []
    for value in level:
        inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]
        found.extend(one for one in inner if isinstance(one, str))
    return found


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _malformed(reason: str) -> Problem:
    return Problem(400, "malformed_body", f"The body cannot be used: {reason}.", [Fault("", reason, "malformed")])
