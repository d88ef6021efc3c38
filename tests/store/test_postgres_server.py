"""PostgreSQL as it behaves when it goes away, comes back, or has a pooler before it."""

import asyncio
import os
import secrets

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.errors import Unreachable
from relay.store import Cipher, Store, migrate, open_store
from relay.store.rows import key_row
from relay.store.sql import TRIES_MAX, Verbs, reading, writing
from relay.store.tables import keys
from tests.databases import told
from tests.store.facts import TENANT, job, key, registrations

SERVER = os.environ["TEST_DATABASE_URL"]
END_OURS = text("SELECT pg_terminate_backend(pg_backend_pid())")
END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'"


def with_option(url: str, option: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{option}"


class Doomed(Verbs):
    """Verbs that lose their own connection."""

    runs = 0

    @writing
    async def die(self, connection: AsyncConnection, times: int) -> None:
        self.runs += 1
        await connection.execute(keys.insert(), key_row(key(id=f"key_{self.runs}")))
        if self.runs <= times:
            await connection.execute(END_OURS)

    @reading
    async def faint(self, connection: AsyncConnection, times: int) -> int:
        self.runs += 1
        if self.runs <= times:
            await connection.execute(END_OURS)
        return self.runs


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_restart_between_two_verbs_goes_unnoticed(database_url: str, cipher: Cipher) -> None:
    name = f"relay-{secrets.token_hex(4)}"
    store = open_store(with_option(database_url, f"application_name={name}"), cipher)
    one = job()
    await store.register_jobs(registrations(one))
    await told(SERVER, END_OTHERS.format(name))
    assert await store.find_job(TENANT, one.id) == one
    await told(SERVER, END_OTHERS.format(name))
    await store.register_jobs(registrations(job()))
    await store.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_connection_lost_before_the_commit_costs_a_second_run(store: Store) -> None:
    doomed = Doomed(store._database, store._vault)
    await doomed.die(2)
    assert [one.id for one in await store.list_keys(TENANT)] == ["key_3"]
    doomed.runs = 0
    assert await doomed.faint(1) == 2


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_connection_lost_every_time_is_said(store: Store) -> None:
    doomed = Doomed(store._database, store._vault)
    with pytest.raises(Unreachable):
        await doomed.die(TRIES_MAX)
    assert await store.list_keys(TENANT) == []
    doomed.runs = 0
    with pytest.raises(Unreachable):
        await doomed.faint(TRIES_MAX)


async def test_a_database_that_does_not_exist_is_unreachable(cipher: Cipher) -> None:
    store = open_store(SERVER.replace("/relay_test", "/nowhere_at_all"), cipher)
    with pytest.raises(Unreachable, match="nowhere_at_all"):
        await store.ping()
    await store.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_pooler_in_transaction_mode_is_served_without_prepared_statements(
    database_url: str, cipher: Cipher
) -> None:
    store = open_store(with_option(database_url, "pgbouncer=true"), cipher)
    one, other = job(), job()
    await store.register_jobs(registrations(one, other))
    assert await store.load_jobs([one.id, other.id]) == {one.id: one, other.id: other}
    async with store._database.reader.connect() as connection:
        prepared = await connection.exec_driver_sql("SELECT name FROM pg_prepared_statements")
        assert [name for (name,) in prepared if name] == []
    await store.close()


async def test_several_migrations_of_one_schema_at_once_all_succeed(cipher: Cipher) -> None:
    schema = f"test_{secrets.token_hex(6)}"
    url = with_option(SERVER, f"options=-csearch_path%3D{schema}")
    await told(SERVER, f"CREATE SCHEMA {schema}")
    try:
        store: Store = open_store(url, cipher)
        assert await store.revision() == (None, "0001")
        with pytest.raises(Unreachable, match="does not exist"):
            await store.find_key("")
        await asyncio.gather(*(migrate(url) for _ in range(4)))
        assert await store.revision() == ("0001", "0001")
        await store.close()
    finally:
        await told(SERVER, f"DROP SCHEMA {schema} CASCADE")
