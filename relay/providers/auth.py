"""How requests are signed in: schemes by name, so that a definition can only choose one and not invent one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from relay.egress import Outgoing
from relay.providers import huawei_aksk, jwt_hs256
from relay.providers.definition import Auth, Definition
from relay.providers.template import Template, as_it_is

Secrets = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scheme:
    """`headers` makes the headers to add to a request; `faults` is what a definition can get wrong about it."""

    headers: Callable[[Auth, Secrets, Outgoing, datetime], dict[str, str]]
    faults: Callable[[Auth], list[str]]


def _nothing_more(_way: Auth, _secrets: Secrets, _request: Outgoing, _now: datetime) -> dict[str, str]:
    return {}


def _bearer(way: Auth, secrets: Secrets, _request: Outgoing, _now: datetime) -> dict[str, str]:
    """The first secret of the way as a bearer token (RFC 6750, 2.1)."""
    return {"Authorization": f"Bearer {secrets[way.secrets[0]]}"}


def _aksk(_way: Auth, secrets: Secrets, request: Outgoing, now: datetime) -> dict[str, str]:
    key = huawei_aksk.Key(secrets["access_key"], secrets["secret_key"], secrets.get("security_token"))
    return huawei_aksk.sign(key, request.method, request.url, request.headers, request.body, now=now)


def _jwt(_way: Auth, secrets: Secrets, _request: Outgoing, now: datetime) -> dict[str, str]:
    """A fresh token for each request, as a bearer token."""
    return {"Authorization": f"Bearer {jwt_hs256.token(secrets['access_key'], secrets['secret_key'], now=now)}"}


def _needs_headers(way: Auth) -> list[str]:
    return [] if way.headers else ["headers: the scheme adds nothing by itself"]


def _needs_key_pair(way: Auth) -> list[str]:
    missing = sorted({"access_key", "secret_key"} - set(way.secrets))
    return [f"secrets: the scheme needs {name!r}" for name in missing]


def _needs_nothing(_way: Auth) -> list[str]:
    return []


SCHEMES: dict[str, Scheme] = {
    "header": Scheme(_nothing_more, _needs_headers),
    "bearer": Scheme(_bearer, _needs_nothing),
    "huawei_aksk": Scheme(_aksk, _needs_key_pair),
    "jwt_hs256": Scheme(_jwt, _needs_key_pair),
}


def usable_way(ways: Iterable[Auth], secrets: Secrets) -> Auth | None:
    """The first way whose secrets are all there."""
    return next((way for way in ways if all(secrets.get(name) for name in way.secrets)), None)


def signed_in(
    definition: Definition, secrets: Secrets, params: Mapping[str, str], request: Outgoing, now: datetime
) -> Outgoing:
    """
    `request` with the headers that sign it in. `now` goes into signatures that carry a time.

    Raises LookupError when no way can be used, naming none of the secrets.
    """
    way = usable_way(definition.auth, secrets)
    if way is None:
        raise LookupError(f"{definition.name}: no way to sign in has all its secrets")
    values = {**params, **secrets}
    headers = {**request.headers, **filled(way.headers, values)}
    request = replace(request, headers=headers)
    return replace(request, headers={**headers, **SCHEMES[way.scheme].headers(way, secrets, request, now)})


def filled(templates: Mapping[str, Template], values: Mapping[str, str]) -> dict[str, str]:
    """Headers from their templates; one with a place that has no value is left out."""
    return {
        name: template.fill(values, as_it_is)
        for name, template in templates.items()
        if all(values.get(place) for place in template.names)
    }
