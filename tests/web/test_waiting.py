"""Long polling and the feed: heard of at once, and without a question to the database while nothing happens."""

import asyncio
import time
from typing import Any

from sqlalchemy import event

from relay.domain.job import Memo, expire
from tests.trips import TENANT, until
from tests.web.house import House, refused, told


async def end(house: House, job_id: str) -> None:
    """Ends a job as a station would."""
    job = (await house.relay.store.load_jobs([job_id]))[job_id]
    endings = await house.relay.announcer.endings([expire(job, Memo(), house.relay.clock.now())], {})
    assert await house.relay.store.advance_jobs(endings) == {job_id}
    await house.relay.announcer.put(one.announcement for one in endings if one.announcement)


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
    waiting = [asyncio.create_task(house.api.get(f"/v1/jobs/{job['id']}?wait=30")) for _ in range(200)]
    await until(lambda: len(house.relay.news._waiting.get(job["id"], ())) == 200)
    await until(lambda: house.relay.news._listener._task is not None)
    await asyncio.sleep(1.0)  # until what everyone asks once has been asked
    queries: list[Any] = []

    def count(*told: Any) -> None:
        queries.append(told)

    engines = {house.relay.store._database.reader.sync_engine, house.relay.store._database.writer.sync_engine}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", count)
    try:
        await asyncio.sleep(4.0)  # the time in which nothing happens is what is measured
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", count)
    assert len(queries) <= 4
    await end(house, job["id"])
    answers = await asyncio.wait_for(asyncio.gather(*waiting), 20)
    assert {told(one)["status"] for one in answers} == {"expired"}


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
