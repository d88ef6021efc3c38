"""Says how many facts a second the store writes and reads, in batches as the stations hand them over."""

# SQLite in a temporary folder, and PostgreSQL in a schema of its own when TEST_DATABASE_URL is set:
#
#     TEST_DATABASE_URL=postgresql://… python -m bench.store [rows per round] > bench/results/store.txt

import asyncio
import os
import platform
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TypeVar

from relay.domain.delivery import DeliveryStatus
from relay.store import Cipher, Record, Store, migrate, open_store
from tests.databases import told
from tests.store.facts import NOW, ending, job, record, registrations, subscription

ROWS = 20_000
SINGLE_ROWS = 1_000  # one at a time is slow
BATCHES = (1, 100, 1000)
WRITERS = (1, 4)

T = TypeVar("T")


@asynccontextmanager
async def databases() -> AsyncIterator[list[tuple[str, str]]]:
    """The name and URL of each database there is, migrated; gone afterwards."""
    server = os.environ.get("TEST_DATABASE_URL")
    with tempfile.TemporaryDirectory() as folder:
        found = [("SQLite", f"sqlite:///{folder}/relay.db")]
        schema = f"bench_{secrets.token_hex(6)}"
        if server:
            await told(server, f"CREATE SCHEMA {schema}")
            found.append(("PostgreSQL", f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{schema}"))
        for _, url in found:
            await migrate(url)
        yield found
        if server:
            await told(server, f"DROP SCHEMA {schema} CASCADE")


async def rate(
    items: Sequence[T], batch: int, writers: int, write: Callable[[Sequence[T]], Awaitable[object]]
) -> tuple[float, float]:
    """Items a second, and this process's CPU in µs for each, with so many batches under way at a time."""
    batches = iter([items[start : start + batch] for start in range(0, len(items), batch)])

    async def work() -> None:
        for some in batches:
            await write(some)

    started, spent = time.perf_counter(), cpu_seconds()
    await asyncio.gather(*(work() for _ in range(writers)))
    seconds, spent = time.perf_counter() - started, cpu_seconds() - spent
    return len(items) / seconds, spent * 1e6 / len(items)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(store: Store, rows: int, batch: int, writers: int) -> dict[str, tuple[float, float]]:
    """One trip of `rows` jobs: registered, loaded, ended and told, attempted."""
    listener = subscription()
    await store.add_subscription(listener)
    jobs = [job() for _ in range(rows)]
    endings = [ending(one, listener.id) for one in jobs]
    deliveries = [each for one in endings if one.announcement for each in one.announcement.deliveries]
    records: list[Record] = [
        record(one, status=DeliveryStatus.SUCCEEDED, completed_at=NOW, next_attempt_at=None) for one in deliveries
    ]

    async def end(some: Sequence[object]) -> None:
        assert len(await store.advance_jobs(some)) == len(some)  # type: ignore[arg-type]  # endings, as the bench made them

    async def keep(some: Sequence[Record]) -> None:
        assert len(await store.record_attempts(some)) == len(some)

    return {
        "registrations": await rate(registrations(*jobs), batch, writers, store.register_jobs),
        "jobs read": await rate([one.id for one in jobs], batch, writers, store.load_jobs),
        "endings, each with event and delivery": await rate(endings, batch, writers, end),
        "parcels read": await rate([one.id for one in deliveries], batch, writers, store.load_parcels),
        "attempts": await rate(records, batch, writers, keep),
    }


async def main(rows: int) -> None:
    print(f"Python {platform.python_version()}, SQLAlchemy {version('sqlalchemy')}, {os.cpu_count()} cores")
    async with databases() as found:
        for name, url in found:
            store = open_store(url, Cipher(["bench"]))
            await measure(store, 500, 100, 1)
            for batch in BATCHES:
                for writers in WRITERS:
                    told_rows = rows if batch > 1 else min(rows, SINGLE_ROWS)
                    rates = await measure(store, told_rows, batch, writers)
                    print(f"\n{name}, batches of {batch}, {writers} at a time")
                    for what, (each_second, cpu_us) in rates.items():
                        print(f"  {what:<40}{each_second:>9,.0f}/s{cpu_us:>9,.0f} µs CPU here")
            await store.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
