"""Tests of whether a worker can be seen to work."""

import asyncio
import resource
from pathlib import Path

from redis.asyncio import Redis

from relay.worker import FILES_MAX, PULSE_KEY, PULSE_SECONDS, raise_file_limit
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
