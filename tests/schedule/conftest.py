"""Schedules whose time is an argument."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from relay.clock import Clock
from relay.schedule import Limits, Schedule
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
