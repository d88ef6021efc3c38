"""SQLite in one file: one writer at a time, taken at BEGIN, and readers that never wait for it."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, event, func, select
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from relay.domain.errors import BadSettings
from relay.store.sql import Database
from relay.store.tables import storable

READERS = 4  # connections, each with a thread of its own
BUSY_SECONDS = 30.0  # how long a writer waits for another process's transaction
POOL_SECONDS = 30.0
CACHE_KIBIBYTES = 16_384
WAL_BYTES_MAX = 64 * 1024 * 1024  # what the log is cut back to when it was longer

IN_MEMORY = "DATABASE_URL: SQLite needs a file that web and worker share, such as sqlite:///relay.db"


class SqliteDatabase(Database):
    """
    Two engines on one file in WAL mode.

    Every transaction that writes begins IMMEDIATE: one that read first and then had to become a writer could be
    refused without waiting. `synchronous=NORMAL`: a commit survives the death of the process, which is what is
    promised; only a power cut can take the last ones.
    """

    def __init__(self, url: str) -> None:
        """Raises BadSettings for a database in memory, which no second process could see."""
        super().__init__()
        self.url = driver_url(url)
        self.reader = self._engine(READERS, skip_autocommit_rollback=True)  # it begins nothing
        self.writer = self._engine(1)
        event.listen(self.writer.sync_engine, "begin", _begin_immediate)

    def _engine(self, size: int, **more: Any) -> AsyncEngine:
        engine = create_async_engine(
            self.url,
            **more,
            pool_size=size,
            max_overflow=0,
            pool_timeout=POOL_SECONDS,
            hide_parameters=True,  # they hold secrets
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
        )
        event.listen(engine.sync_engine, "do_connect", self._must_open)
        event.listen(engine.sync_engine, "connect", self._prepare)
        return engine

    def _must_open(self, *_: Any) -> None:
        # Tried here first: the driver's thread would outlive a failure, and the event loop perhaps.
        sqlite3.connect(str(self.url.database)).close()

    def _prepare(self, connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone() != ("wal",):
            _change_to_wal(Path(str(self.url.database)))
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        cursor.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
        cursor.close()

    def insert(self, table: Table) -> Insert:
        return insert(table)

    def among(self, column: ColumnElement[Any], values: Collection[str]) -> ColumnElement[bool]:
        listed = func.json_each(json.dumps([storable(value) for value in values])).table_valued("value")
        return column.in_(select(listed.c.value))

    def has_labels(self, column: ColumnElement[Any], labels: Mapping[str, str]) -> ColumnElement[bool]:
        fits: list[ColumnElement[bool]] = []
        for key, value in labels.items():
            pair = func.json_each(column).table_valued("key", "value")
            fits.append(select(pair.c.key).where(pair.c.key == key, pair.c.value == value).exists())
        return and_(True, *fits)

    async def join_feed(self, connection: AsyncConnection) -> None:
        """Nothing to do: there is one writer at a time, so that positions are committed in their order."""

    async def settled(self, connection: AsyncConnection) -> int | None:
        return None

    async def lock_schema(self, connection: AsyncConnection) -> None:
        """Nothing to do: BEGIN IMMEDIATE has done it."""


def driver_url(url: str) -> URL:
    """`sqlite:///relay.db` as the driver wants it. Raises BadSettings when it names no file."""
    parsed = make_url(url)
    if parsed.database in (None, "", ":memory:") or "mode" in parsed.query:
        raise BadSettings([IN_MEMORY])
    return parsed.set(drivername="sqlite+aiosqlite")


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _change_to_wal(path: Path) -> None:
    """
    Once in a file's life. SQLite's own wait does not cover it, hence a lock, on the folder, as one on the file
    would disturb SQLite's; and nothing here yields, for two connections of one process may be at it.
    """
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with closing(sqlite3.connect(path, BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    finally:
        os.close(folder)
