"""Long polling and the feed: heard of at once, and without a question to the database while nothing happens."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event

from relay.domain.job import Memo, expire
from relay.embedded import EmbeddedRedis
from tests.trips import TENANT, until
from tests.web.house import House, opened, refused, told

POLLERS = 200
QUIET_SECONDS = 0.8  # longer than any pause between the looks that follow upon news


async def end(house: House, job_id: str) -> None:
    """Ends a job as a station would."""
    job = (await house.relay.store.load_jobs([job_id]))[job_id]
    endings = await house.relay.announcer.endings([expire(job, Memo(), house.relay.clock.now())], {})
    assert await house.relay.store.advance_jobs(endings) == {job_id}
    await house.relay.announcer.put(one.announcement for one in endings if one.announcement)


async def add_test_event(house: House, *, is_told: bool = True) -> str:
    """A `webhook.test` event, for which no subscription is needed here; with `is_told` those who wait hear of it."""
    announcement = await house.relay.announcer.operational(TENANT, "webhook.test", {"message": "a test"})
    await house.relay.store.add_announcement(announcement)
    if is_told:
        await house.relay.announcer.put([announcement])
    return announcement.event.id


@contextmanager
def counted(house: House) -> Iterator[list[Any]]:
    """The statements that the house runs meanwhile."""
    statements: list[Any] = []

    def count(*told: Any) -> None:
        statements.append(told)

    engines = {house.relay.store._database.reader.sync_engine, house.relay.store._database.writer.sync_engine}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", count)
    try:
        yield statements
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", count)


async def are_waiting(house: House, topic: str, count: int) -> None:
    """Returns when so many wait for the topic, hear what is said, and have asked what everyone asks once."""
    await until(lambda: len(house.relay.news._waiting.get(topic, ())) == count)
    await until(lambda: house.relay.news.is_hearing)
    with counted(house) as statements:

        async def is_quiet() -> bool:
            before = len(statements)
            await asyncio.sleep(QUIET_SECONDS)
            return len(statements) == before

        await until(is_quiet)


async def test_who_waits_for_a_job_hears_of_its_ending_at_once(house: House) -> None:
    await house.add_credential()
    job = await house.add_job()
    waiting = asyncio.create_task(house.api.get(f"/v1/jobs/{job['id']}?wait=20"))
    await until(lambda: job["id"] in house.relay.news.topics())
    started = time.monotonic()
    await end(house, job["id"])
    shown = told(await waiting)
    assert shown["status"] == "expired"
    assert time.monotonic() - started < 2


async def test_a_wait_ends_with_the_job_as_it_is(house: House) -> None:
    await house.add_credential()
    job = await house.add_job()
    shown = told(await house.api.get(f"/v1/jobs/{job['id']}?wait=1"))
    assert shown["status"] == "pending"
    for wait in ("0", "31", "soon"):
        refused(await house.api.get(f"/v1/jobs/{job['id']}?wait={wait}"), 400, "invalid_request")


async def test_what_redis_did_not_tell_is_found_all_the_same(house: House) -> None:
    await house.add_credential()
    job = await house.add_job()
    waiting = asyncio.create_task(house.api.get(f"/v1/jobs/{job['id']}?wait=25"))
    await until(lambda: job["id"] in house.relay.news.topics())
    row = (await house.relay.store.load_jobs([job["id"]]))[job["id"]]
    endings = await house.relay.announcer.endings([expire(row, Memo(), house.relay.clock.now())], {})
    await house.relay.store.advance_jobs(endings)
    assert told(await asyncio.wait_for(waiting, 15))["status"] == "expired"


async def test_many_who_wait_cost_less_than_a_query_a_second(house: House) -> None:
    await house.add_credential()
    job = await house.add_job()
    waiting = [asyncio.create_task(house.api.get(f"/v1/jobs/{job['id']}?wait=30")) for _ in range(POLLERS)]
    await are_waiting(house, job["id"], POLLERS)
    with counted(house) as statements:
        await asyncio.sleep(4.0)  # the time in which nothing happens is what is measured
    assert len(statements) <= 4
    await end(house, job["id"])
    answers = await asyncio.wait_for(asyncio.gather(*waiting), 20)
    assert {told(one)["status"] for one in answers} == {"expired"}


async def test_many_who_wait_at_the_feed_cost_nothing_and_read_an_event_together(house: House) -> None:
    start = told(await house.api.get("/v1/events?after=now"))["next_cursor"]
    parameters = {"after": start, "wait": "30"}
    waiting = [asyncio.create_task(house.api.get("/v1/events", params=parameters)) for _ in range(POLLERS)]
    await are_waiting(house, TENANT, POLLERS)
    with counted(house) as statements:
        await asyncio.sleep(4.0)  # the time in which nothing happens is what is measured
    assert statements == []
    with counted(house) as statements:
        event_id = await add_test_event(house)
        answers = await asyncio.wait_for(asyncio.gather(*waiting), 20)
    assert {tuple(one["id"] for one in told(answer)["data"]) for answer in answers} == {(event_id,)}
    assert len(statements) < POLLERS / 2


async def test_what_the_filter_leaves_out_ends_no_wait_at_the_feed_and_costs_little(house: House) -> None:
    start = told(await house.api.get("/v1/events?after=now"))["next_cursor"]
    parameters = {"after": start, "type": "job.expired", "wait": "10"}
    waiting = [asyncio.create_task(house.api.get("/v1/events", params=parameters)) for _ in range(POLLERS)]
    await are_waiting(house, TENANT, POLLERS)
    with counted(house) as statements:
        await add_test_event(house)
        done, _ = await asyncio.wait(waiting, timeout=2.0)
        assert not done
    assert len(statements) < POLLERS / 2
    pages = [told(answer) for answer in await asyncio.wait_for(asyncio.gather(*waiting), 20)]
    assert {len(page["data"]) for page in pages} == {0}
    (cursor,) = {page["next_cursor"] for page in pages}
    assert told(await house.api.get("/v1/events", params={"after": cursor}))["data"] == []


async def test_what_the_filter_wants_is_given_at_once_and_once(house: House) -> None:
    await house.add_credential()
    jobs = [await house.add_job(f"job-{number}") for number in range(3)]
    cursor, seen = "start", []
    for job in jobs:
        parameters = {"after": cursor, "type": "job.expired", "wait": "20", "limit": "1"}
        waiting = asyncio.create_task(house.api.get("/v1/events", params=parameters))
        await until(lambda: TENANT in house.relay.news.topics())
        for _ in range(3):
            await add_test_event(house)
        began = time.monotonic()
        await end(house, job["id"])
        page = told(await asyncio.wait_for(waiting, 10))
        assert time.monotonic() - began < 2
        cursor = page["next_cursor"]
        seen += [one["job"] for one in page["data"]]
    assert seen == [job["id"] for job in jobs]


async def test_the_feed_finds_what_redis_could_not_tell(database_url: str, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        async with opened(database_url, server.url) as house:
            start = told(await house.api.get("/v1/events?after=now"))["next_cursor"]
            parameters = {"after": start, "wait": "25"}
            waiting = asyncio.create_task(house.api.get("/v1/events", params=parameters))
            await until(lambda: house.relay.news.is_hearing)
            server.stop()
            await until(lambda: not house.relay.news.is_hearing)
            event_id = await add_test_event(house, is_told=False)  # as another process would, and cannot
            page = told(await asyncio.wait_for(waiting, 15))
            assert [one["id"] for one in page["data"]] == [event_id]


async def test_a_wait_at_the_feed_ends_with_a_look_when_nothing_could_be_heard(
    database_url: str, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        async with opened(database_url, server.url) as house:
            start = told(await house.api.get("/v1/events?after=now"))["next_cursor"]
            server.stop()
            parameters = {"after": start, "wait": "2"}
            waiting = asyncio.create_task(house.api.get("/v1/events", params=parameters))
            await until(lambda: TENANT in house.relay.news.topics())
            event_id = await add_test_event(house, is_told=False)
            page = told(await asyncio.wait_for(waiting, 15))
            assert [one["id"] for one in page["data"]] == [event_id]


async def test_who_waits_in_this_process_hears_of_what_it_could_not_tell_redis(
    database_url: str, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        async with opened(database_url, server.url) as house:
            start = told(await house.api.get("/v1/events?after=now"))["next_cursor"]
            server.stop()
            parameters = {"after": start, "wait": "25"}
            waiting = asyncio.create_task(house.api.get("/v1/events", params=parameters))
            await until(lambda: TENANT in house.relay.news.topics())
            event_id = await add_test_event(house)
            page = told(await asyncio.wait_for(waiting, 3))
            assert [one["id"] for one in page["data"]] == [event_id]


async def test_the_feed_gives_each_event_once_in_order_and_waits_for_more(house: House) -> None:
    await house.add_credential()
    jobs = [await house.add_job(f"job-{number}") for number in range(5)]
    for job in jobs[:3]:
        await end(house, job["id"])
    page = told(await house.api.get("/v1/events?after=start&limit=2"))
    seen = [one["job"] for one in page["data"]]
    page = told(await house.api.get("/v1/events", params={"after": page["next_cursor"], "limit": "2"}))
    seen += [one["job"] for one in page["data"]]
    assert seen == [job["id"] for job in jobs[:3]]
    parameters = {"after": page["next_cursor"], "wait": "20"}
    waiting = asyncio.create_task(house.api.get("/v1/events", params=parameters))
    await until(lambda: TENANT in house.relay.news.topics())
    await end(house, jobs[3]["id"])
    page = told(await asyncio.wait_for(waiting, 10))
    assert [one["job"] for one in page["data"]] == [jobs[3]["id"]]
    page = told(await house.api.get("/v1/events", params={"after": page["next_cursor"], "wait": "1"}))
    assert page["data"] == []
    assert page["next_cursor"]


async def test_the_feed_begins_where_one_wants(house: House) -> None:
    page = told(await house.api.get("/v1/events?after=now"))
    await house.add_credential()
    job = await house.add_job()
    await end(house, job["id"])
    page = told(await house.api.get("/v1/events", params={"after": page["next_cursor"]}))
    assert [one["job"] for one in page["data"]] == [job["id"]]
    assert told(await house.api.get("/v1/events?after=now"))["data"] == []
    refused(await house.api.get("/v1/events?after=nonsense"), 400, "invalid_request")
    refused(await house.api.get("/v1/events?wait=3"), 400, "invalid_request")
