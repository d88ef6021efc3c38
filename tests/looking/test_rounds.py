"""Many jobs of one credential are asked for by the page, and each of them ends as a look at it would have ended it."""

import asyncio
import re
from collections import Counter
from itertools import pairwise

import pytest
from redis.asyncio import Redis

from relay.domain.credential import CredentialStatus
from relay.domain.moments import rfc3339, seconds_after
from relay.domain.round import FAULTS_BORNE, fault_gap
from relay.web.job_views import job_views
from tests.account_stub import Said, VocuAccount
from tests.looking.scenes import HUAWEI, VOCU, Enter, Scene, running, scene
from tests.provider_stub import CREDENTIALS, hex_id, uuid_id
from tests.swift import SWIFT_SECONDS
from tests.trips import TENANT, until, working

INTERVAL_SECONDS = 3.0  # the providers' own


async def test_a_thousand_jobs_take_ten_requests_a_round(database_url: str, redis_url: str) -> None:
    account = running(1000)
    async with scene(database_url, redis_url, account, HUAWEI, **CREDENTIALS[HUAWEI]) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay, drains=2):
            await until(lambda: sum(one.query["offset"] == "0" for one in account.pages) == 4)
            starts = [one.at for one in account.pages if one.query["offset"] == "0"]
            before = [one for one in account.asked if one.at < starts[3]]
            assert len(before) <= 3 * 10 * 1.01
            assert all(late - early >= INTERVAL_SECONDS for early, late in pairwise(starts))
            assert starts[3] - starts[0] <= 3 * INTERVAL_SECONDS * 1.15
            account.end()
            await here.ended(1000)
        assert not account.looks
        assert len(account.asked) <= 51  # and one round that saw the end
        job = (await here.relay.store.list_jobs(TENANT, limit=1))[0]
        assert job.result is not None
        assert [file["url"] for file in job.result["files"]] == ["https://files.example/a.mp3"]
        assert job.polls >= 4


async def test_a_list_without_a_total_is_read_to_its_end(swift_scene: Enter) -> None:
    account = VocuAccount({uuid_id(number): {"status": "processing", "metadata": {}} for number in range(250)})
    async with swift_scene(account, VOCU) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len(account.pages) >= 3)
            account.end()
            await here.ended(250)
        assert not account.looks
        assert [one.query["offset"] for one in account.pages[:3]] == ["0", "100", "200"]


async def test_a_list_that_gives_less_than_it_is_asked_for_is_read_on(swift_scene: Enter) -> None:
    jobs = {uuid_id(number): {"status": "processing", "metadata": {}} for number in range(70)}
    account = VocuAccount(jobs, page_max=30)
    async with swift_scene(account, VOCU) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len(account.pages) >= 3)
            account.end()
            await here.ended(70)
        assert not account.looks
        assert [one.query["offset"] for one in account.pages[:3]] == ["0", "30", "60"]


async def test_a_job_alone_is_looked_at_singly(swift_scene: Enter) -> None:
    account = running(1)
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len(account.looks) == 2)
            account.end()
            await here.ended(1)
        assert not account.pages
        first, second, *_ = account.looks
        assert second.at - first.at >= SWIFT_SECONDS * 0.89


async def test_a_job_that_the_list_does_not_show_is_asked_for_singly_and_never_concluded_about(
    swift_scene: Enter,
) -> None:
    account = running(150)
    hidden = hex_id(7)
    account.unlisted.add(hidden)
    async with swift_scene(account) as here:
        ids = await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len(account.looks) >= 2)
            assert {one.job for one in account.looks} == {hidden}
            assert (await here.statuses()) == {"pending": 150}
            account.end()
            await here.ended(150)
        assert {one.job for one in account.looks} == {hidden}
        job = await here.relay.store.find_job(TENANT, ids[list(account.jobs).index(hidden)])
        assert job is not None
        assert job.result is not None
        assert job.polls >= 3


async def test_a_job_that_shows_up_again_returns_to_the_rounds(swift_scene: Enter) -> None:
    account = running(20)
    late = hex_id(3)
    account.unlisted.add(late)
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: account.looks)
            account.unlisted.clear()
            pages = len(account.pages)
            await until(lambda: len(account.pages) >= pages + 2)
            looks = len(account.looks)
            await until(lambda: len(account.pages) >= pages + 4)
            assert len(account.looks) == looks
            account.end()
            await here.ended(20)


async def test_where_the_form_of_the_window_is_refused_the_list_is_asked_without_one(swift_scene: Enter) -> None:
    account = running(120)
    error = {"error_code": "MSS.000000003", "error_msg": "create_since is not a number", "request_id": "r"}
    account.refuse_list = lambda query: (400, error) if "create_since" in query else None
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len(account.pages) >= 5)
            assert [("create_since" in one.query) for one in account.pages[:5]] == [True, *[False] * 4]
            account.end()
            await here.ended(120)
        assert not account.looks


async def test_jobs_older_than_the_window_widen_it(swift_scene: Enter) -> None:
    account = running(50)
    account.refuse_list = lambda query: (200, {"count": 0, "data": []}) if "create_since" in query else None
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len(account.pages) >= 5)
            assert [("create_since" in one.query) for one in account.pages[:5]] == [True, True, False, False, False]
            account.end()
            await here.ended(50)
        assert not account.looks


