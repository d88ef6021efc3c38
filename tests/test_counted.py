"""What workers do is counted and logged once, whoever did it."""

from typing import Any

from structlog.testing import capture_logs

from relay import metrics
from relay.bootstrap import Relay
from relay.domain.job import Job, JobStatus
from relay.sweep import Sweep
from tests.provider_stub import CREDENTIALS, Providers, fish, stub
from tests.receivers import Receiver, answering
from tests.swift import ShiftedClock
from tests.trips import TENANT, living, make_credential, make_subscription, watch, working

FISH = "fishspeech"
STATIONS = ("poll", "deliver")


def endings(status: str) -> float:
    """How many jobs were counted that ended so."""
    return metrics.REGISTRY.get_sample_value("relay_job_endings_total", {"provider": FISH, "status": status}) or 0.0


def taken(station: str) -> float:
    """Of how many things it was counted how late they were."""
    return metrics.REGISTRY.get_sample_value("relay_lateness_seconds_count", {"station": station}) or 0.0


async def sign_in(relay: Relay, base_url: str = "http://127.0.0.1:1") -> None:
    assert await relay.steer.add_credential(make_credential(relay, FISH, base_url, **CREDENTIALS[FISH]))


async def overdue(relay: Relay, clock: ShiftedClock) -> list[Job]:
    """A job whose deadline passed long ago, as the sweep finds it."""
    await watch(relay, FISH, "task_1", deadline_seconds=1.0)
    clock.shift_seconds += 60
    return await relay.store.overdue_jobs(relay.clock.now(), 9)


async def tick(sweep: Sweep) -> None:
    """A tick on a schedule that is whole; the first one makes it so."""
    await sweep.tick()
    await sweep.tick()


async def test_both_stations_count_how_late_they_took_what_was_due(database_url: str, redis_url: str) -> None:
    before = {station: taken(station) for station in STATIONS}
    providers = Providers({"task_1": [fish("processing"), fish("completed", audioUrl="https://x.example/a")]})
    async with living(database_url, redis_url) as relay, stub(providers) as server, Receiver(answering(204)) as inbox:
        await sign_in(relay, server.url(""))
        await relay.steer.add_subscription(make_subscription(relay, inbox.url()))
        await watch(relay, FISH, "task_1")
        async with working(relay):
            await inbox.heard(1)
    assert taken("poll") - before["poll"] >= len(providers.looks) == 2
    assert taken("deliver") - before["deliver"] >= 1


async def test_a_job_that_its_owner_cancels_has_ended_once(database_url: str, redis_url: str) -> None:
    before = endings("cancelled")
    async with living(database_url, redis_url) as relay:
        await sign_in(relay)
        job_id = await watch(relay, FISH, "task_1")
        with capture_logs() as logs:
            for _ in range(2):
                cancelled = await relay.steer.cancel_job(TENANT, job_id)
                assert cancelled is not None
                assert cancelled.status is JobStatus.CANCELLED
    assert endings("cancelled") - before == 1
    assert [(line["job"], line["status"]) for line in logs if line["event"] == "job_ended"] == [(job_id, "cancelled")]


async def test_a_job_that_the_sweep_expires_is_counted_and_logged(database_url: str, redis_url: str) -> None:
    before, clock = endings("expired"), ShiftedClock()
    async with living(database_url, redis_url, clock) as relay:
        await sign_in(relay)
        (job,) = await overdue(relay, clock)
        with capture_logs() as logs:
            await tick(relay.sweep)
        assert await relay.polls.missing([(job.credential_id, job.id)])
    assert endings("expired") - before == 1
    assert [(line["job"], line["status"]) for line in logs if line["event"] == "job_ended"] == [(job.id, "expired")]


class Behind:
    """The store as it is for somebody who read the overdue jobs a moment too early."""

    def __init__(self, store: Any, jobs: list[Job]) -> None:
        self._store = store
        self._jobs = jobs

    async def overdue_jobs(self, *_: Any) -> list[Job]:
        return self._jobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_sweep_that_comes_second_counts_nothing(database_url: str, redis_url: str) -> None:
    before, clock = endings("expired"), ShiftedClock()
    async with living(database_url, redis_url, clock) as relay:
        await sign_in(relay)
        (job,) = await overdue(relay, clock)
        await relay.steer.cancel_job(TENANT, job.id)
        store: Any = Behind(relay.store, [job])
        late = Sweep(store, relay.polls, relay.deliveries, relay.epoch, relay.announcer, relay.catalog, relay.clock, 30)
        with capture_logs() as logs:
            await tick(late)
        assert await relay.store.count_jobs(TENANT) == {"cancelled": 1}
    assert endings("expired") == before
    assert "job_ended" not in [line["event"] for line in logs]
