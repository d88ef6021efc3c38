"""What the doctor says as a command, and an export that finds no room."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as plain_redis

from relay.worker import PULSE_KEY
from tests.cli.terminal import called, environment, run
from tests.hosts import free_port

CLOSED = {"RELAY_SECRET_KEY": "a secret key of the test", "RELAY_EGRESS_PROXY": "http://127.0.0.1:9"}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A database of the test's own, migrated by the command."""
    url = f"sqlite:///{tmp_path}/relay.db"
    assert run("migrate", DATABASE_URL=url).exit_code == 0
    return url


@pytest.fixture
def pulse(redis_url: str) -> Iterator[None]:
    """What a worker leaves behind while it works."""
    with plain_redis.Redis.from_url(redis_url) as client:
        client.set(PULSE_KEY, "a worker's", ex=600)
        yield
        client.delete(PULSE_KEY)


async def test_the_doctor_tells_that_no_worker_works(database_url: str, redis_url: str) -> None:
    told = await called("doctor", DATABASE_URL=database_url, REDIS_URL=redis_url, **CLOSED)
    assert told.returncode == 1
    last = told.stdout.splitlines()[-1]
    assert last.startswith("· worker       none has worked within 30 seconds → start `relay worker`")


@pytest.mark.usefixtures("pulse")
async def test_the_doctor_tells_that_one_works(database_url: str, redis_url: str) -> None:
    told = await called("doctor", DATABASE_URL=database_url, REDIS_URL=redis_url, **CLOSED)
    assert told.stdout.splitlines()[-1] == "✓ worker       one has worked within 30 seconds"


async def test_without_redis_the_doctor_cannot_tell_of_workers(database_url: str) -> None:
    redis_url = f"redis://127.0.0.1:{free_port()}/0"
    told = await called("doctor", DATABASE_URL=database_url, REDIS_URL=redis_url, **CLOSED)
    assert told.returncode == 1
    assert told.stdout.splitlines()[-1].startswith("✗ worker       Redis, where workers leave word")


def test_the_doctor_tells_a_folder_of_definitions_that_is_not_there(tmp_path: Path) -> None:
    told = run("doctor", RELAY_PROVIDERS_DIR=str(tmp_path / "nowhere"), **CLOSED)
    assert told.exit_code == 1
    assert "✗ settings     RELAY_PROVIDERS_DIR" in told.stdout
    assert "no such folder" in told.stdout


@pytest.mark.parametrize("words", [("providers", "list"), ("migrate",)])
def test_a_full_disk_is_told_in_one_line(words: tuple[str, ...], database_url: str) -> None:
    with Path("/dev/full").open("wb") as full:
        told = subprocess.run(
            [sys.executable, "-m", "relay", *words],
            env=environment(DATABASE_URL=database_url),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert told.returncode == 1
    assert told.stderr == "relay: what was to be told cannot be written: No space left on device\n"
