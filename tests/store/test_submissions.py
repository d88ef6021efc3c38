"""Submitted jobs: written before they are asked for, named once, and gone when their provider has refused."""

import asyncio
from dataclasses import replace
from typing import Any

from relay.domain.job import Job, JobStatus, submitted
from relay.store import Ending, Registration, Store
from tests.store.facts import NOW, SECOND, TENANT, announcement, event, job, registrations, subscription


def nameless(**different: Any) -> Job:
    """A job that its provider has been asked for."""
    return job(**{"status": JobStatus.SUBMITTING, "provider_job_id": None, "tracking": None, **different})


def named(one: Job, provider_job_id: str = "theirs") -> Job:
    after = submitted(one, "created", provider_job_id=provider_job_id)
    assert after is not None
    return after


async def test_a_submission_is_written_once_for_its_mark(store: Store) -> None:
    first, again = nameless(submission="m"), nameless(submission="m")
    assert await store.open_submission(Registration(first)) == (first, True)
    assert await store.open_submission(Registration(again)) == (first, False)
    assert await store.find_submission("m") == first
    assert await store.find_submission("n") is None
    assert await store.list_jobs(TENANT) == [first]


async def test_a_submission_that_is_repeated_with_the_same_ids_is_told_that_it_was_written(store: Store) -> None:
    one = nameless(submission="m")
    callback = subscription(job_id=one.id)
    for _ in range(2):
        assert await store.open_submission(Registration(one, callback)) == (one, True)
    assert [each.id for each in (await store.listening({TENANT}, [one.id]))[TENANT]] == [callback.id]


async def test_without_a_mark_every_submission_is_one_of_its_own(store: Store) -> None:
    one, other = nameless(), nameless()
    assert (await store.open_submission(Registration(one)))[1]
    assert (await store.open_submission(Registration(other)))[1]
    assert len(await store.list_jobs(TENANT)) == 2


async def test_many_submissions_of_one_mark_at_once_write_one_job(store: Store) -> None:
    told = await asyncio.gather(*(store.open_submission(Registration(nameless(submission="m"))) for _ in range(12)))
    assert [is_new for _, is_new in told].count(True) == 1
    assert len({one.id for one, _ in told}) == 1


async def test_a_named_submission_is_pending_and_tracked(store: Store) -> None:
    one = nameless(submission="m")
    await store.open_submission(Registration(one))
    after = named(one)
    for _ in range(2):
        assert await store.place_submission(after) == after
    assert await store.find_submission("m") == after
    twin = job(tracking=after.tracking)
    assert await store.register_jobs(registrations(twin)) == [(after, False)]


async def test_where_another_job_tracks_the_id_that_one_is_given_and_nothing_is_kept_of_this_one(store: Store) -> None:
    one = nameless(submission="m")
    callback = subscription(job_id=one.id)
    await store.open_submission(Registration(one, callback))
    after = named(one)
    holder = job(tracking=after.tracking)
    await store.register_jobs(registrations(holder))
    for _ in range(2):
        assert await store.place_submission(after) == replace(holder, submission="m")
    assert await store.list_jobs(TENANT) == [replace(holder, submission="m")]
    assert await store.find_submission("m") == replace(holder, submission="m")
    [moved] = (await store.listening({TENANT}, [one.id, holder.id]))[TENANT]
    assert (moved.id, moved.job_id, moved.url) == (callback.id, holder.id, callback.url)


async def test_a_job_that_takes_another_ones_place_keeps_its_own_mark_and_is_called_at_each_url_once(
    store: Store,
) -> None:
    first, second = nameless(submission="m"), nameless(submission="n")
    callback = subscription(job_id=first.id)
    await store.open_submission(Registration(first, callback))
    await store.open_submission(Registration(second, subscription(job_id=second.id, url=callback.url)))
    holder = await store.place_submission(named(first))
    assert await store.place_submission(named(second)) == holder
    assert await store.find_submission("m") == holder
    assert await store.find_submission("n") is None
    [kept] = (await store.listening({TENANT}, [first.id, second.id]))[TENANT]
    assert kept.id == callback.id


async def test_the_callback_of_a_job_that_gives_way_to_one_that_has_ended_is_gone(store: Store) -> None:
    one, holder = nameless(), job()
    await store.register_jobs(registrations(holder))
    done = replace(holder, status=JobStatus.COMPLETED, completed_at=NOW, result={"files": []})
    await store.advance_jobs([Ending(done)])
    await store.open_submission(Registration(one, subscription(job_id=one.id)))
    assert await store.place_submission(replace(named(one), tracking=holder.tracking)) == done
    assert (await store.listening({TENANT}, [one.id, holder.id])).get(TENANT, []) == []


