"""How many ids a second one process can put, lease, renew and settle, and what each costs Redis."""

import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from relay.clock import Clock
from relay.embedded import EmbeddedRedis
from relay.schedule import Done, Item, Later, Lease, Limits, Schedule, connect

IDS = 50_000
GROUPS = (1, 100, 10_000)
BATCHES = (100, 500)
LEASE_MS = 600_000
RESULT = Path(__file__).parent / "results" / "schedule.txt"


async def server_seconds(redis: Redis) -> float:
    """CPU that the server has used."""
    cpu: dict[str, Any] = await redis.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


async def measure(redis: Redis, what: str, count: int, work: Callable[[], Awaitable[object]]) -> str:
    """One line of the result."""
    server, client, wall = await server_seconds(redis), time.process_time(), time.perf_counter()
    await work()
    wall, client = time.perf_counter() - wall, time.process_time() - client
    server = await server_seconds(redis) - server
    return (
        f"  {what:<18}{count / wall:>10,.0f} a second{server / count * 1e6:>8.1f} µs of Redis"
        f"{client / count * 1e6:>8.1f} µs of the client"
    )


async def in_batches(act: Callable[[Any], Awaitable[object]], everything: Sequence[Any], size: int) -> None:
    for start in range(0, len(everything), size):
        await act(everything[start : start + size])


async def lease_all(schedule: Schedule, batch: int, leases: list[Lease]) -> None:
    while len(leases) < IDS:
        leases += (await schedule.lease(batch, LEASE_MS))[0]


async def run(redis: Redis, groups: int, batch: int, limits: Limits) -> list[str]:
    """Takes the ids once through their life."""
    await redis.flushall()
    schedule = Schedule(redis, "bench", Clock(), default_limits=limits)
    items = [Item(f"crd_{number % groups:026}", f"job_{number:026}") for number in range(IDS)]
    leases: list[Lease] = []

    def settle(outcomes: Sequence[Done | Later]) -> Callable[[], Awaitable[None]]:
        return lambda: in_batches(schedule.settle, outcomes, batch)

    lines = [
        await measure(redis, "put", IDS, lambda: in_batches(schedule.put, items, batch)),
        await measure(redis, "lease", IDS, lambda: lease_all(schedule, batch, leases)),
        await measure(
            redis, "renew", IDS, lambda: in_batches(lambda some: schedule.renew(some, LEASE_MS), leases, batch)
        ),
        await measure(redis, "settle as later", IDS, settle([Later(lease, 0, "1 look") for lease in leases])),
    ]
    leases.clear()
    await lease_all(schedule, batch, leases)
    lines.append(await measure(redis, "settle as done", IDS, settle([Done(lease) for lease in leases])))
    await schedule.close()
    return lines


async def idle(redis: Redis) -> str:
    """What it costs to ask when there is nothing."""
    schedule = Schedule(redis, "idle", Clock())

    async def ask() -> None:
        for _ in range(2000):
            await schedule.lease(100, LEASE_MS)

    return await measure(redis, "lease of nothing", 2000, ask)


async def main() -> None:
    """Prints the result, and writes it where it is kept."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as server:
        redis = connect(server.url)
        about = await redis.info("server")
        version = about.get("valkey_version") or about["redis_version"]
        python = platform.python_version()
        where = f"{platform.machine()}, {os.cpu_count()} cores, unix socket, Python {python}, server {version}"
        lines = [
            f"{IDS:,} ids, one client process beside one server on one machine ({where}): python -m bench.schedule"
        ]
        for groups in GROUPS:
            for batch in BATCHES:
                lines.append(f"\n{groups:,} groups, batches of {batch}")
                lines += await run(redis, groups, batch, Limits(concurrency=10**6))
        lines.append("\n100 groups with a rate and a concurrency, batches of 100")
        lines += await run(redis, 100, 100, Limits(interval_ms=0.0001, burst=1000, concurrency=10**6))
        lines.append("\nnothing due")
        lines.append(await idle(redis))
        await redis.aclose()
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
