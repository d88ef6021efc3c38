"""Tests of whether the relay lives, gets on with its work, and counts it."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from relay.clock import Clock
from relay.domain.moments import seconds_after, to_ms
from relay.schedule import Item, Schedule
from relay.store import migrate
from relay.web.numbers import KEY_PREFIX
from tests.web.house import House, opened, refused, told

OVERDUE_SECONDS_MAX = 60.0  # unless RELAY_READY_OVERDUE_SECONDS says otherwise
NOWHERE = "unix:///nowhere/redis.sock"
WORKER_NUMBERS = """# HELP relay_looks_total Looks at provider jobs, by what they said.
# TYPE relay_looks_total counter
relay_looks_total{outcome="pending",provider="camb"} 5.0
# HELP relay_lateness_seconds How long something was due before a worker took it.
# TYPE relay_lateness_seconds histogram
relay_lateness_seconds_bucket{le="0.05",station="poll"} 4.0
relay_lateness_seconds_bucket{le="+Inf",station="poll"} 5.0
relay_lateness_seconds_count{station="poll"} 5.0
relay_lateness_seconds_sum{station="poll"} 0.5
"""


class Ahead(Clock):
    """The real one, moved ahead by hand; it waits as the real one does."""

    def __init__(self) -> None:
        self.by_seconds = 0.0

    def now(self) -> datetime:
        return seconds_after(super().now(), self.by_seconds)

    def monotonic(self) -> float:
        return super().monotonic() + self.by_seconds


async def put_long_ago(house: House, station: str, item: Item) -> None:
    """As if the item had been put on the station's schedule so long ago that somebody should have taken it."""
    clock = house.relay.clock
    then_ms = to_ms(clock.now()) - round(OVERDUE_SECONDS_MAX * 1000) - 1000
    await Schedule(house.relay.redis, station, clock, clock_ms=lambda: then_ms).put([item])


async def test_a_relay_that_gets_on_with_its_work_is_ready(house: House) -> None:
    view = told(await house.api.get("/readyz"))
    assert view["status"] == "ready"
    assert {name: check["ok"] for name, check in view["checks"].items()} == dict.fromkeys(
        ["database", "redis", "migrations", "progress"], True
    )


async def test_work_that_nobody_does_makes_it_unready_although_everything_answers(house: House) -> None:
    await put_long_ago(house, "poll", Item("crd_a", "job_a"))
    response = await house.api.get("/readyz")
    view = told(response, 503)
    assert view["status"] == "not_ready"
    assert [name for name, check in view["checks"].items() if not check["ok"]] == ["progress"]
    assert view["checks"]["progress"]["polls"]["oldest_overdue_seconds"] > OVERDUE_SECONDS_MAX
    assert (await house.api.get("/healthz")).status_code == 200
    (lease,), _ = await house.relay.polls.lease(1, 60_000)
    assert lease.id == "job_a"
    assert told(await house.api.get("/readyz"))["status"] == "ready"


async def test_an_overdue_delivery_counts_as_well_and_is_named(house: House) -> None:
    await put_long_ago(house, "deliver", Item("sub_a", "dlv_a"))
    view = told(await house.api.get("/readyz"), 503)
    assert view["checks"]["progress"]["overdue"] == ["deliveries"]


async def overdue_everywhere(house: House) -> tuple[list[str], list[bool], list[bool]]:
    """What readiness calls overdue, and whether the statistics and the numbers say so of polls and of deliveries."""
    overdue: list[str] = (await house.api.get("/readyz")).json()["checks"]["progress"]["overdue"]
    stats = told(await house.api.get("/v1/stats"))
    in_stats = [stats[f"oldest_overdue_{what}_seconds"] >= OVERDUE_SECONDS_MAX for what in ("poll", "delivery")]
    page = (await house.api.get("/metrics")).text
    shown = [
        max(float(text) for text in re.findall(rf'relay_oldest_overdue_seconds.*station="{station}".* (\S+)', page))
        for station in ("poll", "deliver")
    ]
    return overdue, in_stats, [seconds >= OVERDUE_SECONDS_MAX for seconds in shown]


async def test_what_redis_forgot_and_nobody_put_back_is_overdue(
    database_url: str, redis_url: str, redis: Redis
) -> None:
    clock = Ahead()
    async with opened(database_url, redis_url, clock) as house:
        await house.add_credential()
        subscription = await house.add_subscription()
        await house.add_job()
        told(await house.api.post(f"/v1/subscriptions/{subscription['id']}/test"), 202)
        await house.relay.sweep.rebuild()
        await redis.flushdb()
        assert await overdue_everywhere(house) == ([], [False, False], [False, False])
        clock.by_seconds += OVERDUE_SECONDS_MAX + 1
        both = (["polls", "deliveries"], [True, True], [True, True])
        assert await overdue_everywhere(house) == both
        progress: dict[str, Any] = told(await house.api.get("/readyz"), 503)["checks"]["progress"]
        assert "no worker has rebuilt it" in progress["detail"]
        await house.relay.sweep.tick()
        assert await overdue_everywhere(house) == ([], [False, False], [False, False])


