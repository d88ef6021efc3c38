"""Jobs: registered once, ended once, whoever tries."""

import asyncio
from dataclasses import replace
from typing import Any

from relay.domain.job import JobStatus
from relay.domain.place import Place
from relay.store import Ending, Registration, Store
from relay.store.jobs import END
from relay.store.rows import ending_values
from tests.store.facts import NOW, SECOND, TENANT, announcement, ended, ending, event, job, registrations, subscription


async def test_a_job_comes_back_as_it_was_written(store: Store) -> None:
    one = job(metadata={"b": 1, "a": {"ü": [None, True, 1.5]}, "nul": "a\\u0000b"})
    assert await store.register_jobs(registrations(one)) == [(one, True)]
    found = await store.find_job(TENANT, one.id)
    assert found == one
    assert list(found.metadata) == ["b", "a", "nul"]
    assert await store.find_job("another", one.id) is None
    assert await store.load_jobs([one.id, "job_absent"]) == {one.id: one}


async def test_the_same_tracking_gives_the_existing_job(store: Store) -> None:
    one, other = job(tracking="t"), job(tracking="t")
    fresh, untracked = job(), job(tracking=None)
    await store.register_jobs(registrations(one))
    told = await store.register_jobs(registrations(fresh, other, untracked, replace(fresh, id="job_twice")))
    assert told == [(fresh, True), (one, False), (untracked, True), (fresh, False)]
    assert await store.find_job(TENANT, other.id) is None
    assert await store.register_jobs([]) == []


async def test_a_registration_that_is_repeated_with_the_same_ids_is_told_that_it_was_written(store: Store) -> None:
    one = job()
    await store.register_jobs(registrations(one))
    assert await store.register_jobs(registrations(one)) == [(one, True)]


async def test_a_cancelled_job_gives_its_tracking_free(store: Store) -> None:
    one = job(tracking="t")
    await store.register_jobs(registrations(one))
    cancelled = await store.cancel_job(TENANT, one.id, NOW + SECOND)
    assert cancelled == replace(one, status=JobStatus.CANCELLED, completed_at=NOW + SECOND, tracking=None)
    other = job(tracking="t")
    assert await store.register_jobs(registrations(other)) == [(other, True)]
    assert await store.cancel_job(TENANT, one.id, NOW + 9 * SECOND) == cancelled
    assert await store.cancel_job("another", other.id, NOW) is None


async def test_a_completed_job_keeps_its_tracking(store: Store) -> None:
    one = job(tracking="t")
    await store.register_jobs(registrations(one))
    await store.advance_jobs([Ending(ended(one))])
    assert await store.register_jobs(registrations(job(tracking="t"))) == [(ended(one), False)]


async def test_many_calls_for_the_same_ids_at_once_write_each_job_once(store: Store) -> None:
    trackings = [f"t{number}" for number in range(40)]
    calls = [[job(tracking=one) for one in (trackings if turn % 2 else trackings[::-1])] for turn in range(6)]
    answers = await asyncio.gather(*(store.register_jobs(registrations(*jobs)) for jobs in calls))
    assert sum(is_new for answer in answers for _, is_new in answer) == len(trackings)
    told = [each for answer in answers for each in answer]
    holders = {one.tracking: one.id for one, is_new in told if is_new}
    assert all(holders[one.tracking] == one.id for one, _ in told)
    assert len(await store.list_jobs(TENANT, limit=200)) == len(trackings)


async def test_a_callback_is_a_subscription_of_its_job(store: Store) -> None:
    one = job()
    callback = subscription(job_id=one.id, url="https://example.com/1")
    await store.register_jobs([Registration(one, callback)])
    assert await store.listening({TENANT}, [one.id]) == {TENANT: [callback]}
    assert await store.listening({TENANT}, []) == {}
    assert await store.list_subscriptions(TENANT) == []
    assert await store.list_subscriptions(TENANT, include_callbacks=True) == [callback]


async def test_a_further_callback_joins_a_pending_job_unless_its_url_is_there(store: Store) -> None:
    one, other = job(tracking="t"), job(tracking="t")
    first = subscription(job_id=one.id, url="https://example.com/1")
    await store.register_jobs([Registration(one, first)])
    same = subscription(job_id=other.id, url="https://example.com/1")
    new = subscription(job_id=other.id, url="https://example.com/2")
    told = [Registration(other, same), Registration(other, new), Registration(other, replace(new, id="sub_twice"))]
    assert await store.register_jobs(told) == [(one, False)] * 3
    assert await store.listening({TENANT}, [one.id]) == {TENANT: [first, replace(new, job_id=one.id)]}


