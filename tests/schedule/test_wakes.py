"""Hearing at once what became due."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from relay.clock import Clock
from relay.embedded import EmbeddedRedis
from relay.schedule import Item, Limits, Schedule, connect
from tests.schedule.ticks import LEASE_MS, MakeSchedule

LONG_SECONDS = 30.0
SOON_SECONDS = 5.0


async def hears(sleeper: Schedule, act: Callable[[], Awaitable[Any]]) -> bool:
    """Whether somebody who sleeps, listening already, is woken by what is done."""
    await settle_down(sleeper)
    sleeping = asyncio.create_task(sleeper.wait(LONG_SECONDS))
    await asyncio.sleep(0)
    await act()
    await asyncio.wait([sleeping], timeout=0.2)
    is_woken = sleeping.done()
    sleeping.cancel()
    return is_woken


async def settle_down(sleeper: Schedule) -> None:
    """Being subscribed is news of its own: have it behind us."""
    deadline = time.monotonic() + SOON_SECONDS
    while (wait := await asyncio.wait_for(timed(sleeper.wait(0.1)), SOON_SECONDS)) < 0.1:
        await sleeper.lease(0, LEASE_MS)
        assert time.monotonic() < deadline, wait
    await sleeper.lease(0, LEASE_MS)


async def timed(waiting: Awaitable[object]) -> float:
    before = time.monotonic()
    await waiting
    return time.monotonic() - before


async def test_a_sleeper_is_woken_by_what_is_due_now(make_schedule: MakeSchedule) -> None:
    sleeper, other = make_schedule(), make_schedule()
    assert await hears(sleeper, lambda: other.put([Item("g", "a")]))


async def test_a_sleeper_is_woken_by_what_is_due_before_it_would_ask_again(make_schedule: MakeSchedule) -> None:
    sleeper, other = make_schedule(), make_schedule()
    assert await hears(sleeper, lambda: other.put([Item("g", "a", 700)]))
    assert not await hears(sleeper, lambda: other.put([Item("g", "b", 900)]))
    assert await hears(sleeper, lambda: other.put([Item("g", "c", 100)]))


async def test_a_sleeper_is_left_alone_by_what_is_due_later_or_elsewhere(make_schedule: MakeSchedule) -> None:
    sleeper, other, elsewhere = make_schedule(), make_schedule(), make_schedule("deliver")
    assert not await hears(sleeper, lambda: other.put([Item("g", "a", 60_000)]))
    assert not await hears(sleeper, lambda: elsewhere.put([Item("g", "b")]))
    await other.hold("held", 60_000)
    assert not await hears(sleeper, lambda: other.put([Item("held", "c")]))


async def test_a_sleeper_is_woken_by_what_is_set_free(make_schedule: MakeSchedule) -> None:
    sleeper, other = make_schedule(), make_schedule()
    await other.limit("g", Limits(interval_ms=100_000, concurrency=1), "v")
    await other.put([Item("g", "a"), Item("g", "b"), Item("g", "c")])
    await other.hold("g", 60_000)
    assert await hears(sleeper, lambda: other.release("g"))
    assert len((await other.lease(5, LEASE_MS))[0]) == 1
    assert not await hears(sleeper, lambda: other.restart_rate("g"))
    assert await hears(sleeper, lambda: other.limit("g", Limits(concurrency=2), "v2"))


async def test_what_came_between_lease_and_wait_is_not_missed(make_schedule: MakeSchedule) -> None:
    sleeper, other = make_schedule(), make_schedule()
    await settle_down(sleeper)
    await other.put([Item("g", "a")])
    assert await timed(sleeper.wait(LONG_SECONDS)) < SOON_SECONDS
    assert await timed(sleeper.wait(LONG_SECONDS)) < SOON_SECONDS  # it stays news until it is looked at
    await sleeper.lease(0, LEASE_MS)
    assert await timed(sleeper.wait(0.1)) >= 0.09


async def test_many_puts_wake_once(make_schedule: MakeSchedule, redis: Redis) -> None:
    schedule = make_schedule()
    async with redis.pubsub() as ear:
        await ear.subscribe("relay:wake:poll")
        await ear.get_message(timeout=SOON_SECONDS)
        for number in range(500):
            await schedule.put([Item("g", str(number))])
        assert (await ear.get_message(timeout=SOON_SECONDS))["type"] == "message"
        assert await ear.get_message(timeout=0.1) is None


async def test_a_wait_without_news_takes_its_time(make_schedule: MakeSchedule) -> None:
    sleeper = make_schedule()
    await settle_down(sleeper)
    assert 0.14 < await timed(sleeper.wait(0.15)) < SOON_SECONDS


async def test_sleepers_of_one_process_share_a_subscription(make_schedule: MakeSchedule, redis: Redis) -> None:
    sleeper = make_schedule()
    await settle_down(sleeper)
    sleeping = [asyncio.create_task(sleeper.wait(LONG_SECONDS)) for _ in range(5)]
    await asyncio.sleep(0)
    assert await redis.pubsub_numsub("relay:wake:poll") == [("relay:wake:poll", 1)]
    await sleeper.put([Item("g", "a")])
    done, _ = await asyncio.wait(sleeping, timeout=SOON_SECONDS)
    assert len(done) == 5


@pytest.mark.parametrize("is_killed", [True, False])
async def test_listening_survives_a_restart_and_waits_go_on_without(tmp_path: Path, is_killed: bool) -> None:
    with EmbeddedRedis(tmp_path) as server:
        redis = connect(server.url)
        sleeper, other = (Schedule(redis, "poll", Clock()) for _ in range(2))
        await settle_down(sleeper)
        if is_killed:
            await redis.client_kill_filter(_type="pubsub")
        else:
            server.stop()
            assert await timed(sleeper.wait(0.1)) >= 0.09
            server.start()
        assert await timed(sleeper.wait(LONG_SECONDS)) < SOON_SECONDS  # subscribed again: something may be new
        assert await hears(sleeper, lambda: other.put([Item("g", "a")]))
        await sleeper.close()
        await redis.aclose()
