"""SQLite: one file, several processes, and nobody is told that it is locked."""

import asyncio
import sys
from pathlib import Path

import pytest

from relay.domain.errors import BadSettings
from relay.store import Cipher, Store, open_store
from relay.store.sqlite import SqliteDatabase, driver_url
from tests.store.facts import TENANT
from tests.store.hammer import hammer

SECONDS = 10.0
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match="needs a file"):
        driver_url(url)


@pytest.mark.parametrize(
    ("url", "path"), [("sqlite:///relay.db", "relay.db"), ("sqlite:////data/relay.db", "/data/relay.db")]
)
def test_the_path_in_the_url_is_kept(url: str, path: str) -> None:
    assert driver_url(url).database == path
    assert driver_url(url).drivername == "sqlite+aiosqlite"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_connection_is_set_up_for_several_processes(store: Store) -> None:
    assert isinstance(store._database, SqliteDatabase)
    for engine in (store._database.reader, store._database.writer):
        async with engine.connect() as connection:
            told = {
                name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        assert told == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30_000}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_two_processes_that_write_all_the_time_never_fail(database_url: str, cipher: Cipher) -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.store.hammer",
        database_url,
        "other",
        str(SECONDS),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    store = open_store(database_url, cipher)
    try:
        async with asyncio.timeout(6 * SECONDS):
            ours, theirs = await asyncio.gather(hammer(store, TENANT, SECONDS), hammer(store, "third", SECONDS))
            told, complaints = await other.communicate()
        assert (other.returncode, complaints) == (0, b"")
        counts = {tenant: await store.count_jobs(tenant) for tenant in (TENANT, "third", "other")}
        assert counts == {
            TENANT: {"completed": ours},
            "third": {"completed": theirs},
            "other": {"completed": int(told)},
        }
        assert min(ours, theirs, int(told)) > 0
    finally:
        if other.returncode is None:
            other.kill()
            await other.wait()
        await store.close()
