"""The asynchronous client and the real application."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from relay.client import AsyncClient, NotEnded, ProblemError
from tests.web.house import BASE_URL, House

NO_ID = "0" * 26


@pytest.fixture
async def relay(house: House) -> AsyncIterator[AsyncClient]:
    """A client of the application, of a tenant with one credential."""
    await house.add_credential()
    transport = httpx.ASGITransport(house.app)
    async with AsyncClient(BASE_URL, await house.new_key(), transport=transport) as relay:
        yield relay


async def test_a_job_is_made_found_looked_at_and_let_go(relay: AsyncClient) -> None:
    job = await relay.jobs.create("camb", "x", credential="main", metadata={"order": "42"}, deadline_seconds=600)
    assert (await relay.jobs.create("camb", "x"))["id"] == job["id"]
    assert (await relay.jobs.get(job["id"]))["status"] == "pending"
    assert (await relay.jobs.refresh(job["id"]))["id"] == job["id"]
    assert (await relay.jobs.timeline(job["id"]))["data"][0]["type"] == "registered"
    with pytest.raises(ProblemError) as raised:
        await relay.jobs.result_url(job["id"])
    assert (raised.value.status, raised.value.code) == (409, "result_not_ready")
    assert [one["id"] async for one in relay.jobs.list(status="pending", metadata={"order": "42"})] == [job["id"]]
    assert [one async for one in relay.jobs.list(metadata={"order": "43"})] == []
    assert (await relay.jobs.cancel(job["id"]))["status"] == "cancelled"


async def test_a_list_is_read_to_its_end_each_item_once(relay: AsyncClient) -> None:
    told = await relay.jobs.batch([{"provider": "camb", "provider_job_id": f"job-{one}"} for one in range(250)])
    assert [one["status"] for one in told] == [201] * 250
    seen = [job["provider_job_id"] async for job in relay.jobs.list(provider="camb", credential="main")]
    assert sorted(seen) == sorted(f"job-{one}" for one in range(250))


async def test_one_bad_item_of_a_batch_has_its_own_problem(relay: AsyncClient) -> None:
    good, bad = await relay.jobs.batch([{"provider": "camb", "provider_job_id": "x"}, {"provider": "camb"}])
    assert good["job"]["provider_job_id"] == "x"
    assert [one["pointer"] for one in bad["problem"]["errors"]] == ["/provider_job_id"]


async def test_a_problem_names_every_fault(relay: AsyncClient) -> None:
    with pytest.raises(ProblemError, match="/url") as raised:
        await relay.subscriptions.create("ftp://x", max_in_flight=0, secret="nothing")
    problem = raised.value
    assert (problem.status, problem.code) == (422, "invalid_request")
    assert {one["pointer"] for one in problem.errors} == {"/url", "/max_in_flight", "/secret"}
    assert problem.request_id
    assert problem.retry_after_seconds is None


async def test_what_is_not_there_is_a_problem(relay: AsyncClient) -> None:
    with pytest.raises(ProblemError) as raised:
        await relay.jobs.get(f"job_{NO_ID}")
    assert (raised.value.status, raised.value.code) == (404, "not_found")


async def test_a_job_that_goes_on_is_waited_for_so_long_and_no_longer(relay: AsyncClient) -> None:
    job = await relay.jobs.create("camb", "x")
    async with asyncio.timeout(10):
        with pytest.raises(NotEnded) as raised:
            await relay.jobs.wait_for(job["id"], timeout_seconds=1.2)
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.job["id"] == job["id"]


async def test_a_job_that_ends_while_it_is_waited_for_comes_back_ended(relay: AsyncClient) -> None:
    job = await relay.jobs.create("camb", "x")
    waiting = asyncio.create_task(relay.jobs.wait_for(job["id"], timeout_seconds=20))
    await asyncio.sleep(0)
    await relay.jobs.cancel(job["id"])
    async with asyncio.timeout(10):
        assert (await waiting)["status"] == "cancelled"


async def test_a_subscription_is_made_changed_tested_and_ended(relay: AsyncClient) -> None:
    made = await relay.subscriptions.create("http://127.0.0.1:9/x", event_types=["job.failed"], payload="thin")
    assert (await relay.subscriptions.secret(made["id"]))["secret"] == made["secret"]
    rotated = await relay.subscriptions.rotate_secret(made["id"], overlap_seconds=60)
    assert [one["secret"] for one in rotated["secrets"]][1:] == [made["secret"]]
    paused = await relay.subscriptions.change(made["id"], {"status": "paused", "description": "for now"})
    assert (paused["status"], paused["description"]) == ("paused", "for now")
    assert [one["id"] async for one in relay.subscriptions.list(status="paused")] == [made["id"]]
    assert (await relay.subscriptions.activate(made["id"]))["status"] == "active"
    delivery = await relay.subscriptions.test(made["id"])
    assert [one["id"] async for one in relay.deliveries.list(subscription=made["id"])] == [delivery["id"]]
    assert (await relay.deliveries.get(delivery["id"]))["attempts"] == []
    assert (await relay.deliveries.redeliver(delivery["id"]))["status"] == "pending"
    await relay.subscriptions.remove(made["id"])
    with pytest.raises(ProblemError):
        await relay.subscriptions.get(made["id"])


async def test_the_feed_goes_on_with_what_happens_meanwhile(relay: AsyncClient) -> None:
    made = await relay.subscriptions.create("http://127.0.0.1:9/x")
    for _ in range(2):
        await relay.subscriptions.test(made["id"])
    listed = [one["id"] async for one in relay.events.list(type="webhook.test")]
    feed = relay.events.feed("start")
    async with asyncio.timeout(20):
        assert [(await anext(feed))["id"] for _ in range(2)] == listed[::-1]
        later = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0)
        delivery = await relay.subscriptions.test(made["id"])
        assert (await later)["id"] == delivery["event"]
    assert (await relay.events.get(delivery["event"]))["type"] == "webhook.test"


async def test_a_page_of_the_feed_says_where_to_go_on(relay: AsyncClient) -> None:
    made = await relay.subscriptions.create("http://127.0.0.1:9/x")
    for _ in range(3):
        await relay.subscriptions.test(made["id"])
    first = await relay.events.page("start", limit=2)
    assert first["next_cursor"]
    second = await relay.events.page(first["next_cursor"], limit=2)
    assert (len(first["data"]), len(second["data"])) == (2, 1)
    assert (await relay.events.page("now"))["data"] == []


async def test_credentials_and_keys_are_made_and_ended(relay: AsyncClient, house: House) -> None:
    made = await relay.credentials.create("spare", "camb", {"api_key": "k"}, max_concurrency=2)
    assert (await relay.credentials.get(made["id"]))["secrets"] == ["api_key"]
    assert (await relay.credentials.change(made["id"], {"max_concurrency": None}))["max_concurrency"] is None
    assert [one["name"] async for one in relay.credentials.list(provider="camb")] == ["spare", "main"]
    await relay.credentials.remove(made["id"])
    key = await relay.keys.create("reader", scopes=["read"])
    async with AsyncClient(BASE_URL, key["key"], transport=httpx.ASGITransport(house.app)) as reader:
        assert [one["name"] async for one in reader.credentials.list()] == ["main"]
        with pytest.raises(ProblemError) as raised:
            await reader.jobs.create("camb", "x")
        assert raised.value.code == "forbidden"
    assert key["id"] in [one["id"] async for one in relay.keys.list()]
    await relay.keys.revoke(key["id"])
    assert key["id"] not in [one["id"] async for one in relay.keys.list()]


async def test_what_there_is_can_be_read(relay: AsyncClient) -> None:
    names = [one["name"] async for one in relay.providers.list()]
    assert (await relay.providers.get("camb"))["name"] in names
    assert "job.completed" in [one["name"] async for one in relay.event_types()]
    assert (await relay.stats())["jobs"]["total"] == 0
