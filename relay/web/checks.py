"""Finds everything that is wrong with a request at once, by shape and by meaning, and says where."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from relay.bootstrap import Relay
from relay.domain.errors import Fault
from relay.domain.subscription import EVENT_TYPES
from relay.egress import Blocked, NameNotResolved
from relay.web.problems import Problem
from relay.webhooks.signing import check_secret

METADATA_PREFIX = "metadata."
METADATA_KEYS_MAX = 50
METADATA_KEY_CHARACTERS_MAX = 64
METADATA_VALUE_CHARACTERS_MAX = 512
HEADERS_MAX = 20
HEADER_NAME_CHARACTERS_MAX = 64
HEADER_VALUE_CHARACTERS_MAX = 1024
RESOLVE_SECONDS_MAX = 4.0

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2: token
HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")  # of others no two readers think alike
RESERVED_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
RESERVED_PREFIXES = ("webhook-", "proxy-")

CODES = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "literal_error": "invalid_choice",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_long",
    "too_short": "too_short",
    "string_pattern_mismatch": "invalid_format",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
}
DETAILS = {
    "missing": "this field is required",
    "extra_forbidden": "there is no such field",
    "model_type": "input should be an object",
    "dict_type": "input should be an object",
    "list_type": "input should be a list",
}

M = TypeVar("M", bound=BaseModel)
Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Checked(Generic[M]):
    """
    A document held against its model: `value` when all fits, and else the `faults`. `fields` is the document without
    what has the wrong shape, so that the rest can be checked further and all faults be told together.
    """

    value: M | None
    fields: dict[str, Any]
    faults: list[Fault]

    def accepted(self, more: Iterable[Fault] = ()) -> M:
        """The value; Problem 422 with these and `more` faults, when there are any; a place is told of once."""
        told = {place for fault in self.faults for place in _places(fault.pointer)}
        faults = self.faults + [fault for fault in more if fault.pointer not in told]
        if self.value is None or faults:
            raise invalid(faults)
        return self.value


def _places(where: str) -> list[str]:
    """The place and all that it is inside of: `/a/b` is in `/a`, and that in the whole."""
    steps = where.split("/")
    return ["/".join(steps[:count]) for count in range(1, len(steps) + 1)]


def invalid(faults: Sequence[Fault]) -> Problem:
    """422 for a body; every fault is named."""
    return Problem(422, "invalid_request", "The request has faults; each is named in `errors`.", faults)


def check(model: type[M], document: Any) -> Checked[M]:
    """The document as the model has it, with the faults of its shape as JSON pointers (RFC 6901)."""
    try:
        return Checked(model.model_validate(document), document, [])
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False, include_context=False)
        faults = [_fault(pointer(one["loc"]), one["type"], one["msg"]) for one in told]
        fields = _without(document, [one["loc"] for one in told]) if isinstance(document, dict) else {}
        return Checked(None, fields, faults)


def check_query(model: type[M], parameters: Sequence[tuple[str, str]]) -> M:
    """The query string as the model has it; Problem 400 naming every parameter that is not."""
    told, faults = _nested(parameters, has_metadata="metadata" in model.model_fields)
    try:
        value = model.model_validate(told)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False, include_context=False):
            message = "there is no such parameter" if one["type"] == "extra_forbidden" else one["msg"]
            faults.append(_fault("?" + ".".join(map(str, one["loc"])), one["type"], message))
        raise bad_query(faults) from None
    if faults:
        raise bad_query(faults)
    return value


def bad_query(faults: Sequence[Fault]) -> Problem:
    """400 for a query string; every fault is named, by `?` and the parameter."""
    return Problem(400, "invalid_request", "The query has faults; each is named in `errors`.", faults)


def _nested(
    parameters: Sequence[tuple[str, str]], *, has_metadata: bool
) -> tuple[dict[str, str | dict[str, str]], list[Fault]]:
    told: dict[str, str] = {}
    metadata: dict[str, str] = {}
    faults = []
    for name, value in parameters:
        is_metadata = has_metadata and name.startswith(METADATA_PREFIX)
        place, key = (metadata, name.removeprefix(METADATA_PREFIX)) if is_metadata else (told, name)
        if "\0" in name or "\0" in value:
            faults.append(Fault("?", "a query holds no character U+0000", "malformed"))
        elif key in place:
            faults.append(Fault(f"?{name}", "the parameter is given more than once", "repeated"))
        else:
            place[key] = value
    return {**told, **({"metadata": metadata} if metadata else {})}, faults


def pointer(location: Location, base: str = "") -> str:
    """`("a", 0, "b/c")` as `/a/0/b~1c`."""
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in location if step != "[key]"]
    return base + "".join(f"/{step}" for step in steps)


def _fault(where: str, kind: str, message: str) -> Fault:
    code = CODES.get(kind) or ("invalid_type" if kind.endswith("_type") else "invalid_value")
    return Fault(where, DETAILS.get(kind) or message[:1].lower() + message[1:], code)


def _without(document: dict[str, Any], locations: Sequence[Location]) -> dict[str, Any]:
    below: dict[int | str, list[Location]] = {}
    for location in locations:
        if location:
            below.setdefault(location[0], []).append(location[1:])
    kept = {}
    for name, value in document.items():
        inside = below.get(name)
        if not inside:
            kept[name] = value
        elif all(inside) and isinstance(value, dict):
            kept[name] = _without(value, inside)
    return kept


def metadata_faults(metadata: Mapping[str, Any] | None, where: str) -> list[Fault]:
    """Metadata is flat and small: it goes into every event and is filtered by."""
    if not metadata:
        return []
    faults = []
    if len(metadata) > METADATA_KEYS_MAX:
        faults.append(Fault(where, f"at most {METADATA_KEYS_MAX} keys", "too_long"))
    for key, value in metadata.items():
        place = pointer((key,), where)
        if not 1 <= len(key) <= METADATA_KEY_CHARACTERS_MAX:
            faults.append(Fault(place, f"a key has 1 to {METADATA_KEY_CHARACTERS_MAX} characters", "too_long"))
        if isinstance(value, dict | list):
            faults.append(Fault(place, "a value is a string, a number, true, false or null", "invalid_type"))
        elif isinstance(value, str) and len(value) > METADATA_VALUE_CHARACTERS_MAX:
            faults.append(Fault(place, f"a value has at most {METADATA_VALUE_CHARACTERS_MAX} characters", "too_long"))
    return faults


def header_faults(headers: Mapping[str, str] | None, where: str) -> list[Fault]:
    """Headers of the tenant's own, which may neither change what the relay says nor smuggle in a second message."""
    if not headers:
        return []
    faults = []
    if len(headers) > HEADERS_MAX:
        faults.append(Fault(where, f"at most {HEADERS_MAX} headers", "too_long"))
    seen: set[str] = set()
    for name, value in headers.items():
        place = pointer((name,), where)
        if fault := _header_fault(name.lower(), value):
            faults.append(Fault(place, fault, "bad_header"))
        if name.lower() in seen:
            faults.append(Fault(place, "the header is given twice, in different capitals", "bad_header"))
        seen.add(name.lower())
    return faults


