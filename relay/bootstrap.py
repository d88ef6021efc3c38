"""The only file that knows every concrete class: it builds the house and takes it down again."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from redis.asyncio import Redis

from relay import __version__
from relay.announce import FIRST_IN_FLIGHT, Announcer
from relay.clock import Clock
from relay.deliver import Deliver
from relay.domain.credential import Credential, CredentialStatus
from relay.domain.errors import BadSettings, Fault, Unreachable
from relay.domain.ids import make_id
from relay.egress import Egress, Guard
from relay.looking.desk import Desk
from relay.looking.errands import Errands
from relay.looking.ledger import Ledger
from relay.looking.looks import Looks
from relay.looking.rounds import Rounds
from relay.looking.standing import Standing
from relay.poll import Poll
from relay.providers.catalog import Catalog
from relay.providers.definition import Definition
from relay.reception import Reception
from relay.register import Register
from relay.result import Results
from relay.schedule import Epoch, Limits, News, Noticeboard, Schedule, Turns, connect
from relay.settings import Settings, provider_variables
from relay.steer import Steer
from relay.store import Cipher, Store, open_store
from relay.submit import Submit
from relay.sweep import Sweep
from relay.tokens import Tokens
from relay.webhooks.handshake import Handshake
from relay.webhooks.probe import Probe
from relay.webhooks.sender import Sender

log = structlog.get_logger(__name__)

DEFAULT_TENANT = "default"
DEFAULT_CREDENTIAL = "default"
POLL_LIMITS = Limits(interval_ms=0, burst=1, concurrency=10)
DELIVERY_LIMITS = Limits(concurrency=FIRST_IN_FLIGHT)  # of subscriptions that Redis has not heard of yet


@dataclass(frozen=True, slots=True)
class Relay:
    """The whole house, for the doors to stand on."""

    settings: Settings
    clock: Clock
    store: Store
    catalog: Catalog
    tokens: Tokens
    guard: Guard
    egress: Egress
    redis: Redis
    polls: Schedule
    deliveries: Schedule
    epoch: Epoch
    announcer: Announcer
    register: Register
    submit: Submit
    steer: Steer
    poll: Poll
    deliver: Deliver
    sweep: Sweep
    results: Results
    handshake: Handshake
    probe: Probe
    turns: Turns
    news: News
    noticeboard: Noticeboard


@asynccontextmanager
async def open_relay(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Relay]:
    """
    The house, built; everything is closed on the way out.

    Raises BadSettings, BadDefinition. Neither Redis nor the database needs to answer yet.
    """
    clock = clock or Clock()
    catalog = Catalog.load(Path(settings.relay_providers_dir) if settings.relay_providers_dir else None)
    store = open_store(settings.database_url, Cipher(settings.secret_keys))
    redis = connect(settings.redis_url)
    guard = Guard(settings.relay_egress_allow, settings.relay_allow_http)
    egress = Egress(guard, user_agent=f"relay/{__version__}", proxy=settings.relay_egress_proxy, clock=clock)
    polls = Schedule(redis, "poll", clock, default_limits=POLL_LIMITS)
    deliveries = Schedule(redis, "deliver", clock, default_limits=DELIVERY_LIMITS, has_deadlines=True)
    news = News(redis, clock)
    relay = _build(settings, clock, catalog, store, redis, guard, egress, polls, deliveries, news)
    try:
        yield relay
    finally:
        await relay.submit.close(settings.relay_shutdown_seconds)
        await relay.results.close()
        await news.close()
        await polls.close()
        await deliveries.close()
        await egress.close()
        await redis.aclose()
        await store.close()


def _build(
    settings: Settings,
    clock: Clock,
    catalog: Catalog,
    store: Store,
    redis: Redis,
    guard: Guard,
    egress: Egress,
    polls: Schedule,
    deliveries: Schedule,
    news: News,
) -> Relay:
    tokens = Tokens(settings.secret_keys)
    epoch = Epoch(redis, clock)
    announcer = Announcer(store, deliveries, news, tokens, clock, settings.public_url)
    desk = Desk(store, catalog, clock)
    noticeboard = Noticeboard(redis)
    standing = Standing(store, polls, announcer, desk, noticeboard, clock)
    ledger = Ledger(store, announcer, desk, clock)
    looks = Looks(polls, standing, egress, clock)
    rounds = Rounds(polls, desk, looks, standing, ledger, egress, clock)
    errands, turns = Errands(polls, standing, egress, clock), Turns(redis, clock)
    register = Register(store, polls, catalog, guard, clock, settings.relay_job_deadline_seconds)
    sender = Sender(egress, clock, settings.public_url, settings.relay_delivery_timeout_seconds)
    return Relay(
        settings=settings,
        clock=clock,
        store=store,
        catalog=catalog,
        tokens=tokens,
        guard=guard,
        egress=egress,
        redis=redis,
        polls=polls,
        deliveries=deliveries,
        epoch=epoch,
        announcer=announcer,
        register=register,
        submit=Submit(register, store, catalog, errands, turns, clock),
        steer=Steer(store, polls, deliveries, announcer, catalog, clock),
        poll=Poll(polls, desk, looks, rounds, standing, ledger, clock),
        deliver=Deliver(
            store,
            deliveries,
            announcer,
            Reception(store, deliveries, announcer, clock, settings.relay_disable_after_hours),
            sender,
            clock,
            settings.relay_retry_schedule,
        ),
        sweep=Sweep(store, polls, deliveries, epoch, announcer, catalog, clock, settings.relay_retention_days),
        results=Results(store, catalog, errands, turns, clock),
        handshake=Handshake(egress, settings.public_url, settings.relay_delivery_timeout_seconds),
        probe=Probe(egress, clock, settings.public_url, settings.relay_delivery_timeout_seconds),
        turns=turns,
        news=news,
        noticeboard=noticeboard,
    )


async def ensure_environment_credentials(relay: Relay) -> None:
    """
    Writes the credentials that the environment names (`RELAY_<PROVIDER>_<SECRET>`) for tenant `default`.

    Raises BadSettings for a set that is not whole; a variable that nobody knows is only warned about.
    """
    told = provider_variables()
    credentials, faults = _environment_credentials(relay, told)
    for name in told:
        log.warning("unknown_variable", variable=name, fix="no setting and no provider's secret has this name")
    if faults:
        raise BadSettings(faults)
    for credential in credentials:
        await relay.store.put_credential(credential)


async def rehearse(settings: Settings) -> None:
    """
    Raises BadSettings or BadDefinition with all that would keep a process of the relay from starting; nothing is
    written. For whoever starts a server next, which could tell it only as a traceback.

    A database that is away is none of that: it may come.
    """
    async with open_relay(settings) as relay:
        _, faults = _environment_credentials(relay, provider_variables())
        try:
            await check_database(relay.store)
        except Unreachable:
            pass
        except BadSettings as error:
            faults = [*error.faults, *faults]
    if faults:
        raise BadSettings(faults)


def _environment_credentials(relay: Relay, told: dict[str, str]) -> tuple[list[Credential], list[str]]:
    """The whole credentials that `told` names, and the faults of the others; it loses the variables of both."""
    credentials: list[Credential] = []
    faults: list[str] = []
    for definition in relay.catalog:
        secrets, params = _taken(told, definition)
        if not secrets and not params:
            continue
        wrong = relay.register.check_credential(definition.name, secrets, params, None)
        faults += [_in_variables(definition, fault) for fault in wrong]
        if not wrong:
            credentials.append(_credential(relay.clock, definition, secrets, params))
    return credentials, faults


def _in_variables(definition: Definition, fault: Fault) -> str:
    """A credential's fault, said of the variable that it stands in or that is missing."""
    prefix = _prefix(definition)
    kind, _, name = fault.pointer.removeprefix("/").partition("/")
    if name:
        return f"{prefix}{name.upper()}: {fault.detail}"
    known = definition.secret_names() if kind == "secrets" else definition.credential_param_names()
    return f"{', '.join(prefix + one.upper() for one in known)}: {fault.detail}"


