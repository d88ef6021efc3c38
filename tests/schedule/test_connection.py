"""What happens when Redis goes away, comes back, or forgets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError

from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.embedded import EmbeddedRedis
from relay.schedule import Counts, Done, Epoch, Item, Lease, Limits, Schedule, connect, eviction_policy
from relay.schedule.connection import answering
from tests.schedule.ticks import LEASE_MS, ids, lease_all
from tests.trips import until

EVERY_METHOD: dict[str, Callable[[Schedule], Awaitable[Any]]] = {
    "put": lambda schedule: schedule.put([Item("g", "a")]),
    "drop": lambda schedule: schedule.drop("g", ["a"]),
    "due_in_ms": lambda schedule: schedule.due_in_ms("g", ["a"]),
    "memos": lambda schedule: schedule.memos("g", ["a"]),
    "missing": lambda schedule: schedule.missing([("g", "a")]),
    "lease": lambda schedule: schedule.lease(1, LEASE_MS),
    "settle": lambda schedule: schedule.settle([Done(Lease("g", "a", 1, "", "", 0, 0))]),
    "renew": lambda schedule: schedule.renew([Lease("g", "a", 1, "", "", 0, 0)], LEASE_MS),
    "limit": lambda schedule: schedule.limit("g", Limits(), "v"),
    "hold": lambda schedule: schedule.hold("g", 1),
    "release": lambda schedule: schedule.release("g"),
    "restart_rate": lambda schedule: schedule.restart_rate("g"),
    "overdue": lambda schedule: schedule.overdue(),
    "counts": lambda schedule: schedule.counts(),
}


@pytest.fixture
async def schedule(own_redis: Redis) -> AsyncIterator[Schedule]:
    schedule = Schedule(own_redis, "poll", Clock())
    yield schedule
    await schedule.close()


@pytest.mark.parametrize("name", EVERY_METHOD)
async def test_a_redis_that_is_away_is_unreachable(server: EmbeddedRedis, schedule: Schedule, name: str) -> None:
    await EVERY_METHOD[name](schedule)
    server.stop()
    with pytest.raises(Unreachable) as caught:
        await EVERY_METHOD[name](schedule)
    assert caught.value.part == "redis"
    server.start()
    await EVERY_METHOD[name](schedule)


async def test_no_host_of_that_name_is_unreachable() -> None:
    redis = connect("redis://nowhere.invalid:6379/0")
    with pytest.raises(Unreachable):
        await Schedule(redis, "poll", Clock()).counts()
    await redis.aclose()


async def test_a_server_that_accepts_and_keeps_silent_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        redis = connect(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with pytest.raises(Unreachable):
            await Schedule(redis, "poll", Clock()).counts()
        await redis.aclose()


async def test_a_proxy_that_accepts_and_hangs_up_is_unreachable() -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as proxy:
        redis = connect(f"redis://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/0")
        with pytest.raises(Unreachable):
            await Schedule(redis, "poll", Clock()).counts()
        await redis.aclose()


async def test_a_restarted_server_is_used_again(server: EmbeddedRedis, schedule: Schedule) -> None:
    await schedule.put([Item("g", "before")])
    server.stop()
    server.start()
    await schedule.put([Item("g", "after")])
    assert ids(await lease_all(schedule)) == ["after"]


async def test_a_flushed_server_is_used_on(schedule: Schedule, own_redis: Redis) -> None:
    await schedule.limit("g", Limits(concurrency=1), "v")
    await schedule.put([Item("g", "a"), Item("g", "b")])
    [held] = await lease_all(schedule)
    await own_redis.flushall()
    assert await schedule.settle([Done(held)]) == 0
    assert await schedule.missing([("g", "a"), ("g", "b")]) == [("g", "a"), ("g", "b")]
    assert await schedule.counts() == Counts(0, 0)
    await schedule.put([Item("g", "a"), Item("g", "b")])
    again = await lease_all(schedule)
    assert ids(again) == ["a", "b"]
    assert {lease.version for lease in again} == {""}
    assert await schedule.settle([Done(held)]) == 0  # the fence of before the flush fits no lease after it


async def test_forgotten_scripts_are_loaded_again(schedule: Schedule, own_redis: Redis) -> None:
    for method in EVERY_METHOD.values():
        await own_redis.script_flush()
        await method(schedule)
    await schedule.put([Item(f"group {number}", str(number)) for number in range(2000)])
    await own_redis.script_flush()
    assert len(await lease_all(schedule)) == 2000


async def test_flushes_under_way_break_nothing(schedule: Schedule, own_redis: Redis) -> None:
    async def work(name: str) -> None:
        for number in range(60):
            await schedule.put([Item(name, f"{number} {other}") for other in range(5)])
            leases, _ = await schedule.lease(5, LEASE_MS)
            await schedule.settle([Done(lease) for lease in leases])

    async def flush() -> None:
        for _ in range(30):
            await own_redis.flushall()
            await own_redis.script_flush()

    await asyncio.gather(*(work(f"group {number}") for number in range(8)), flush())
    await own_redis.flushall()
    await schedule.put([Item("g", "a")])
    assert ids(await lease_all(schedule)) == ["a"]


async def test_a_full_server_is_unreachable_and_nothing_is_half_done(schedule: Schedule, own_redis: Redis) -> None:
    await schedule.put([Item("g", "a")])
    [lease] = await lease_all(schedule)
    await own_redis.config_set("maxmemory", 1)
    with pytest.raises(Unreachable):
        await schedule.put([Item("g", "b")])
    assert await schedule.counts() == Counts(0, 1)
    assert await schedule.missing([("g", "b")]) == [("g", "b")]
    assert await schedule.lease(5, LEASE_MS) == ([], 1.0)
    assert await schedule.renew([lease], LEASE_MS) == []
    assert await schedule.settle([Done(lease)]) == 1
    assert await schedule.counts() == Counts(0, 0)


@pytest.mark.parametrize("text", ["LOADING Redis is loading", "MISCONF no snapshot", "CLUSTERDOWN hash slot"])
def test_passing_troubles_of_the_server_are_unreachable(text: str) -> None:
    with pytest.raises(Unreachable), answering():
        raise ResponseError(text)


def test_our_own_mistakes_are_not() -> None:
    with pytest.raises(ResponseError), answering():
        raise ResponseError("ERR wrong number of arguments")


async def test_the_eviction_policy_is_told(own_redis: Redis) -> None:
    assert await eviction_policy(own_redis) == "noeviction"
    await own_redis.config_set("maxmemory-policy", "volatile-lru")
    assert await eviction_policy(own_redis) == "volatile-lru"


async def test_who_may_not_ask_for_the_eviction_policy_or_the_run_id_goes_without(
    own_redis: Redis, server: EmbeddedRedis
) -> None:
    await own_redis.acl_setuser(
        "guest", enabled=True, passwords=["+pass"], commands=["+@all", "-config", "-info"], keys=["*"]
    )
    guest = connect(f"unix://guest:pass@{server.socket}")
    assert await eviction_policy(guest) is None
    epoch = Epoch(guest, Clock())
    assert await epoch.is_lost()
    assert await epoch.mark()
    assert not await epoch.is_lost()
    await guest.aclose()


async def test_a_closed_way_stays_closed_and_who_was_on_it_leaves_nothing_open(own_redis: Redis) -> None:
    await own_redis.ping()
    others = [asyncio.create_task(own_redis.blpop(["nothing is put here"], 5)) for _ in range(3)]
    await until(lambda: len(own_redis.connection_pool._in_use_connections) == 3)
    connecting = asyncio.create_task(own_redis.blpop(["nothing is put here"], 5))
    await asyncio.sleep(0)
    await own_redis.connection_pool.disconnect()
    for told in await asyncio.gather(*others, connecting, return_exceptions=True):
        assert isinstance(told, RedisError), told
    with pytest.raises(LostConnection, match="closed"):
        await own_redis.ping()
    pool = own_redis.connection_pool
    assert not any(one.is_connected for one in (*pool._available_connections, *pool._in_use_connections))
