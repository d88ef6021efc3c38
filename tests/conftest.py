"""Real servers for the tests: an embedded one always, and those that the environment names."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as plain_redis
from redis.asyncio import Redis

from relay.embedded import EmbeddedRedis
from relay.schedule import connect
from tests.databases import DATABASES, cipher, database_url, migrated_file, postgres_schema, store

__all__ = ["cipher", "database_url", "migrated_file", "postgres_schema", "store"]  # fixtures, known to all tests

REDIS_SERVERS = ["embedded", *(["external"] if os.environ.get("TEST_REDIS_URL") else [])]


@pytest.fixture(scope="session")
def embedded_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One server for the whole session."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=REDIS_SERVERS)
def redis_url(request: pytest.FixtureRequest, embedded_redis: EmbeddedRedis) -> str:
    """The URL of an empty Redis; the test runs once on each server there is."""
    url = embedded_redis.url if request.param == "embedded" else os.environ["TEST_REDIS_URL"]
    with plain_redis.Redis.from_url(url) as client:
        client.flushdb()
        client.script_flush()
    return url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of that Redis."""
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    With real servers at hand a test that needs both kinds runs twice, on the embedded pair and on the real one; the
    crossed pairs would only take time. Whatever runs on the real ones, which tests flush and cut off, runs in one
    process.
    """
    crossed = [item for item in items if _is_crossed(_told(item))]
    if crossed:
        config.hook.pytest_deselected(items=crossed)
        gone = set(crossed)
        items[:] = [item for item in items if item not in gone]
    for item in items:
        if {"external", "postgresql"} & set(_told(item).values()) or item.path.stem == "test_postgres_server":
            item.add_marker(pytest.mark.xdist_group("real servers"))


def _told(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return {name: value for name, value in callspec.params.items() if isinstance(value, str)} if callspec else {}


def _is_crossed(told: dict[str, Any]) -> bool:
    if len(REDIS_SERVERS) < 2 or len(DATABASES) < 2 or not {"redis_url", "database_url"} <= set(told):
        return False
    return (told["redis_url"] == "external") != (told["database_url"] == "postgresql")
