"""Noticing that Redis forgot."""

from pathlib import Path

from redis.asyncio import Redis

from relay.embedded import EmbeddedRedis
from relay.schedule import Epoch, connect


async def test_an_empty_redis_is_lost_until_it_is_marked(redis: Redis) -> None:
    epoch = Epoch(redis)
    assert await epoch.is_lost()
    assert await epoch.is_lost()
    assert await epoch.mark()
    assert not await epoch.is_lost()
    assert not await Epoch(redis).is_lost()


async def test_a_flush_is_noticed(redis: Redis) -> None:
    epoch = Epoch(redis)
    await epoch.is_lost()
    await epoch.mark()
    await redis.flushdb()
    assert await epoch.is_lost()


async def test_a_flush_while_rebuilding_is_noticed(redis: Redis) -> None:
    epoch = Epoch(redis)
    await epoch.is_lost()
    await redis.flushdb()
    assert not await epoch.mark()
    assert await epoch.is_lost()


async def test_another_server_with_the_old_data_is_noticed(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        redis = connect(server.url)
        epoch = Epoch(redis)
        await epoch.is_lost()
        await epoch.mark()
        held = await redis.get("relay:epoch")
        server.stop()
        server.start()
        await redis.set("relay:epoch", held)
        assert await epoch.is_lost()
        await redis.aclose()
