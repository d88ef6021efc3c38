"""The API beside a Redis that hangs: the first calls find it out, those after them are as quick as ever."""

import os
import signal
import time
from pathlib import Path

from relay.embedded import EmbeddedRedis
from tests.trips import until
from tests.web.house import House, opened, told

QUICK_SECONDS = 0.2
FOUND_OUT_SECONDS = 10.0
PATHS = ("/v1/event-types", "/v1/jobs", "/v1/stats", "/v1/subscriptions")


async def seconds_of(house: House, path: str) -> float:
    began = time.monotonic()
    told(await house.api.get(path))
    return time.monotonic() - began


async def test_a_redis_that_hangs_makes_no_call_slow_but_the_first(database_url: str, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        async with opened(database_url, server.url, RELAY_API_REQUESTS_PER_SECOND="1000") as house:
            await house.add_credential()
            job = await house.add_job()
            paths = (*PATHS, f"/v1/jobs/{job['id']}")
            pid = (await house.relay.redis.info("server"))["process_id"]

            async def are_quick() -> bool:
                return max([await seconds_of(house, path) for path in paths]) < QUICK_SECONDS

            async def is_counted() -> bool:
                headers = (await house.api.get("/v1/event-types")).headers
                return headers["ratelimit-remaining"] != headers["ratelimit-limit"]

            assert await is_counted()
            os.kill(pid, signal.SIGSTOP)
            try:
                assert await seconds_of(house, "/v1/event-types") < 1.0  # nobody waits for leave for long
                await until(are_quick, FOUND_OUT_SECONDS)
                for _ in range(10):
                    assert await are_quick()
            finally:
                os.kill(pid, signal.SIGCONT)
            await until(is_counted, 3.0)
            shown = told(await house.api.get(f"/v1/jobs/{job['id']}"))
            assert shown["next_poll_at"] is not None
