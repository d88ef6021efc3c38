"""Looks at everything a relay stands on, one line each, so that what is wrong is found before a job is late."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from relay.bootstrap import Relay, ensure_environment_credentials, open_relay
from relay.clock import Clock
from relay.dev.account import invented_params
from relay.domain.credential import PROBE_SECONDS, Credential, CredentialStatus
from relay.domain.errors import BadDefinition, BadSettings, Unreachable
from relay.domain.moments import rfc3339
from relay.domain.observation import Observation, Outcome
from relay.egress import Answered, Outgoing
from relay.looking.meter import Meter
from relay.providers.definition import Definition
from relay.providers.look import look
from relay.providers.request import Target
from relay.schedule import eviction_policy
from relay.settings import Settings

ANSWER_SECONDS_MAX = 8.0
CREDENTIALS_MAX = 200
SUBSCRIPTIONS_MAX = 200
SHOWN_MAX = 5
PART = "credential"
MARKS = {True: "✓", False: "✗", None: "·"}
OTHER_KEY = "add the key that was in use when they were stored, after the newest one; or set their secrets anew"
PAGE_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at; `fix` is "" where nothing is to be mended. Neither good nor bad: to be known."""

    is_good: bool | None
    part: str
    said: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{MARKS[self.is_good]} {self.part:<12} {self.said}" + (f" → {self.fix}" if self.fix else "")


async def examine(settings: Settings, tenant: str, clock: Clock) -> AsyncIterator[Line]:
    """
    The state of this environment, with each credential of the tenant tried by one look at a job that does not exist.

    What the environment says of credentials is written to the database, as at every start of the relay.
    """
    yield _settings_line(settings)
    async with AsyncExitStack() as stack:
        try:
            relay = await stack.enter_async_context(open_relay(settings, clock))
        except (BadSettings, BadDefinition) as error:
            for fault in error.faults:
                yield Line(False, "settings", fault)
            return
        yield Line(True, "providers", ", ".join(relay.catalog.names()))
        database = await _database(relay)
        yield database
        migrations = await _migrations(relay) if database.is_good else None
        if migrations is not None:
            yield migrations
        for line in await _redis(relay):
            yield line
        credentials: list[Credential] = []
        unopened: list[str] = []
        if migrations is not None and migrations.is_good:
            for line in await _environment(relay):
                yield line
            credentials = await relay.store.find_credentials(tenant, limit=CREDENTIALS_MAX)
            unopened = [one.id for one in credentials if not await _opens(relay.store.find_credential(tenant, one.id))]
            yield await _secret_key(relay, tenant, credentials, unopened)
        yield await _egress(relay, credentials)
        for credential in credentials:
            if credential.id in unopened:
                yield Line(
                    False, "credential", f"{_named(credential)}: not tried, for no key opens its secrets", OTHER_KEY
                )
            else:
                yield await _credential(relay, credential)


def _settings_line(settings: Settings) -> Line:
    if settings.relay_public_url:
        return Line(True, "settings", f"links in events begin with {settings.public_url}")
    said = f"links in events begin with {settings.public_url}, for RELAY_PUBLIC_URL is not set: fine on one machine"
    return Line(True, "settings", said)


async def _database(relay: Relay) -> Line:
    shown = _without_password(relay.settings.database_url)
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await relay.store.ping()
    except BadSettings as error:
        return Line(False, "database", f"{shown}: {error}")
    except (Unreachable, OSError, TimeoutError) as error:
        return Line(False, "database", f"{shown}: {error or 'no answer'}", "check DATABASE_URL, and that it runs")
    return Line(True, "database", f"{shown} answers")


async def _migrations(relay: Relay) -> Line:
    current, head = await relay.store.revision()
    if current is not None and current >= head:
        return Line(True, "migrations", f"at {current}")
    return Line(False, "migrations", f"at {current or 'nothing'}, {head} is needed", "run `relay migrate`")


async def _redis(relay: Relay) -> list[Line]:
    shown = _without_password(relay.settings.redis_url)
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await relay.redis.ping()
            policy = await eviction_policy(relay.redis)
    except (RedisError, Unreachable, OSError, TimeoutError) as error:
        return [Line(False, "redis", f"{shown}: {error or 'no answer'}", "check REDIS_URL, and that it runs")]
    if policy in (None, "noeviction"):
        said = "evicts nothing" if policy else "does not say whether it evicts; see that it does not"
        return [Line(True, "redis", f"{shown} answers"), Line(True, "redis memory", said)]
    fix = "set maxmemory-policy to noeviction"
    return [Line(True, "redis", f"{shown} answers"), Line(False, "redis memory", f"may evict: {policy}", fix)]


async def _environment(relay: Relay) -> list[Line]:
    try:
        await ensure_environment_credentials(relay)
    except BadSettings as error:
        return [Line(False, "environment", fault, "set the whole of it, or none") for fault in error.faults]
    return []


