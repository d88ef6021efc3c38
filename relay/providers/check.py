"""What can be said against a job or a credential before anything is asked of its provider."""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from relay.domain.errors import Fault
from relay.providers.auth import usable_way
from relay.providers.definition import Definition, Param
from relay.providers.template import WALKS

ID_CHARACTERS_MAX = 512
VALUE_CHARACTERS_MAX = 256
SECRET_CHARACTERS_MAX = 32_768  # IAM tokens run to several thousand
URL_CHARACTERS_MAX = 2048
HEADER_SAFE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")  # what can stand in a header as it is


def check_job(definition: Definition, provider_job_id: object, params: Mapping[str, object]) -> list[Fault]:
    """Every fault of a job's id and params."""
    return [*check_id(definition, provider_job_id), *check_params(definition, params)]


def check_id(definition: Definition, provider_job_id: object) -> list[Fault]:
    """Every fault of a job's id, which comes from outside and will stand in a URL."""
    return list(_id_faults(definition, provider_job_id))


def check_params(definition: Definition, params: Mapping[str, object]) -> list[Fault]:
    """Every fault of a job's params, for a job that has no id yet."""
    return list(_param_faults(definition, definition.job_param_names(), params, "a job"))


def check_credential(
    definition: Definition, secrets: Mapping[str, object], params: Mapping[str, object], base_url: object = None
) -> list[Fault]:
    """Every fault of a credential; no secret's value is ever repeated."""
    faults = list(_secret_faults(definition, secrets))
    faults += _param_faults(definition, definition.credential_param_names(), params, "a credential")
    if base_url is not None:
        faults += _base_url_faults(base_url)
    return faults


def base_url_warning(definition: Definition, base_url: str) -> str | None:
    """A remark on a base URL whose host the definition does not list: it will be given the secrets."""
    host = urlsplit(base_url).hostname or ""
    if definition.covers_host(host):
        return None
    return f"{host} is not a known host of {definition.title} ({', '.join(definition.hosts)})"


def warnings_of(definition: Definition) -> list[str]:
    """What whoever registers a job should know about its provider."""
    retired = definition.retired
    return [] if retired is None else [f"{definition.title}: {retired.notice} (since {retired.since.isoformat()})"]


def pointer(*steps: str) -> str:
    """An RFC 6901 pointer."""
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


def _id_faults(definition: Definition, provider_job_id: object) -> Iterator[Fault]:
    where = pointer("provider_job_id")
    rule = definition.provider_job_id
    if not isinstance(provider_job_id, str) or not provider_job_id:
        yield Fault(where, "a text that is not empty", "invalid_type")
    elif not _is_plain(provider_job_id, ID_CHARACTERS_MAX) or not rule.pattern.fits(provider_job_id):
        detail = f"an id of {definition.title} matches {rule.pattern.source} and looks like {rule.example}"
        yield Fault(where, detail, "invalid_format")
    elif WALKS & set(provider_job_id.split("/")):
        yield Fault(where, "an id has no empty part, '.' or '..'", "invalid_format")


def _param_faults(
    definition: Definition, names: Iterable[str], params: Mapping[str, object], owner: str
) -> Iterator[Fault]:
    known = list(names)
    for name, value in params.items():
        if name in known:
            yield from _value_faults(name, definition.params[name], value)
        elif name in definition.params:
            detail = f"is given with a {definition.params[name].source}, not with {owner}"
            yield Fault(pointer("params", name), detail, "unknown_param")
        else:
            detail = f"{definition.title} has no such param for {owner}; {_listing(known)}"
            yield Fault(pointer("params", name), detail, "unknown_param")
    for name in known:
        if name not in params and definition.params[name].is_required:
            about = definition.params[name].about
            yield Fault(pointer("params", name), f"is missing{f': {about}' if about else ''}", "missing")


def _value_faults(name: str, param: Param, value: object) -> Iterator[Fault]:
    where = pointer("params", name)
    if not isinstance(value, str):
        yield Fault(where, "a text", "invalid_type")
    elif param.choices is not None:
        if value not in param.choices:
            yield Fault(where, f"one of {', '.join(param.choices)}", "invalid_choice")
    elif not _is_plain(value, VALUE_CHARACTERS_MAX) or not param.pattern.fits(value):
        detail = f"matches {param.pattern.source}" + (f" and looks like {param.example}" if param.example else "")
        yield Fault(where, detail, "invalid_format")
    elif WALKS & set(value.split("/")):
        yield Fault(where, "has no empty part, '.' or '..'", "invalid_format")


def _secret_faults(definition: Definition, secrets: Mapping[str, object]) -> Iterator[Fault]:
    for name, value in secrets.items():
        where = pointer("secrets", name)
        if name not in definition.secrets:
            detail = f"{definition.title} has no such secret; {_listing(definition.secret_names())}"
            yield Fault(where, detail, "unknown_secret")
        elif not isinstance(value, str) or not value:
            yield Fault(where, "a text that is not empty", "invalid_type")
        elif len(value) > SECRET_CHARACTERS_MAX or not HEADER_SAFE.fullmatch(value):
            yield Fault(where, "printable ASCII without space around it (a line break came along?)", "invalid_format")
    given = {name: str(value) for name, value in secrets.items() if value}
    if usable_way(definition.auth, given) is None:
        yield from _missing_secrets(definition, given)


def _missing_secrets(definition: Definition, given: Mapping[str, str]) -> Iterator[Fault]:
    """What the way lacks that was begun; or, when none was, what there is to choose from."""
    begun = next((way for way in definition.auth if any(name in given for name in way.secrets)), None)
    if begun is None and len(definition.auth) == 1:
        begun = definition.auth[0]
    if begun is None:
        ways = "; or ".join(" and ".join(way.secrets) for way in definition.auth)
        yield Fault(pointer("secrets"), f"{definition.title} needs {ways}", "missing")
        return
    for name in begun.secrets:
        if name not in given:
            about = definition.secrets[name].about
            yield Fault(pointer("secrets", name), f"is missing{f': {about}' if about else ''}", "missing")


def _base_url_faults(base_url: object) -> Iterator[Fault]:
    where = pointer("base_url")
    if not isinstance(base_url, str) or len(base_url) > URL_CHARACTERS_MAX:
        yield Fault(where, "a URL", "invalid_type")
        return
    try:
        parts = urlsplit(base_url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        yield Fault(where, "not a URL", "invalid_url")
        return
    if not is_whole or not base_url.isascii() or not base_url.isprintable() or " " in base_url:
        yield Fault(where, "scheme, host and perhaps a path, such as https://api.example.com", "invalid_url")
    elif parts.query or parts.fragment or "@" in parts.netloc or ".." in parts.path.split("/"):
        yield Fault(where, "without user, query, fragment or '..'", "invalid_url")


def _is_plain(value: str, characters_max: int) -> bool:
    """True for printable ASCII of a sane length: it may stand in a header as well."""
    return len(value) <= characters_max and value.isascii() and value.isprintable()


def _listing(names: Iterable[str]) -> str:
    known = ", ".join(names)
    return f"known: {known}" if known else "it takes none"
