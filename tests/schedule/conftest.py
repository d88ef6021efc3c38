"""Schedules whose time is an argument, and servers that a test may stop."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from relay.clock import Clock
from relay.embedded import EmbeddedRedis
from relay.schedule import Limits, Schedule, connect
from tests.schedule.ticks import MakeSchedule, Ticks


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def make_schedule(redis: Redis, ticks: Ticks) -> AsyncIterator[MakeSchedule]:
    """Schedules of one station, as several workers have them."""
    made: list[Schedule] = []

    def make(
        station: str = "poll", limits: Limits | None = None, *, is_real: bool = False, has_deadlines: bool = False
    ) -> Schedule:
        clock_ms = None if is_real else ticks
        schedule = Schedule(
            redis, station, Clock(), default_limits=limits, clock_ms=clock_ms, has_deadlines=has_deadlines
        )
        made.append(schedule)
        return schedule

    yield make
    for schedule in made:
        await schedule.close()


@pytest.fixture
def schedule(make_schedule: MakeSchedule) -> Schedule:
    return make_schedule()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server of this test alone, that it may stop."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def own_redis(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    """A client of that server."""
    client = connect(server.url)
    yield client
    await client.aclose()
