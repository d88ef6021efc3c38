"""Migrated, empty databases for tests: SQLite always, PostgreSQL when TEST_DATABASE_URL names one."""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from relay.store import Cipher, Store, migrate, open_store
from relay.store.postgres import driver_url
from relay.store.tables import metadata

T = TypeVar("T")

DATABASES = ["sqlite", *(["postgresql"] if os.environ.get("TEST_DATABASE_URL") else [])]
SECRET_KEY = "a secret key of the tests"
EMPTY = f"TRUNCATE {', '.join(table.name for table in metadata.sorted_tables)} RESTART IDENTITY CASCADE"


def done(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives, for fixtures that are not async; in a thread, so that no loop of pytest's is touched."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


async def told(url: str, *statements: str) -> None:
    """Run statements on a PostgreSQL database, each by itself."""
    driver, arguments = driver_url(url)
    engine = create_async_engine(driver, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments)
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at head, to be copied: quicker than migrating for each test."""
    path = tmp_path_factory.mktemp("databases") / "head.db"
    done(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_schema() -> Iterator[str]:
    """The URL of a PostgreSQL schema at head, this session's own."""
    server = os.environ["TEST_DATABASE_URL"]
    schema = f"test_{secrets.token_hex(6)}"
    url = f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{schema}"
    done(told(server, f"CREATE SCHEMA {schema}"))
    done(migrate(url))
    yield url
    done(told(server, f"DROP SCHEMA {schema} CASCADE"))


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated and empty database; the test runs once on each kind there is."""
    if request.param == "sqlite":
        path = tmp_path / "relay.db"
        shutil.copyfile(request.getfixturevalue("migrated_file"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgres_schema")
    done(told(url, EMPTY))
    return url


@pytest.fixture
def cipher() -> Cipher:
    """What the tests' secrets are sealed with."""
    return Cipher([SECRET_KEY])


@pytest.fixture
async def store(database_url: str, cipher: Cipher) -> AsyncIterator[Store]:
    """An empty store."""
    store = open_store(database_url, cipher)
    yield store
    await store.close()
