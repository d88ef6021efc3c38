"""The migrations lead to the very tables that the queries are written for."""

import asyncio
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from relay.domain.errors import Unreachable
from relay.store import Cipher, Store, migrate, open_store
from relay.store.migrations import head_revision
from relay.store.tables import metadata

INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY indexname"
CONSTRAINTS = """
    SELECT conrelid::regclass::text || ' ' || conname, pg_get_constraintdef(pg_constraint.oid)
      FROM pg_constraint WHERE connamespace = current_schema()::regnamespace ORDER BY 1
"""


def differences(connection: Connection) -> list[Any]:
    only_there = {"ix_jobs_labels"} if connection.dialect.name == "sqlite" else set()
    opts = {"compare_type": True, "include_object": lambda _, name, *__: name not in only_there}
    return list(compare_metadata(MigrationContext.configure(connection, opts=opts), metadata))


def described(connection: Connection) -> dict[str, str]:
    """Everything the database says of its indexes and constraints, without the name of the schema."""
    if connection.dialect.name == "sqlite":
        tables = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        kept = [(name, sql) for name, sql in tables if name != "alembic_version" and not name.startswith("sqlite_")]
        return {name: " ".join(sorted(re.split(r",?\s*\n\s*", sql))) for name, sql in kept}
    schema = str(connection.execute(text("SELECT current_schema()")).scalar_one())
    rows = [*connection.execute(text(INDEXES)), *connection.execute(text(CONSTRAINTS))]
    return {name: definition.replace(f"{schema}.", "") for name, definition in rows if "alembic" not in name}


async def test_the_migrated_schema_is_that_of_the_tables(store: Store) -> None:
    async with store._database.reader.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_migrated_indexes_and_constraints_are_those_of_the_tables(store: Store) -> None:
    async with store._database.writer.begin() as connection:
        migrated = await connection.run_sync(described)
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        assert migrated == await connection.run_sync(described)
        assert "uq_events_ending_of" in str(migrated)
        await connection.rollback()


async def test_the_revision_is_at_head_after_migrating(store: Store) -> None:
    assert await store.revision() == ("0001", "0001")
    assert head_revision() == "0001"


async def test_migrating_twice_is_migrating_once(database_url: str, store: Store) -> None:
    await migrate(database_url)
    assert await store.revision() == ("0001", "0001")


async def test_an_empty_sqlite_file_says_that_it_was_never_migrated(tmp_path: Path, cipher: Cipher) -> None:
    store = open_store(f"sqlite:///{tmp_path}/new.db", cipher)
    assert await store.revision() == (None, "0001")
    with pytest.raises(Unreachable, match="no such table"):
        await store.find_key("")
    await store.close()


async def test_several_migrations_of_one_file_at_once_all_succeed(tmp_path: Path, cipher: Cipher) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    await asyncio.gather(*(migrate(url) for _ in range(6)))
    store = open_store(url, cipher)
    assert await store.revision() == ("0001", "0001")
    await store.close()
    with sqlite3.connect(tmp_path / "new.db") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    plain.close()
