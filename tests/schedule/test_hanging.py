"""A Redis that accepts and says nothing: found out once, then nobody waits for it until it answers again."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from redis.asyncio import Redis

from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.schedule import Allowance, Item, News, Schedule
from relay.schedule.connection import ANSWER_TIMEOUT_SECONDS, CONNECTIONS_MAX
from tests.trips import until

FOUND_OUT_SECONDS = ANSWER_TIMEOUT_SECONDS + 1.0
AT_ONCE_SECONDS = 0.2


@pytest.fixture
async def schedule(own_redis: Redis) -> AsyncIterator[Schedule]:
    schedule = Schedule(own_redis, "poll", Clock())
    yield schedule
    await schedule.close()


async def pid_of(redis: Redis) -> int:
    told: dict[str, int] = await redis.info("server")
    return told["process_id"]


@contextmanager
def hanging(pid: int) -> Iterator[None]:
    """The process stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def is_away_at_once(schedule: Schedule) -> bool:
    began = time.monotonic()
    with pytest.raises(Unreachable):
        await schedule.put([Item("g", "a")])
    return time.monotonic() - began < AT_ONCE_SECONDS


async def test_a_server_that_hangs_is_found_out_once_and_recovers_by_itself(
    schedule: Schedule, own_redis: Redis
) -> None:
    await schedule.put([Item("g", "a")])
    with hanging(await pid_of(own_redis)):
        await until(lambda: is_away_at_once(schedule), FOUND_OUT_SECONDS)
        for _ in range(200):
            assert await is_away_at_once(schedule)

    async def is_back() -> bool:
        try:
            await schedule.put([Item("g", "b")])
        except Unreachable:
            return False
        return True

    await until(is_back, 2.0)
    assert (await schedule.counts()).due == 2


async def test_those_who_queue_for_a_connection_hear_that_the_server_hangs(
    schedule: Schedule, own_redis: Redis
) -> None:
    with hanging(await pid_of(own_redis)):
        began = time.monotonic()
        calls = [schedule.counts() for _ in range(CONNECTIONS_MAX * 8)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < FOUND_OUT_SECONDS
    assert {type(answer) for answer in answers} == {Unreachable}


async def test_a_call_that_was_broken_off_casts_no_lasting_doubt(schedule: Schedule, own_redis: Redis) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await own_redis.blpop(["nothing is put here"], 2)
    for _ in range(20):
        await schedule.counts()


async def test_an_allowance_does_not_keep_its_caller_waiting_and_counts_again_afterwards(own_redis: Redis) -> None:
    allowance = Allowance(own_redis, 1, 10)
    assert (await allowance.take("a")).remaining == 9

    async def is_granted_at_once() -> bool:
        began = time.monotonic()
        assert await allowance.take("a") == (True, 10, 0)
        took = time.monotonic() - began
        assert took < 0.5
        return took < 0.05

    with hanging(await pid_of(own_redis)):
        await until(is_granted_at_once, FOUND_OUT_SECONDS)
        assert all([await is_granted_at_once() for _ in range(100)])

    async def is_counted() -> bool:
        return (await allowance.take("a")).remaining < 9

    await until(is_counted, 2.0)


async def test_who_heard_nothing_from_a_server_that_hung_is_sent_to_look(own_redis: Redis) -> None:
    news = News(own_redis, Clock())
    pid = await pid_of(own_redis)
    with news.watching("a topic") as heard:
        await until(lambda: news.is_hearing)
        heard.clear()
        with hanging(pid):
            await until(lambda: not news.is_hearing)  # a PING is not answered
            assert not heard.is_set()
        async with asyncio.timeout(2.0):
            await heard.wait()
        assert news.is_hearing
    await news.close()