async def test_a_callback_does_not_join_a_job_that_has_ended(store: Store) -> None:
    one = job(tracking="t")
    await store.register_jobs(registrations(one))
    await store.advance_jobs([Ending(ended(one))])
    other = job(tracking="t")
    told = await store.register_jobs([Registration(other, subscription(job_id=other.id))])
    assert told == [(ended(one), False)]
    assert await store.list_subscriptions(TENANT, include_callbacks=True) == []


async def test_jobs_are_listed_by_what_they_are(store: Store) -> None:
    first = job(provider="vocu", metadata={})
    second = job(credential_id="crd_two", provider_job_id="42", metadata={"order": "B", "count": 5, "is_rush": True})
    third = job(metadata={"order": "B", 'it\'s "$.quoted"': "ö", "long": "x" * 5000})
    await store.register_jobs(registrations(first, second, third, job(tenant="another", metadata={"order": "B"})))
    await store.advance_jobs([Ending(ended(first))])
    assert [one.id for one in await store.list_jobs(TENANT)] == [third.id, second.id, first.id]
    assert await store.list_jobs(TENANT, place=Place(third.id), limit=1) == [second]
    assert await store.list_jobs(TENANT, status=JobStatus.COMPLETED) == [ended(first)]
    assert await store.list_jobs(TENANT, provider="vocu", status="pending") == []
    assert await store.list_jobs(TENANT, credential="crd_two") == [second]
    assert await store.list_jobs(TENANT, provider_job_id="42") == [second]
    assert await store.list_jobs(TENANT, metadata={"order": "B"}) == [third, second]
    assert await store.list_jobs(TENANT, metadata={"order": "B", "count": "5"}) == [second]
    assert await store.list_jobs(TENANT, metadata={"is_rush": "true"}) == [second]
    assert await store.list_jobs(TENANT, metadata={"is_rush": True}) == [second]
    assert await store.list_jobs(TENANT, metadata={'it\'s "$.quoted"': "ö"}) == [third]
    assert await store.list_jobs(TENANT, metadata={"long": "x" * 5000}) == [third]
    assert await store.list_jobs(TENANT, metadata={"is_rush": "1"}) == []
    assert await store.list_jobs(TENANT, metadata={"absent": "B"}) == []


async def test_an_ending_is_written_with_what_is_told_of_it(store: Store) -> None:
    one = job()
    await store.register_jobs(registrations(one))
    end = ending(one, "sub_1", "sub_2")
    assert await store.advance_jobs([end]) == {one.id}
    assert await store.find_job(TENANT, one.id) == ended(one)
    assert end.announcement is not None
    assert await store.list_events(TENANT, job=one.id) == [end.announcement.event]
    assert await store.list_deliveries(TENANT, job=one.id) == list(reversed(end.announcement.deliveries))
    assert await store.delivery_counts([one.id, "job_absent"]) == {one.id: {"pending": 2}}


async def test_the_first_ending_wins_and_the_loser_writes_nothing(store: Store) -> None:
    one, cancelled, fresh = job(), job(), job()
    await store.register_jobs(registrations(one, cancelled, fresh))
    await store.cancel_job(TENANT, cancelled.id, NOW)
    first, second = ending(one, "sub_1"), ending(one, "sub_1", status=JobStatus.FAILED)
    assert await store.advance_jobs([first, second, ending(cancelled, "sub_1")]) == {one.id}
    assert await store.advance_jobs([second, ending(fresh)]) == {fresh.id}
    assert await store.find_job(TENANT, one.id) == ended(one)
    assert len(await store.list_events(TENANT)) == 2
    assert len(await store.list_deliveries(TENANT)) == 1


async def test_an_ending_repeated_after_its_answer_was_lost_still_has_won(store: Store) -> None:
    one = job()
    await store.register_jobs(registrations(one))
    end = ending(one, "sub_1")
    assert await store.advance_jobs([end]) == {one.id}
    assert await store.advance_jobs([end]) == {one.id}
    assert len(await store.list_deliveries(TENANT)) == 1


async def test_many_endings_of_the_same_jobs_at_once_give_each_job_one_event(store: Store) -> None:
    jobs = [job() for _ in range(100)]
    await store.register_jobs(registrations(*jobs))
    turns = [[ending(one, "sub_1") for one in (jobs if turn % 2 else jobs[::-1])] for turn in range(6)]
    won = await asyncio.gather(*(store.advance_jobs(turn) for turn in turns))
    assert sum(len(ids) for ids in won) == len(jobs)
    events = await store.list_events(TENANT, limit=1000)
    assert {one.ending_of for one in events} == {one.id for one in jobs}
    assert len(events) == len(jobs)


