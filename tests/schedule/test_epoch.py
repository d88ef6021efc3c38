"""Noticing that Redis forgot."""

from pathlib import Path

from redis.asyncio import Redis

from relay.clock import Clock
from relay.embedded import EmbeddedRedis
from relay.schedule import Epoch, connect


async def test_an_empty_redis_is_lost_until_it_is_marked(redis: Redis) -> None:
    epoch = Epoch(redis, Clock())
    assert await epoch.is_lost()
    assert await epoch.is_lost()
    assert await epoch.mark()
    assert not await epoch.is_lost()
    assert not await Epoch(redis, Clock()).is_lost()


async def test_a_flush_is_noticed(redis: Redis) -> None:
    epoch = Epoch(redis, Clock())
    await epoch.is_lost()
    await epoch.mark()
    await redis.flushdb()
    assert await epoch.is_lost()


async def test_a_flush_while_rebuilding_is_noticed(redis: Redis) -> None:
    epoch = Epoch(redis, Clock())
    await epoch.is_lost()
    await redis.flushdb()
    assert not await epoch.mark()
    assert await epoch.is_lost()


async def test_another_server_with_the_old_data_is_noticed(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        redis = connect(server.url)
        epoch = Epoch(redis, Clock())
        await epoch.is_lost()
        await epoch.mark()
        held = await redis.get("relay:epoch")
        server.stop()
        server.start()
        await redis.set("relay:epoch", held)
        assert await epoch.is_lost()
        await redis.aclose()


class HandClock(Clock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


async def test_who_only_asks_learns_for_how_long_he_knew_and_changes_nothing(redis: Redis) -> None:
    clock = HandClock()
    asking, worker = Epoch(redis, clock), Epoch(redis, Clock())
    assert await asking.lost_seconds() == 0
    clock.at += 7
    assert await asking.lost_seconds() == 7
    assert await redis.exists("relay:epoch") == 0
    assert await worker.is_lost()
    clock.at += 1
    assert await asking.lost_seconds() == 8  # somebody rebuilds, and has not ended
    assert await worker.mark()
    assert await asking.lost_seconds() == 0


async def test_the_next_loss_counts_from_when_it_is_seen(redis: Redis) -> None:
    clock = HandClock()
    epoch = Epoch(redis, clock)
    await epoch.lost_seconds()
    await epoch.is_lost()
    await epoch.mark()
    clock.at += 100
    await epoch.lost_seconds()
    await redis.flushdb()
    assert await epoch.lost_seconds() == 0
    clock.at += 2
    assert await epoch.lost_seconds() == 2