async def _secret_key(relay: Relay, tenant: str, credentials: list[Credential], unopened: list[str]) -> Line:
    """Whether RELAY_SECRET_KEY opens what is stored: with another one the relay starts, and signs in nowhere."""
    subscriptions = await relay.store.list_subscriptions(tenant, limit=SUBSCRIPTIONS_MAX)
    shut = [f"credential {_named(one)}" for one in credentials if one.id in unopened]
    shut += [
        f"subscription {one.id}"
        for one in subscriptions
        if not await _opens(relay.store.find_subscription(tenant, one.id))
    ]
    if not shut:
        said = f"opens the secrets of credentials ({len(credentials)}) and subscriptions ({len(subscriptions)})"
        return Line(True, "secret key", said)
    count = len(credentials) + len(subscriptions)
    more = f" and {len(shut) - SHOWN_MAX} more" if len(shut) > SHOWN_MAX else ""
    said = (
        f"RELAY_SECRET_KEY opens what {count - len(shut)} of {count} hold, and not {', '.join(shut[:SHOWN_MAX])}{more}"
    )
    return Line(False, "secret key", said, OTHER_KEY)


async def _opens(finding: Coroutine[Any, Any, object]) -> bool:
    try:
        await finding
    except BadSettings:
        return False
    return True


async def _egress(relay: Relay, credentials: list[Credential]) -> Line:
    """One answer from any provider is enough; that of each credential is told with it."""
    used = [(relay.catalog.get(one.provider), one.base_url) for one in credentials]
    urls = {base_url or definition.base_url for definition, base_url in used if definition}
    urls = urls or {definition.base_url for definition in relay.catalog if not definition.retired}
    told = await asyncio.gather(*(_reach(relay, url) for url in sorted(urls)))
    reached = sum(not fault for fault in told)
    if reached:
        return Line(True, "egress", f"{reached} of {len(told)} providers' hosts answer")
    fix = "let port 443 out and names be resolved, or set RELAY_EGRESS_PROXY"
    return Line(False, "egress", f"no provider's host answers: {told[0] if told else 'none is known'}", fix)


async def _reach(relay: Relay, url: str) -> str:
    """Nothing when it answers, whatever it says; else why not."""
    request = Outgoing(method="GET", url=url, timeout_seconds=ANSWER_SECONDS_MAX, body_bytes_max=PAGE_BYTES_MAX)
    said = await relay.egress.send(request)
    return "" if isinstance(said, Answered) else said.detail


async def _credential(relay: Relay, credential: Credential) -> Line:
    definition = relay.catalog.get(credential.provider)
    if definition is None:
        fix = "put its definition into RELAY_PROVIDERS_DIR, or remove the credential"
        return Line(False, PART, f"{_named(credential)}: no provider of that name", fix)
    if credential.is_paused:
        reason = f", {credential.status_reason}" if credential.status_reason else ""
        told = f"{_named(credential)}: {credential.status}{reason}"
        said = f"{told}; not tried, for the relay probes it every {PROBE_SECONDS:.0f} s"
        return Line(False, PART, said, _fixes(credential, definition)[credential.status])
    until = credential.throttled_until
    if credential.status is CredentialStatus.THROTTLED and until is not None and until > relay.clock.now():
        return _held(credential, f"until {rfc3339(until)}")
    params = {**credential.params, **invented_params(definition, definition.job_param_names())}
    target = Target(definition, credential.base_url, credential.secrets, params, definition.provider_job_id.example)
    meter = Meter(relay.egress, relay.polls, relay.clock, credential.id, credential.provider, paid=0)
    try:
        seen = await look(meter, target, relay.clock)
    except (LookupError, ValueError) as error:
        return Line(False, PART, f"{_named(credential)}: {error}", f"PATCH /v1/credentials/{credential.id}")
    return (
        _held(credential, "for longer than one waits here") if meter.is_spent else _judged(credential, definition, seen)
    )


def _judged(credential: Credential, definition: Definition, seen: Observation) -> Line:
    fix = _fixes(credential, definition).get(seen.outcome)
    if fix is not None:
        return Line(False, PART, f"{_named(credential)}: {seen.outcome}, {seen.detail}", fix)
    return Line(True, PART, f"{_named(credential)}: signed in (a job that does not exist is {seen.outcome})")


def _fixes(credential: Credential, definition: Definition) -> dict[str, str]:
    """By what a look has shown, or by the status that earlier looks have left behind."""
    patch = f"PATCH /v1/credentials/{credential.id}"
    secrets = f"{patch} with secrets that {definition.title} takes"
    payment = f"settle the account at {definition.title}"
    return {
        Outcome.AUTH: secrets,
        Outcome.PAYMENT: payment,
        Outcome.TRANSIENT: definition.retired.notice if definition.retired else "check base_url, and try again later",
        CredentialStatus.AUTH_FAILED: secrets,
        CredentialStatus.PAYMENT_REQUIRED: f"{payment}, then {patch} with status active",
        CredentialStatus.UNREACHABLE: f"{patch} with a base_url whose host has an address",
    }


def _held(credential: Credential, how_long: str) -> Line:
    return Line(True, PART, f"{_named(credential)}: not tried, its provider or its budget holds it {how_long}")


def _named(credential: Credential) -> str:
    return f"{credential.provider}/{credential.name}"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return url if parts.password is None else url.replace(f":{parts.password}@", ":…@", 1)
