"""Turns a definition's text into a Definition, or names everything that is wrong with it at once."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from relay.domain.errors import BadDefinition
from relay.providers.auth import SCHEMES
from relay.providers.definition import Auth, Call, Definition, Fetch, Param, ResultMapping, Secret, State, covers
from relay.providers.template import Template

ALWAYS_KNOWN = frozenset({"provider_job_id"})
KNOWN_TO_FETCH = frozenset({"provider_job_id", "result_id"})
KNOWN_TO_LIST = frozenset({"limit", "offset", "since"})
RESERVED = KNOWN_TO_FETCH | KNOWN_TO_LIST

# What a call has to say one of, and what would happen if it did not.
NEEDED = {
    "look": (ALWAYS_KNOWN, "all jobs would get one answer"),
    "fetch": (KNOWN_TO_FETCH, "all jobs would get one result"),
    "list": (frozenset({"offset"}), "every page would be the first"),
}

ANNOTATED: Any = Annotated  # built at run time, where mypy expects a type

Parts = Mapping[str, Any]


def parse_definition(text: str, source: str) -> Definition:
    """
    The definition in `text` (TOML); `source` names it in faults.

    Raises BadDefinition with every fault: those of single keys, and those between the parts that are sound.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadDefinition(source, [f"not TOML: {error}"]) from None
    try:
        definition = Definition.model_validate(raw)
    except ValidationError as error:
        faults = [_sentence(detail) for detail in error.errors()]
        raise BadDefinition(source, [*faults, *_faults_between(_sound_parts(raw))]) from None
    between = list(_faults_between({name: getattr(definition, name) for name in Definition.model_fields}))
    if between:
        raise BadDefinition(source, between)
    return definition


def _sentence(detail: ErrorDetails) -> str:
    place = ".".join(str(step) for step in detail["loc"]) or "the file"
    if detail["type"] == "extra_forbidden":
        return f"{place}: unknown key"
    return f"{place}: {detail['msg'].removeprefix('Value error, ')}"


