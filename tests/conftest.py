"""Real servers for the tests: an embedded one always, and those that the environment names."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import redis as plain_redis
from redis.asyncio import Redis

from relay.embedded import EmbeddedRedis
from relay.schedule import connect
from tests.databases import cipher, database_url, migrated_file, postgres_schema, store

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
