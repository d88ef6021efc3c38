"""A verb is one transaction: run again after a collision, and a silent database is said to be silent."""

import asyncio
import socket

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.errors import Unreachable
from relay.store import Cipher, Store, open_store
from relay.store.rows import key_row
from relay.store.sql import TRIES_MAX, Verbs, reading, writing
from relay.store.tables import keys
from tests.store.facts import TENANT, job, key, registrations


class Deadlock(Exception):
    """What the driver raises when PostgreSQL breaks a transaction off."""

    sqlstate = "40P01"


class Probe(Verbs):
    """Verbs that go wrong on purpose."""

    runs = 0

    @writing
    async def collide(self, connection: AsyncConnection, times: int) -> str:
        self.runs += 1
        await connection.execute(keys.insert(), key_row(key(id=f"key_{self.runs}")))
        if self.runs <= times:
            raise DBAPIError("a statement", {}, Deadlock("deadlock detected"))
        return "done"

    @writing
    async def stumble(self, connection: AsyncConnection) -> None:
        await connection.execute(keys.insert(), key_row(key()))
        raise LookupError("a bug of ours")

    @reading
    async def misspell(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT name FROM keys WHERE"))

    @writing
    async def add_twice(self, connection: AsyncConnection) -> None:
        twice = key_row(key(digest="in-clear-digest"))
        await connection.execute(keys.insert(), [twice, twice])


@pytest.fixture
def probe(store: Store) -> Probe:
    return Probe(store._database, store._vault)


async def test_a_transaction_that_was_broken_off_is_run_again_from_its_start(store: Store, probe: Probe) -> None:
    assert await probe.collide(2) == "done"
    assert [one.id for one in await store.list_keys(TENANT)] == ["key_3"]


async def test_a_transaction_that_is_broken_off_every_time_is_given_up(store: Store, probe: Probe) -> None:
    with pytest.raises(Unreachable, match="deadlock detected"):
        await probe.collide(TRIES_MAX)
    assert probe.runs == TRIES_MAX
    assert await store.list_keys(TENANT) == []


async def test_a_verb_that_raises_leaves_nothing_behind(store: Store, probe: Probe) -> None:
    with pytest.raises(LookupError):
        await probe.stumble()
    assert await store.list_keys(TENANT) == []


async def test_a_refused_row_is_our_bug_and_its_values_are_not_in_the_error(store: Store, probe: Probe) -> None:
    with pytest.raises(SQLAlchemyError) as raised:
        await probe.add_twice()
    assert "in-clear-digest" not in str(raised.value).replace(str(raised.value.orig), "")  # type: ignore[attr-defined]  # a DBAPIError has orig
    assert await store.list_keys(TENANT) == []


async def test_a_verb_that_is_cancelled_at_any_moment_does_all_or_nothing_and_frees_its_connection(
    store: Store,
) -> None:
    async with asyncio.timeout(60):
        for turns in range(60):
            jobs = [job(provider_job_id=str(turns)) for _ in range(3)]
            under_way = asyncio.create_task(store.register_jobs(registrations(*jobs)))
            await asyncio.wait({under_way}, timeout=turns / 8000)
            under_way.cancel()
            await asyncio.gather(under_way, return_exceptions=True)
            assert len(await store.list_jobs(TENANT, provider_job_id=str(turns))) in (0, 3)
        last = job()
        assert await store.register_jobs(registrations(last)) == [(last, True)]


async def test_a_server_that_is_not_there_is_unreachable(cipher: Cipher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    store = open_store(f"postgres://nobody@127.0.0.1:{port}/relay", cipher)
    with pytest.raises(Unreachable) as raised:
        await store.ping()
    assert raised.value.part == "database"
    with pytest.raises(Unreachable):
        await store.register_jobs([])
    await store.close()


async def test_a_file_that_cannot_be_opened_is_unreachable(cipher: Cipher) -> None:
    store = open_store("sqlite:////nowhere/at/all/relay.db", cipher)
    with pytest.raises(Unreachable, match="unable to open"):
        await store.ping()
    await store.close()
