"""Says whether forgetting what is old holds up the trip: what one job's writes take alone, and beside it."""

# Old jobs, each with its event, delivery and attempt, are forgotten in batches by one store, beside jobs that are
# registered, ended and delivered one after another through another:
#
#     python -m bench prune > bench/results/prune.txt

import asyncio
import os
import platform
import statistics
import time
from datetime import timedelta

from bench.store import databases
from relay.domain.delivery import DeliveryStatus
from relay.store import Cipher, Store, open_store
from relay.sweep import PRUNE_PAUSE_SECONDS, PRUNE_ROWS
from tests.store.facts import NOW, ending, job, record, registrations, subscription

OLD_JOBS = 10_000
BATCH = 500
# Rows in one transaction, and seconds until the next; the first is the sweep's own way.
WAYS = ((PRUNE_ROWS, PRUNE_PAUSE_SECONDS), (500, 0.0), (100, 0.0), (100, 0.05))
ALONE_SECONDS = 10.0
OLD = timedelta(days=40)
BEFORE = NOW - timedelta(days=30)


async def travel(store: Store, listener: str, count: int, ago: timedelta = timedelta()) -> None:
    """So many jobs from their registration to the one attempt that succeeded."""
    then = NOW - ago
    jobs = [job(created_at=then) for _ in range(count)]
    await store.register_jobs(registrations(*jobs))
    endings = [ending(one, listener, completed_at=then) for one in jobs]
    await store.advance_jobs(endings)
    sent = [each for one in endings if one.announcement for each in one.announcement.deliveries]
    done = {"status": DeliveryStatus.SUCCEEDED, "completed_at": then, "next_attempt_at": None}
    await store.record_attempts([record(one, **done) for one in sent])


async def trips(store: Store, listener: str, stopping: asyncio.Event) -> list[float]:
    """Milliseconds of each trip, one after another until told to stop, sorted."""
    told = []
    while not stopping.is_set():
        started = time.perf_counter()
        await travel(store, listener, 1)
        told.append((time.perf_counter() - started) * 1000)
    return sorted(told)


async def prune_all(store: Store, rows: int, pause_seconds: float) -> list[float]:
    """Milliseconds of each batch until nothing old is left, sorted."""
    told = []
    while True:
        started = time.perf_counter()
        removed = await store.prune(BEFORE, rows)
        told.append((time.perf_counter() - started) * 1000)
        if not removed:
            return sorted(told)
        await asyncio.sleep(pause_seconds)


def line(what: str, told: list[float]) -> str:
    p50, p99 = statistics.median(told), told[int(len(told) * 0.99) - 1]
    return f"  {what:<26}{len(told):>6}   p50 {p50:7.1f}   p99 {p99:7.1f}   max {told[-1]:7.1f}"


async def measure(name: str, url: str) -> None:
    """The trips alone, then beside each way of pruning."""
    store, other = open_store(url, Cipher(["bench"])), open_store(url, Cipher(["bench"]))
    listener = subscription()
    await store.add_subscription(listener)
    stopping = asyncio.Event()
    asyncio.get_running_loop().call_later(ALONE_SECONDS, stopping.set)
    print(f"\n{name}")
    print(line("trips, nothing pruned", await trips(store, listener.id, stopping)))
    for rows, pause_seconds in WAYS:
        for _ in range(OLD_JOBS // BATCH):
            await travel(store, listener.id, BATCH, OLD)
        stopping = asyncio.Event()
        beside = asyncio.create_task(trips(store, listener.id, stopping))
        batches = await prune_all(other, rows, pause_seconds)
        stopping.set()
        print(f"  {rows} rows, then {pause_seconds:g} s of pause")
        print(line("  trips meanwhile", await beside))
        print(line("  batches", batches))
    await other.close()
    await store.close()


async def main() -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; {OLD_JOBS} old jobs; milliseconds of each")
    async with databases() as found:
        for name, url in found:
            await measure(name, url)


if __name__ == "__main__":
    asyncio.run(main())
