"""A living relay inside a test: the real parts on real sockets, the stations running as a worker runs them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from relay.bootstrap import Relay, open_relay
from relay.clock import Clock
from relay.domain.credential import Credential, CredentialStatus
from relay.domain.subscription import JOB_EVENTS, Filter, SigningSecret, Subscription, SubscriptionStatus
from relay.register import JobRequest
from relay.settings import Settings, load
from relay.store import migrate
from tests.receivers import Call

TENANT = "acme"
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes !!!").decode()
DEADLINE_SECONDS = 30.0


def settings_for(database_url: str, redis_url: str, **more: str) -> Settings:
    """Settings of a relay that may reach loopback."""
    return load(
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "RELAY_SECRET_KEY": "a secret key for tests that is long enough",
            "RELAY_EGRESS_ALLOW": "127.0.0.0/8",
            "RELAY_ALLOW_HTTP": "true",
            "RELAY_PUBLIC_URL": "http://relay.example",
            **more,
        }
    )


@asynccontextmanager
async def working(relay: Relay, drains: int = 1) -> AsyncIterator[None]:
    """The stations at work, as in `drains` workers, and the sweep beside them."""
    stopping = asyncio.Event()

    async def keep(station: Any) -> None:
        while not stopping.is_set():
            await station.drain(5.0, stopping)

    async def sweep() -> None:
        while not stopping.is_set():
            await relay.sweep.tick()
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 0.2)

    tasks = [asyncio.create_task(keep(one)) for one in [relay.poll, relay.deliver] * drains]
    tasks.append(asyncio.create_task(sweep()))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)


@asynccontextmanager
async def living(database_url: str, redis_url: str, clock: Clock | None = None, **more: str) -> AsyncIterator[Relay]:
    """A relay on a migrated database, its stations not yet at work."""
    settings = settings_for(database_url, redis_url, **more)
    await migrate(settings.database_url)
    async with open_relay(settings, clock) as relay:
        await relay.epoch.mark()
        yield relay


async def until(condition: Callable[[], Any], within_seconds: float = DEADLINE_SECONDS) -> Any:
    """The condition's first true answer (it may be a coroutine function); TimeoutError when there is none."""
    async with asyncio.timeout(within_seconds):
        while True:
            answer = condition()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(0.02)


def make_credential(relay: Relay, provider: str, base_url: str, **more: Any) -> Credential:
    """A credential of the test's tenant, not yet written."""
    now = relay.clock.now()
    told = {
        "id": relay.clock.new_id("crd"),
        "tenant": TENANT,
        "name": "main",
        "provider": provider,
        "secrets": {},
        "params": {},
        "base_url": base_url,
        "max_requests_per_second": 200.0,
        "max_concurrency": 50,
        "status": CredentialStatus.ACTIVE,
        "status_reason": None,
        "throttled_until": None,
        "created_at": now,
        "updated_at": now,
        **more,
    }
    return Credential(**told)


def make_subscription(relay: Relay, url: str, **more: Any) -> Subscription:
    """An active subscription of the test's tenant to all endings, not yet written."""
    now = relay.clock.now()
    told = {
        "id": relay.clock.new_id("sub"),
        "tenant": TENANT,
        "url": url,
        "event_types": JOB_EVENTS,
        "filter": Filter(),
        "description": None,
        "metadata": {},
        "headers": {},
        "payload": "full",
        "max_in_flight": 16,
        "secrets": (SigningSecret(SECRET, now, None),),
        "status": SubscriptionStatus.ACTIVE,
        "disabled_reason": None,
        "job_id": None,
        "failing_since": None,
        "last_success_at": None,
        "hold_until": None,
        "created_at": now,
        "updated_at": now,
        **more,
    }
    return Subscription(**told)


async def watch(relay: Relay, provider: str, provider_job_id: str, **more: Any) -> str:
    """Registers a job; its id."""
    (answer,) = await relay.register.jobs(TENANT, [JobRequest(provider, provider_job_id, **more)])
    assert isinstance(answer, tuple), answer
    return answer[0].id


def verified(call: Call, secret: str = SECRET) -> dict[str, Any]:
    """The event a call carries, judged by the official library; raises when it does not verify."""
    event = Webhook(secret).verify(call.body, dict(call.headers))
    assert event["id"] == call.header("webhook-id")
    told: dict[str, Any] = json.loads(call.body)
    return told


def utc(*parts: int) -> datetime:
    """That moment in UTC."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]  # the parts are year, month, day …