async def test_of_many_submissions_that_get_one_id_at_once_one_stays(store: Store) -> None:
    jobs = [nameless() for _ in range(8)]
    for one in jobs:
        await store.open_submission(Registration(one))
    placed = await asyncio.gather(*(store.place_submission(named(one)) for one in jobs))
    assert [None if one is None else one.id for one in placed].count(None) == 0
    assert len({one.id for one in placed if one is not None}) == 1
    assert len(await store.list_jobs(TENANT)) == 1


async def test_a_job_that_was_cancelled_meanwhile_stays_beside_the_one_that_tracks_its_id(store: Store) -> None:
    one = nameless()
    await store.open_submission(Registration(one))
    holder = job(tracking=named(one).tracking)
    await store.register_jobs(registrations(holder))
    cancelled = await store.cancel_job(TENANT, one.id, NOW + SECOND)
    assert cancelled is not None
    assert await store.place_submission(named(one)) == replace(cancelled, provider_job_id="theirs")
    assert len(await store.list_jobs(TENANT)) == 2


async def test_a_submission_that_ended_meanwhile_gets_its_id_and_stays_as_it_is(store: Store) -> None:
    one = nameless()
    await store.open_submission(Registration(one))
    cancelled = await store.cancel_job(TENANT, one.id, NOW + SECOND)
    assert cancelled is not None
    assert cancelled.status is JobStatus.CANCELLED
    assert await store.place_submission(named(one)) == replace(cancelled, provider_job_id="theirs")
    assert await store.place_submission(named(one, "another")) == replace(cancelled, provider_job_id="theirs")


async def test_a_refused_submission_is_gone_with_its_callback(store: Store) -> None:
    one, other = nameless(submission="m"), nameless()
    await store.open_submission(Registration(one, subscription(job_id=one.id)))
    await store.open_submission(Registration(other, subscription(job_id=other.id)))
    assert await store.withdraw_submission(one.id)
    assert not await store.withdraw_submission(one.id)
    assert await store.find_job(TENANT, one.id) is None
    assert await store.find_submission("m") is None
    assert await store.place_submission(named(one)) is None
    assert [each.job_id for each in (await store.listening({TENANT}, [one.id, other.id]))[TENANT]] == [other.id]


async def test_only_what_is_still_submitting_is_withdrawn(store: Store) -> None:
    one = nameless()
    await store.open_submission(Registration(one))
    await store.place_submission(named(one))
    assert not await store.withdraw_submission(one.id)
    assert await store.find_job(TENANT, one.id) == named(one)


async def test_a_doubt_is_written_while_the_job_is_submitting(store: Store) -> None:
    one = nameless(warnings=("retired",))
    await store.open_submission(Registration(one))
    doubted = submitted(one, "unclear", doubt="who knows")
    assert doubted is not None
    assert await store.doubt_submission(doubted) == replace(one, warnings=("retired", "who knows"))
    await store.cancel_job(TENANT, one.id, NOW)
    after = await store.doubt_submission(replace(doubted, warnings=("later",)))
    assert after is not None
    assert after.warnings == ("retired", "who knows")


async def test_a_job_in_doubt_is_overdue_after_its_deadline_and_ends_once(store: Store) -> None:
    late, later = nameless(deadline_at=NOW + 2 * SECOND), job(deadline_at=NOW + SECOND)
    await store.open_submission(Registration(late))
    await store.register_jobs(registrations(later))
    assert await store.overdue_jobs(NOW, 10) == []
    assert [one.id for one in await store.overdue_jobs(NOW + 3 * SECOND, 10)] == [later.id, late.id]
    assert [one.id for one in await store.overdue_jobs(NOW + 3 * SECOND, 1)] == [later.id]
    expired = replace(late, status=JobStatus.EXPIRED, completed_at=NOW + 3 * SECOND)
    told = announcement(event(type="job.expired", job_id=late.id, ending_of=late.id))
    assert await store.advance_jobs([Ending(expired, told)]) == {late.id}
    assert await store.advance_jobs([Ending(expired, announcement(event(ending_of=late.id)))]) == set()
    assert await store.find_job(TENANT, late.id) == expired


async def test_a_job_in_doubt_is_not_looked_at(store: Store) -> None:
    await store.open_submission(Registration(nameless()))
    assert await store.pending_jobs(None, 10) == []
    assert await store.recent_pending_jobs(NOW - SECOND, NOW + SECOND, 10) == []


async def test_the_link_of_a_completed_job_is_revoked_once(store: Store) -> None:
    one = job()
    await store.register_jobs(registrations(one))
    done = replace(one, status=JobStatus.COMPLETED, completed_at=NOW, result={"files": []})
    await store.advance_jobs([Ending(done)])
    for later in (1, 2):
        revoked = await store.cancel_job(TENANT, one.id, NOW + later * SECOND)
        assert revoked == replace(done, link_revoked_at=NOW + SECOND)
    assert await store.cancel_job("another", one.id, NOW) is None