def _sound_parts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Those top-level parts that can be read on their own."""
    parts: dict[str, Any] = {}
    for name, field in Definition.model_fields.items():
        key = field.alias or name
        if key not in raw:
            if not field.is_required():
                parts[name] = field.default
            continue
        try:
            parts[name] = TypeAdapter(ANNOTATED[field.annotation, *field.metadata, None]).validate_python(raw[key])
        except ValidationError:
            continue
    return parts


def _faults_between(parts: Parts) -> Iterator[str]:
    """What no part can know of itself; a part that is missing here has already been complained about."""
    if "base_url" in parts and "hosts" in parts:
        yield from _host_faults(parts["base_url"], parts["hosts"])
    if "state" in parts:
        yield from _word_faults(parts["state"])
    if "secrets" in parts and "params" in parts:
        yield from _name_faults(parts["secrets"], parts["params"])
        if "auth" in parts:
            yield from _auth_faults(parts["auth"], parts["secrets"], parts["params"])
    if "params" in parts:
        yield from _call_faults(parts, parts["params"])
    if "fetch" in parts and "result" in parts:
        yield from _fetch_faults(parts["fetch"], parts["result"])


def _host_faults(base_url: str, hosts: tuple[str, ...]) -> Iterator[str]:
    host = urlsplit(base_url).hostname
    if not covers(hosts, host):
        yield f"base_url: {host} is not in `hosts` ({', '.join(hosts)})"


def _word_faults(state: State) -> Iterator[str]:
    seen: set[str] = set()
    for word in (*state.pending, *state.completed, *state.failed):
        if word.casefold() in seen:
            yield f"state: {word!r} is listed twice"
        seen.add(word.casefold())


def _name_faults(secrets: Mapping[str, Secret], params: Mapping[str, Param]) -> Iterator[str]:
    names = [*secrets, *params, *(name for param in params.values() for name in param.derived_names)]
    for name in sorted(set(names)):
        if names.count(name) > 1:
            yield f"{name!r} is the name of more than one secret, param or place"
        if name in RESERVED:
            yield f"{name!r} has a meaning of its own and cannot name a secret, param or place"


def _auth_faults(ways: tuple[Auth, ...], secrets: Mapping[str, Secret], params: Mapping[str, Param]) -> Iterator[str]:
    used: set[str] = set()
    given = {name for name, param in params.items() if param.source == "credential"}
    for number, way in enumerate(ways):
        place = f"auth.{number}"
        mine = {*way.secrets, *way.optional}
        used |= mine
        if way.scheme not in SCHEMES:
            yield f"{place}.scheme: {way.scheme!r} is not known; there are {', '.join(sorted(SCHEMES))}"
        else:
            yield from (f"{place}.{fault}" for fault in SCHEMES[way.scheme].faults(way))
        for name in sorted(mine - set(secrets)):
            yield f"{place}: {name!r} is not in [secrets]"
        for header, template in way.headers.items():
            for name in sorted(template.names - mine - given):
                yield f"{place}.headers.{header}: {name!r} is neither a secret of this way nor a credential's param"
    for name in sorted(set(secrets) - used):
        yield f"secrets.{name}: no way to sign in uses it"


def _call_faults(parts: Parts, params: Mapping[str, Param]) -> Iterator[str]:
    derived = {name for param in params.values() if param.has_value for name in param.derived_names}
    certain = derived | {name for name, param in params.items() if param.has_value}
    possible = certain | set(params) | {name for param in params.values() for name in param.derived_names}
    extra = {"look": ALWAYS_KNOWN, "fetch": KNOWN_TO_FETCH, "listing": KNOWN_TO_LIST, "submit": frozenset[str]()}
    for part, known in extra.items():
        call = cast(Call | None, parts.get(part))
        if call is not None:
            place = "list" if part == "listing" else part
            yield from _place_faults(place, call, certain | known, possible | known)
            yield from _needed_faults(place, call, certain | known)
    if parts.get("listing") is not None:
        yield from _shared_faults(parts["listing"], params)


def _place_faults(place: str, call: Call, certain: set[str], possible: set[str]) -> Iterator[str]:
    for name in sorted(call.path.names - certain):
        why = "has no default and is not required" if name in possible else "is not known"
        yield f"{place}.path: {name!r} {why}"
    for where, text in _texts(call).items():
        for name in sorted(text.names - possible):
            yield f"{place}.{where}: {name!r} is not known"


def _needed_faults(place: str, call: Call, certain: set[str]) -> Iterator[str]:
    """A call that is the same for every job, or for every page, would be answered the same each time."""
    names, without = NEEDED.get(place, (frozenset[str](), ""))
    said = call.path.names.union(*(text.names for text in _texts(call).values() if text.names <= certain))
    if names and not names & said:
        places = " or ".join(f"{{{name}}}" for name in sorted(names))
        yield f"{place}: nothing that is always sent has {places}: {without}"


def _shared_faults(call: Call, params: Mapping[str, Param]) -> Iterator[str]:
    """A list is asked for once for all jobs of a credential."""
    of_jobs = {name for key, param in params.items() if param.source == "job" for name in (key, *param.derived_names)}
    for where, text in {"path": call.path, **_texts(call)}.items():
        for name in sorted(text.names & of_jobs):
            yield f"list.{where}: {name!r} is given with each job, and a list is asked for all jobs of a credential"


def _texts(call: Call) -> dict[str, Template]:
    """The parts of a call that are left out when a place of theirs has no value."""
    texts: dict[str, Template] = {f"query.{name}": text for name, text in call.query.items()}
    return texts | {f"headers.{name}": text for name, text in call.headers.items()}


def _fetch_faults(fetch: Fetch | None, result: ResultMapping) -> Iterator[str]:
    if fetch is not None and result.id is None:
        yield "fetch: there is nothing to fetch without result.id"