async def test_of_many_endings_at_once_that_tell_nobody_one_is_kept(store: Store) -> None:
    jobs = [job() for _ in range(50)]
    await store.register_jobs(registrations(*jobs))
    turns = [[Ending(ended(one, polls=turn)) for one in jobs] for turn in range(6)]
    won = await asyncio.gather(*(store.advance_jobs(turn) for turn in turns))
    assert sum(len(ids) for ids in won) == len(jobs)
    kept = await store.load_jobs([one.id for one in jobs])
    assert all(kept[one.id].polls == turn for turn, ids in enumerate(won) for one in jobs if one.id in ids)


async def test_a_callback_waits_for_an_ending_that_is_under_way_and_does_not_join_it(store: Store) -> None:
    one = job(tracking="t")
    await store.register_jobs(registrations(one))
    late = Registration(job(tracking="t"), subscription())
    async with store._database.writer.begin() as connection:
        await connection.execute(END, {"of": one.id, **ending_values(ended(one))})
        registering = asyncio.create_task(store.register_jobs([late]))
        await asyncio.wait({registering}, timeout=0.2)
    assert await registering == [(ended(one), False)]
    assert await store.list_subscriptions(TENANT, include_callbacks=True) == []


async def test_a_row_that_cannot_be_written_costs_the_others_nothing(store: Store, logged: list[Any]) -> None:
    jobs = [job() for _ in range(9)]
    await store.register_jobs(registrations(*jobs))
    endings = [ending(one, "sub_1") for one in jobs]
    taken = event(ending_of=jobs[4].id)
    await store.add_announcement(announcement(taken))
    endings[6] = replace(endings[6], job=replace(endings[6].job, result={"raw": object()}))
    won = await store.advance_jobs(endings)
    assert won == {one.id for number, one in enumerate(jobs) if number not in (4, 6)}
    assert len(await store.list_jobs(TENANT, status="pending")) == 2
    assert len(await store.list_deliveries(TENANT)) == 7
    assert [(line["event"], line["log_level"]) for line in logged] == [("row_left_out", "error")] * 2


async def test_text_that_a_database_refuses_does_not_stop_an_ending(store: Store) -> None:
    one = job(metadata={"nul\0key": "nul\0value", "half": "\ud83d"}, provider_job_id="a\0b")
    await store.register_jobs(registrations(one))
    end = ending(one, "sub_1", provider_status="D\0NE", result={"raw": "half a pair \ud83d and a \0"})
    assert await store.advance_jobs([end]) == {one.id}
    found = await store.find_job(TENANT, one.id)
    assert found is not None
    assert found.provider_status == "D\N{REPLACEMENT CHARACTER}NE"
    assert found.result == {"raw": "half a pair \ud83d and a \0"}
    assert await store.list_jobs(TENANT, provider_job_id="a\0b") == [found]
    assert await store.list_jobs(TENANT, metadata={"nul\0key": "nul\0value"}) == [found]


async def test_an_ending_that_does_not_know_of_a_new_callback_loses(store: Store) -> None:
    one = job(tracking="t")
    early = subscription(job_id=one.id)
    await store.register_jobs([Registration(one, early)])
    decided = replace(ending(one, early.id), callbacks=frozenset({early.id}))
    late = subscription(job_id=one.id, url="https://example.com/late")
    await store.register_jobs([Registration(job(tracking="t"), late)])
    assert await store.advance_jobs([decided]) == set()
    assert await store.list_events(TENANT) == []
    again = replace(ending(one, early.id, late.id), callbacks=frozenset({early.id, late.id}))
    assert await store.advance_jobs([again]) == {one.id}


async def test_a_completed_result_gets_fresh_links(store: Store) -> None:
    one, other = job(), job()
    await store.register_jobs(registrations(one, other))
    await store.advance_jobs([Ending(ended(one))])
    assert await store.renew_result(TENANT, one.id, {"files": []}, NOW + SECOND)
    assert await store.find_job(TENANT, one.id) == ended(one, result={"files": []}, result_fetched_at=NOW + SECOND)
    assert not await store.renew_result(TENANT, other.id, {"files": []}, NOW)
    assert not await store.renew_result("another", one.id, {"files": []}, NOW)