async def test_a_relay_with_nothing_to_do_is_ready_before_the_first_worker_comes(
    database_url: str, redis_url: str
) -> None:
    clock = Ahead()
    async with opened(database_url, redis_url, clock) as house:
        told(await house.api.get("/readyz"))
        clock.by_seconds += 3600
        told(await house.api.get("/readyz"))
        await house.add_credential()
        await house.add_job()  # and this one waits from now on, however long ago Redis forgot the rest
        assert told(await house.api.get("/readyz"))["checks"]["progress"]["overdue"] == []
        clock.by_seconds += OVERDUE_SECONDS_MAX + 1
        assert told(await house.api.get("/readyz"), 503)["checks"]["progress"]["overdue"] == ["polls"]


async def test_how_long_something_may_be_overdue_is_the_operators_to_say(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url, RELAY_READY_OVERDUE_SECONDS="3600") as house:
        await put_long_ago(house, "poll", Item("crd_a", "job_a"))
        progress = told(await house.api.get("/readyz"))["checks"]["progress"]
        assert (progress["ok"], progress["overdue"], progress["bound_seconds"]) == (True, [], 3600)


async def test_a_redis_that_is_away_is_named_and_nothing_else_of_it(database_url: str) -> None:
    async with opened(database_url, NOWHERE) as house:
        response = await house.api.get("/readyz")
        view = told(response, 503)
        assert view["checks"]["redis"] == {"ok": False, "detail": "no answer"}
        assert view["checks"]["database"] == {"ok": True}
        assert "nowhere" not in response.text
        assert (await house.api.get("/healthz")).status_code == 200
        assert (await house.api.get("/metrics")).status_code == 200


async def test_a_database_that_is_gone_is_named(tmp_path: Path, redis_url: str) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    await migrate(f"sqlite:///{folder}/relay.db")
    async with opened(f"sqlite:///{folder}/relay.db", redis_url) as house:
        await house.relay.store.close()
        folder.rename(tmp_path / "elsewhere")
        view = told(await house.api.get("/readyz"), 503)
        assert view["checks"]["database"] == {"ok": False, "detail": "no answer"}
        refused(await house.api.get("/v1/jobs"), 503, "unavailable")


async def test_the_page_of_numbers_joins_those_of_all_processes(house: House) -> None:
    await house.relay.redis.set(f"{KEY_PREFIX}worker-1", WORKER_NUMBERS)
    await house.relay.redis.set(f"{KEY_PREFIX}worker-2", WORKER_NUMBERS)
    await house.api.get("/v1/jobs")
    response = await house.api.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    for worker in ("worker-1", "worker-2"):
        assert f'relay_looks_total{{outcome="pending",process="{worker}",provider="camb"}} 5.0' in lines
        assert f'relay_lateness_seconds_bucket{{le="+Inf",process="{worker}",station="poll"}} 5.0' in lines
    assert len([line for line in lines if line.startswith("# TYPE relay_looks_total ")]) == 1
    own = [line for line in lines if line.startswith("relay_http_requests_total{") and 'process="web-' in line]
    assert any('route="/v1/jobs"' in line for line in own)
    assert any(line.startswith("relay_due{") for line in lines)
    types = [line for line in lines if line.startswith("# TYPE ")]
    assert len(types) == len(set(types))


async def test_routes_are_counted_by_their_templates(house: House) -> None:
    await house.api.get(f"/v1/jobs/job_{'0' * 26}")
    await house.api.get("/nothing/to/see")
    await house.api.request("BREW", "/v1/jobs")
    text = (await house.api.get("/metrics")).text
    assert 'route="/v1/jobs/{id}",status="404"' in text
    assert 'route="unmatched",status="404"' in text
    assert 'method="other"' in text
    assert "nothing/to/see" not in text
    assert "BREW" not in text


async def test_numbers_may_be_kept_for_the_bearer_of_a_token(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url, RELAY_METRICS_TOKEN="a token for metrics") as house:
        async with house.client(None) as nobody:
            refused(await nobody.get("/metrics"), 401, "unauthorized")
        refused(await house.api.get("/metrics"), 401, "unauthorized")
        async with house.client("a token for metrics") as scraper:
            assert (await scraper.get("/metrics")).status_code == 200
            refused(await scraper.get("/v1/jobs"), 401, "unauthorized")


async def test_each_web_process_leaves_its_numbers_where_the_others_find_them(house: House) -> None:
    keys = [key async for key in house.relay.redis.scan_iter(f"{KEY_PREFIX}web-*")]
    assert len(keys) == 1
    assert await house.relay.redis.ttl(keys[0]) > 0