def _header_fault(name: str, value: str) -> str | None:
    if not HEADER_NAME.fullmatch(name) or len(name) > HEADER_NAME_CHARACTERS_MAX:
        return f"a header's name is a token of at most {HEADER_NAME_CHARACTERS_MAX} characters (RFC 9110)"
    if name in RESERVED_HEADERS or name.startswith(RESERVED_PREFIXES):
        return "this header is the relay's own"
    if len(value) > HEADER_VALUE_CHARACTERS_MAX or (value and not HEADER_VALUE.fullmatch(value)):
        return (
            f"a header's value has at most {HEADER_VALUE_CHARACTERS_MAX} visible ASCII characters, "
            "spaces and tabs, the latter two neither first nor last"
        )
    return None


def event_type_faults(event_types: Sequence[str] | None, where: str) -> list[Fault]:
    """Each unknown type, with the known ones."""
    detail = f"no such event type; known are {', '.join(EVENT_TYPES)}"
    return [
        Fault(pointer((place,), where), detail, "unknown_event_type")
        for place, name in enumerate(event_types or ())
        if name not in EVENT_TYPES
    ]


def provider_faults(relay: Relay, providers: Sequence[str] | None, where: str) -> list[Fault]:
    """Each unknown provider, with the known ones."""
    detail = f"no provider of that name; known are {', '.join(sorted(relay.catalog.names()))}"
    return [
        Fault(pointer((place,), where), detail, "unknown_provider")
        for place, name in enumerate(providers or ())
        if relay.catalog.get(name) is None
    ]


def secret_faults(secret: str | None, where: str) -> list[Fault]:
    """What keeps a brought secret from being used."""
    fault = check_secret(secret) if secret is not None else None
    return [Fault(where, fault, "bad_secret")] if fault else []


async def url_faults(relay: Relay, url: str | None, where: str) -> list[Fault]:
    """What keeps the relay from calling the URL, its name looked up when that can be done now."""
    if url is None:
        return []
    if faults := relay.register.check_callback_url(url, where):
        return faults
    return await name_faults(relay, {where: url})


async def name_faults(relay: Relay, urls: Mapping[str, str]) -> list[Fault]:
    """
    By pointer, the URLs whose host's addresses may not be called. `urls` have passed the check of their form.

    A name that has no address now, or not in time, is let through: each connection is judged anew.
    """
    targets = {where: relay.guard.target(url) for where, url in urls.items()}
    places = {(target.host, target.port) for target in targets.values()}
    lookups = {place: asyncio.ensure_future(_is_blocked(relay, *place)) for place in places}
    done, late = await asyncio.wait(lookups.values(), timeout=RESOLVE_SECONDS_MAX) if lookups else (set(), set())
    for lookup in late:
        lookup.cancel()
    blocked = {place for place, lookup in lookups.items() if lookup in done and lookup.result()}
    return [
        Fault(where, "the URL's host must be public", "url_refused")
        for where, target in targets.items()
        if (target.host, target.port) in blocked
    ]


async def _is_blocked(relay: Relay, host: str, port: int) -> bool:
    try:
        await relay.guard.resolve(host, port)
    except Blocked:
        return True
    except NameNotResolved:
        return False
    return False
