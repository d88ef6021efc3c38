"""A request's body, read within its limit and refused unless it is plain, bounded JSON."""

import asyncio
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from starlette.requests import Request

from relay.domain.errors import Fault
from relay.web.checks import pointer
from relay.web.problems import FAULTS_MAX, Problem

BODY_SECONDS_MAX = 30.0
DEPTH_MAX = 32
NAMES_MAX = 1000  # of one object; what is told of each of its faults would be longer than the body
# So much beyond the limit is read and thrown away: a client that still sends would see a reset and not the answer.
DISCARDED_BYTES_MAX = 16 * 1024 * 1024
INTEGER_MAX = 2**53 - 1  # RFC 8259, section 6: beyond it two readers need not agree on the number
UNSTORABLE = "a string holds half of a surrogate pair or the character U+0000"
JSON_TYPE = "application/json"
PATCH_TYPE = "application/merge-patch+json"
# What is left of a body is never read, so its connection cannot carry another request.
LAST_OF_CONNECTION = {"connection": "close"}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands where a document holds what readers do not agree on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands in a list for an item that cannot be used; pointers begin at the item."""

    faults: tuple[Fault, ...]


async def read_document(
    request: Request,
    body_bytes_max: int,
    *,
    is_patch: bool = False,
    apart: str | None = None,
    body_seconds_max: float = BODY_SECONDS_MAX,
) -> dict[str, Any]:
    """
    The JSON object in the body; `{}` for an empty one. `apart` as for `parse`.

    Raises Problem: 413 beyond the limit, 408 when it is not here in time, 415 for another form,
    400 for what is no object of plain JSON.
    """
    accepted = (JSON_TYPE, PATCH_TYPE) if is_patch else (JSON_TYPE,)
    body = await read_body(request, body_bytes_max, body_seconds_max)
    if not body:
        return {}
    _check_form(request, accepted)
    document = parse(body, apart)
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


def parse(body: bytes, apart: str | None = None) -> Any:
    """
    The value in `body`; Problem 400 for anything that two JSON readers could understand differently. `apart` names a
    list whose items harm no other: one that cannot be used is an Unusable in its place.
    """
    unreadable: list[Unreadable] = []
    document, text = _loaded(body, unreadable)
    _check_depth(document)
    # Only an escape can bring in what a UTF-8 text cannot hold (a lone surrogate) or a database will not (NUL).
    if not unreadable and "\\u" not in text:
        return document
    items = document.get(apart) if apart and isinstance(document, dict) else None
    if apart and isinstance(document, dict) and isinstance(items, list):
        document = {**document, apart: [_usable(item) for item in items]}
    faults = _first_faults(document)
    if faults:
        raise _malformed(faults[0].detail, faults)
    return document


def _loaded(body: bytes, unreadable: list[Unreadable]) -> tuple[Any, str]:
    def noted(reason: str) -> Unreadable:
        unreadable.append(Unreadable(reason))
        return unreadable[-1]

    def pairs_read(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Unreadable:
        if len(pairs) > NAMES_MAX:
            return noted(f"an object has more than {NAMES_MAX} names")
        document = dict(pairs)
        return document if len(document) == len(pairs) else noted("a name appears twice in one object")

    def float_read(text: str) -> float | Unreadable:
        number = float(text)
        return number if math.isfinite(number) else noted("a number is too large")

    def integer_read(text: str) -> int | Unreadable:
        if len(text) > len(str(-INTEGER_MAX)) or abs(int(text)) > INTEGER_MAX:
            return noted("an integer is too large to be read alike everywhere; send it as a string")
        return int(text)

    try:
        text = body.decode("utf-8")
        document = json.loads(
            text,
            object_pairs_hook=pairs_read,
            parse_constant=lambda name: noted(f"{name} is not JSON"),
            parse_float=float_read,
            parse_int=integer_read,
        )
    except UnicodeDecodeError:
        raise _malformed("the body is not UTF-8") from None
    except RecursionError:
        raise _malformed(f"the body is nested more than {DEPTH_MAX} levels deep") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    return document, text


def _check_depth(document: Any) -> None:
    level: list[Any] = [document]
    for _ in range(DEPTH_MAX):
        level = [inner for value in level for inner in _children(value)]
        if not level:
            return
    raise _malformed(f"the body is nested more than {DEPTH_MAX} levels deep")


def _children(value: Any) -> list[Any]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [one for one in inner if isinstance(one, dict | list)]


def _usable(item: Any) -> Any:
    faults = _first_faults(item)
    return Unusable(tuple(faults)) if faults else item


def _first_faults(document: Any) -> list[Fault]:
    return list(islice(_faults(document, ()), FAULTS_MAX))


def _faults(value: Any, where: tuple[str | int, ...]) -> Iterator[Fault]:
    if isinstance(value, Unreadable):
        yield Fault(pointer(where), value.reason, "malformed")
    elif isinstance(value, str) and not _is_storable(value):
        yield Fault(pointer(where), UNSTORABLE, "malformed")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _faults(inner, (*where, place))
    elif isinstance(value, dict):
        for name, inner in value.items():
            if _is_storable(name):
                yield from _faults(inner, (*where, name))
            else:
                yield Fault(pointer(where), f"of a name: {UNSTORABLE}", "malformed")


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _malformed(reason: str, faults: Sequence[Fault] = ()) -> Problem:
    faults = faults or [Fault("", reason, "malformed")]
    return Problem(400, "malformed_body", f"The body cannot be used: {reason}.", faults)