def _taken(told: dict[str, str], definition: Definition) -> tuple[dict[str, str], dict[str, str]]:
    """The provider's secrets and params out of `told`, from which they are removed."""
    prefix = _prefix(definition)
    secrets = {
        name: told.pop(prefix + name.upper()) for name in definition.secret_names() if prefix + name.upper() in told
    }
    params = {
        name: told.pop(prefix + name.upper())
        for name in definition.credential_param_names()
        if prefix + name.upper() in told
    }
    return secrets, params


def _prefix(definition: Definition) -> str:
    return f"RELAY_{definition.name.upper()}_"


def _credential(clock: Clock, definition: Definition, secrets: dict[str, str], params: dict[str, str]) -> Credential:
    now = clock.now()
    # Every process derives the same id, so that two that start at once write one row.
    seed = hashlib.sha256(f"{DEFAULT_TENANT}/{definition.name}/{DEFAULT_CREDENTIAL}".encode()).digest()
    return Credential(
        id=make_id("crd", 0, seed),
        tenant=DEFAULT_TENANT,
        name=DEFAULT_CREDENTIAL,
        provider=definition.name,
        secrets=secrets,
        params=params,
        base_url=None,
        max_requests_per_second=None,
        max_concurrency=None,
        status=CredentialStatus.ACTIVE,
        status_reason=None,
        throttled_until=None,
        created_at=now,
        updated_at=now,
    )


async def check_database(store: Store) -> None:
    """Raises BadSettings when the database is behind this version's migrations; Unreachable when it is away."""
    current, head = await store.revision()
    if current is None or current < head:
        raise BadSettings(
            [f"DATABASE_URL: the database is at {current or 'nothing'}, {head} is needed; run `relay migrate`"]
        )
