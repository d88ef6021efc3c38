"""Real servers for the tests: an embedded one always, and those that the environment names."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as plain_redis
import structlog
from redis.asyncio import Redis
from xdist.scheduler import LoadScopeScheduling

from relay.embedded import EmbeddedRedis
from relay.schedule import connect
from tests.databases import DATABASES, cipher, database_url, migrated_file, postgres_schema, store

__all__ = ["cipher", "database_url", "migrated_file", "postgres_schema", "store"]  # fixtures, known to all tests

# Tracebacks without local variables: those of a definition take rich half a minute, in which no test gets on.
PROCESSORS = [
    *structlog.get_config()["processors"][:-1],
    structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
]
structlog.configure(
    processors=PROCESSORS,
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),  # as hosts run it: a line for each look is dear
)

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


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Loggers that were used while the log was set up otherwise keep that, and other tests would capture nothing."""
    yield
    assert structlog.get_config()["processors"] is PROCESSORS, "this test has set up the log of the whole process"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    With real servers at hand a test that needs both kinds runs twice, on the embedded pair and on the real one; the
    crossed pairs would only take time.
    """
    crossed = [item for item in items if _is_crossed(getattr(item, "callspec", None))]
    if crossed:
        config.hook.pytest_deselected(items=crossed)
        gone = set(crossed)
        items[:] = [item for item in items if item not in gone]


class Apart(LoadScopeScheduling):
    """Whatever runs on the real servers, which tests flush and cut off, in one process; the rest where one is free."""

    # xdist's own `loadgroup` reads marks through an attribute that pytest 9.2 no longer heeds.
    def _split_scope(self, nodeid: str) -> str:
        test, _, parameters = nodeid.partition("[")
        is_real = {"external", "postgresql"} & set(parameters.rstrip("]").split("-")) or "test_postgres_server" in test
        return "real servers" if is_real else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Apart:
    """How tests are dealt out when there are several processes."""
    return Apart(config, log)


def _is_crossed(callspec: Any) -> bool:
    told = callspec.params if callspec else {}
    if len(REDIS_SERVERS) < 2 or len(DATABASES) < 2 or not {"redis_url", "database_url"} <= set(told):
        return False
    return (told["redis_url"] == "external") != (told["database_url"] == "postgresql")
