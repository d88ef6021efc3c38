"""Tests of whether a worker can be seen to work, and of what its process says."""

import asyncio
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from relay.worker import FILES_MAX, PULSE_KEY, PULSE_SECONDS, raise_file_limit, redis_settings
from tests.cli.terminal import environment
from tests.hosts import hosting
from tests.trips import until


async def test_a_worker_is_seen_to_work_for_as_long_as_it_says_so(
    tmp_path: Path, database_url: str, redis_url: str, redis: Redis
) -> None:
    async with hosting(tmp_path, database_url, redis_url, workers=0) as host:

        async def checked(*words: str) -> tuple[int, str]:
            done = await asyncio.to_thread(host.run, "worker", "--check", *words)
            return done.returncode, (done.stdout + done.stderr).strip()

        code, said = await checked()
        assert (code, said) == (1, "relay: worker does not answer: none on this host has worked within 30 seconds")
        host.start("worker", "worker")
        await until(lambda: redis.exists(PULSE_KEY), 30)
        assert await checked() == (0, "a worker on this host is at work")
        assert await checked("--anywhere") == (0, "a worker anywhere is at work")
        host.kill("worker")
        pulses = [key async for key in redis.scan_iter(f"{PULSE_KEY}*")]
        assert len(pulses) == 2
        assert all([0 < await redis.ttl(key) <= PULSE_SECONDS for key in pulses])
        here = next(key for key in pulses if key != PULSE_KEY)
        await redis.rename(here, f"{PULSE_KEY}:another-host")
        assert (await checked())[0] == 1
        assert (await checked("--anywhere"))[0] == 0


async def test_without_redis_the_check_fails_and_says_why(tmp_path: Path, database_url: str, redis_url: str) -> None:
    async with hosting(tmp_path, database_url, redis_url, workers=0) as host:
        host.environment["REDIS_URL"] = f"unix://{tmp_path}/nowhere.sock"
        done = await asyncio.to_thread(host.run, "worker", "--check")
        assert done.returncode == 1
        assert "redis does not answer" in done.stderr


async def test_arq_is_told_in_a_line_what_is_missing() -> None:
    told = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "arq", "relay.worker.WorkerSettings"],
        env=environment(PORT="x"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1
    assert [line.split()[:2] for line in told.stderr.splitlines()] == [
        ["relay:", "RELAY_SECRET_KEY"],
        ["relay:", "PORT:"],
    ]


async def test_what_arq_says_under_its_own_command_is_said_once(
    tmp_path: Path, database_url: str, redis_url: str, redis: Redis
) -> None:
    async with hosting(tmp_path, database_url, redis_url, workers=0) as host:
        told = tmp_path / "arq.log"
        with told.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "arq", "relay.worker.WorkerSettings"],
                env=host.environment,
                cwd=tmp_path,
                stdout=file,
                stderr=file,
            )
        try:
            await until(lambda: redis.exists(PULSE_KEY), 30)  # its first cron has run, of which arq speaks
        finally:
            process.terminate()
            assert await asyncio.to_thread(process.wait, 30) == 0
        lines = told.read_text().splitlines()
    assert sum("Starting worker" in line for line in lines) == 1
    since = next(number for number, line in enumerate(lines) if "worker_started" in line)
    assert all(line.startswith("{") for line in lines[since:]), "\n".join(lines)
    assert not any('"logger": "arq.worker", "level": "info"' in line or "cron:" in line for line in lines[since:])


async def test_asking_whether_web_is_ready_is_not_told_by_alembic(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with hosting(tmp_path, database_url, redis_url, workers=0) as host, host.client() as client:
        assert (await client.get("/readyz")).status_code in (200, 503)
        await client.get("/v1/jobs")
        await until(lambda: "/v1/jobs" in host.log("web"))  # and so what came before it
        assert "alembic" not in host.log("web")


def test_a_worker_may_open_as_many_files_as_its_host_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        raise_file_limit()
        raised, same = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert same == hard
        assert raised == (FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h", {"ssl": False, "username": None, "password": None}),
        ("redis://u%3A:p%40ss%2F@h/3", {"username": "u:", "password": "p@ss/", "database": 3}),
        ("rediss://h", {"ssl": True, "ssl_cert_reqs": "required", "ssl_ca_certs": None}),
        ("rediss://h?ssl_cert_reqs=none", {"ssl": True, "ssl_cert_reqs": "none"}),
        (
            "rediss://h/1?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=true",
            {"ssl_ca_certs": "/etc/ca.pem", "ssl_certfile": "/c", "ssl_keyfile": "/k", "ssl_check_hostname": True},
        ),
        ("unix:///run/redis.sock?db=2", {"unix_socket_path": "/run/redis.sock", "database": 2}),
    ],
)
def test_arq_reaches_redis_as_everything_else_does(url: str, told: dict[str, object]) -> None:
    settings = redis_settings(url)
    assert {name: getattr(settings, name) for name in told} == told