@pytest.mark.parametrize(
    "refusal",
    [
        (404, "no such page"),
        (403, {"error_code": "APIGW.0302", "error_msg": "no permission for this list"}),
        (401, {"error_code": "MSS.000000004", "error_msg": "invalid access"}),
        (400, {"error_code": "MSS.000000003", "error_msg": "invalid parameter"}),
        (200, {"data": "not a list"}),
        (402, {"error_msg": "lists cost extra"}),
    ],
)
async def test_where_the_list_is_refused_single_looks_do_the_work_and_the_credential_stays_active(
    refusal: Said, swift_scene: Enter
) -> None:
    account = running(30)
    account.refuse_list = lambda _: refusal
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len({one.job for one in account.looks}) == 30, 5)
            account.end()
            await here.ended(30)
        assert len(account.pages) * 5 < len(account.looks)
        # It is tried again, each time at least so much later, however slow the machine is: with a window and without.
        tries = [one.at for one in account.pages if "create_since" in one.query]
        assert len(account.pages) <= 2 * len(tries)
        for number, (early, late) in enumerate(pairwise(tries), start=FAULTS_BORNE + 1):
            assert late - early >= fault_gap(number, SWIFT_SECONDS, 0.0)
        credential = await here.relay.store.find_credential(TENANT, here.credential_id)
        assert credential is not None
        assert credential.status is CredentialStatus.ACTIVE


async def test_a_list_that_fails_in_passing_is_borne_once_and_then_left_to_single_looks(swift_scene: Enter) -> None:
    account = running(30)
    account.refuse_list = lambda _: (502, "<html>bad gateway</html>")
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len({one.job for one in account.looks}) == 30, 15)
            assert sum(one.at < account.looks[0].at for one in account.pages) == 2
            account.end()
            await here.ended(30)


async def test_a_throttled_list_holds_the_credential_for_all_that_was_asked(swift_scene: Enter) -> None:
    account = running(250)
    throttles = [(429, {"error_code": "APIGW.0308", "error_msg": "slow down"}, {"retry-after": "4"})]
    account.refuse_list = lambda query: throttles.pop() if throttles and query["offset"] == "100" else None
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay, drains=2):
            await until(lambda: len(account.asked) >= 5)
            assert account.asked[2].at - account.asked[1].at >= 4.0
            account.end()
            await here.ended(250)
        assert not account.looks


async def test_a_deadline_is_kept_with_one_last_look(swift_scene: Enter) -> None:
    account = running(40)
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs)[:30])
        await here.watch(list(account.jobs)[30:], deadline_seconds=4.0)
        async with working(here.relay):

            async def are_expired() -> bool:
                return (await here.statuses()).get("expired", 0) == 10

            await until(are_expired, 12)
        last = Counter(one.job for one in account.looks)
        assert last == dict.fromkeys(list(account.jobs)[30:], 1)
        assert (await here.statuses())["pending"] == 30


async def test_a_success_whose_link_the_list_does_not_show_is_settled_by_looks(swift_scene: Enter) -> None:
    account = running(10)
    bare = hex_id(4)
    async with swift_scene(account) as here:
        ids = await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: account.pages)
            account.jobs[bare] = {"state": "SUCCEED"}
            await here.ended(1, 30)
            job = await here.relay.store.find_job(TENANT, ids[3])
            assert job is not None
            assert job.status == "completed"
            assert job.result is not None
            assert job.result["files"] == []
        assert {one.job for one in account.looks} == {bare}


async def test_a_flush_of_redis_loses_no_job_and_rounds_are_made_again(swift_scene: Enter, redis: Redis) -> None:
    account = running(300)
    async with swift_scene(account, max_requests_per_second=20.0) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len(account.pages) >= 3)
            await redis.flushall()
            flushed = len(account.pages)
            await until(lambda: len(account.pages) >= flushed + 6)
            assert len(account.looks) <= 150  # until the first round, what the budget allows
            looks = len(account.looks)
            await until(lambda: len(account.pages) >= flushed + 12)
            assert len(account.looks) <= looks + 3
            account.end()
            await here.ended(300)


async def test_the_window_begins_a_little_before_the_oldest_job(swift_scene: Enter) -> None:
    account = running(5)
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: account.pages)
        oldest = (await here.relay.store.list_jobs(TENANT, limit=200))[-1]
        since = account.pages[0].query["create_since"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", since)
        assert since < f"{oldest.created_at:%Y-%m-%dT%H:%M:%SZ}"


async def test_newcomers_wait_for_the_next_round_instead_of_costing_a_request_each(swift_scene: Enter) -> None:
    account = running(300)
    jobs = list(account.jobs)
    async with swift_scene(account) as here:
        await here.watch(jobs[:100])
        async with working(here.relay):
            await until(lambda: account.pages)
            for job in jobs[100:]:
                await here.watch([job])
                await asyncio.sleep(0.01)
            await until(lambda: len(account.pages) >= 7)
            account.end()
            await here.ended(300)
        assert not account.looks


async def test_the_next_poll_that_is_shown_is_the_round(swift_scene: Enter) -> None:
    account = running(5)
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len(account.pages) >= 2)
            await until(lambda: are_caught(here))
            jobs = await here.relay.store.list_jobs(TENANT)
            soon = seconds_after(here.relay.clock.now(), SWIFT_SECONDS + 0.2)
            shown = [view["next_poll_at"] for view in await job_views(here.relay, jobs)]
        assert all(moment <= rfc3339(soon) for moment in shown)


async def are_caught(here: Scene) -> bool:
    """Whether no round is under way, which keeps single looks away for long."""
    return here.credential_id in await here.relay.polls.waiting(here.credential_id, 100)
