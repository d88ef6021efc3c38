"""What the sweep asks, what is forgotten, and what is learned."""

from dataclasses import replace
from datetime import timedelta

from relay.domain.credential import CredentialStatus
from relay.domain.delivery import DeliveryStatus
from relay.domain.subscription import SubscriptionStatus
from relay.store import (
    BusyCredential,
    BusySubscription,
    Ending,
    PendingDelivery,
    PendingJob,
    Registration,
    Store,
    Stray,
)
from relay.store.upkeep import DURATIONS_PER_KIND_MAX
from tests.store.facts import (
    NOW,
    SECOND,
    TENANT,
    announcement,
    credential,
    ended,
    ending,
    event,
    job,
    record,
    registrations,
    subscription,
)

LATER = NOW + timedelta(days=40)


async def test_pending_jobs_are_walked_by_id_and_the_recent_by_time(store: Store) -> None:
    jobs = [job(created_at=NOW + number * SECOND) for number in range(5)]
    await store.register_jobs(registrations(*jobs))
    await store.advance_jobs([Ending(ended(jobs[1]))])
    rows = [PendingJob(one.id, one.credential_id, one.created_at) for one in jobs]
    assert await store.pending_jobs(None, 2) == [rows[0], rows[2]]
    assert await store.pending_jobs(jobs[2].id, 9) == [rows[3], rows[4]]
    assert await store.pending_jobs(jobs[4].id, 9) == []
    assert await store.recent_pending_jobs(NOW + SECOND, NOW + 3 * SECOND, 9) == [rows[2], rows[3]]
    assert await store.recent_pending_jobs(NOW, NOW + 9 * SECOND, 1) == [rows[0]]


async def test_pending_deliveries_are_walked_by_id_and_the_recent_by_time(store: Store) -> None:
    told = [announcement(event(), "sub_1", created_at=NOW + number * SECOND) for number in range(3)]
    held = announcement(event(), "sub_1", status=DeliveryStatus.HELD)
    for one in (*told, held):
        await store.add_announcement(one)
    rows = [PendingDelivery(one.deliveries[0].id, "sub_1", NOW, None) for one in told]
    assert await store.pending_deliveries(None, 2) == rows[:2]
    assert await store.pending_deliveries(rows[0].id, 9) == rows[1:]
    assert await store.recent_pending_deliveries(NOW + SECOND, NOW + SECOND, 9) == [rows[1]]


async def test_the_oldest_that_is_pending_says_since_when_there_was_something_to_do(store: Store) -> None:
    assert await store.oldest_pending() == (None, None)
    done, first, second = (job(created_at=NOW + number * SECOND) for number in range(3))
    await store.register_jobs(registrations(second, first, done))
    await store.advance_jobs([Ending(ended(done))])
    assert await store.oldest_pending() == (NOW + SECOND, None)
    held = announcement(event(), "sub_1", status=DeliveryStatus.HELD, created_at=NOW)
    for one in (held, *(announcement(event(), "sub_1", created_at=NOW + number * SECOND) for number in (4, 3))):
        await store.add_announcement(one)
    assert await store.oldest_pending() == (NOW + SECOND, NOW + 3 * SECOND)


async def test_overdue_jobs_come_the_longest_overdue_first(store: Store) -> None:
    late, later, in_time = (job(deadline_at=NOW + number * SECOND) for number in (2, 1, 9))
    done = job(deadline_at=NOW)
    await store.register_jobs(registrations(late, later, in_time, done))
    await store.advance_jobs([Ending(ended(done))])
    assert await store.overdue_jobs(NOW + 5 * SECOND, 9) == [later, late]
    assert await store.overdue_jobs(NOW + 5 * SECOND, 1) == [later]


async def test_the_busy_come_with_their_limits(store: Store) -> None:
    busy = credential(status=CredentialStatus.THROTTLED, throttled_until=NOW + SECOND)
    idle = credential()
    listener = subscription(hold_until=NOW + SECOND)
    for one in (busy, idle):
        await store.add_credential(one)
    for listening in (listener, subscription()):
        await store.add_subscription(listening)
    done = job(credential_id=idle.id)
    await store.register_jobs(registrations(job(credential_id=busy.id), job(credential_id=busy.id), done))
    await store.advance_jobs([Ending(ended(done))])
    await store.add_announcement(announcement(event(), listener.id))
    status, until = CredentialStatus.THROTTLED, NOW + SECOND
    assert await store.credentials_with_pending() == [
        BusyCredential(busy.id, TENANT, "camb", 2.5, 4, status, until, NOW)
    ]
    assert await store.subscriptions_with_pending() == [
        BusySubscription(listener.id, TENANT, 16, SubscriptionStatus.ACTIVE, until, NOW)
    ]


async def test_deliveries_that_do_not_stand_as_their_subscription_are_found_and_mended(store: Store) -> None:
    active, paused, removed, sound = (subscription() for _ in range(4))
    for one in (active, paused, removed, sound):
        await store.add_subscription(one)
    await store.add_announcement(announcement(event(), active.id, status=DeliveryStatus.HELD))
    await store.add_announcement(announcement(event(), sound.id))
    await store.change_subscription(replace(paused, status=SubscriptionStatus.PAUSED), NOW)
    await store.add_announcement(announcement(event(), paused.id))
    await store.remove_subscription(TENANT, removed.id, NOW)
    await store.add_announcement(announcement(event(), removed.id))
    assert await store.stray_subscriptions(9) == [
        Stray(TENANT, active.id, "release"),
        Stray(TENANT, paused.id, "suspend"),
        Stray(TENANT, removed.id, "cancel"),
    ]
    assert len(await store.release_deliveries(TENANT, active.id, NOW, 9)) == 1
    assert await store.suspend_deliveries(TENANT, paused.id, NOW) == 1
    await store.remove_subscription(TENANT, removed.id, NOW)
    assert await store.stray_subscriptions(9) == []
    counted = {"pending": 2, "held": 1, "cancelled": 1}
    assert await store.count_deliveries(TENANT) == counted


async def test_what_ended_long_ago_is_forgotten_with_all_that_was_told_of_it(store: Store) -> None:
    old, awaited, fresh, pending = job(), job(), job(), job()
    callback = subscription(job_id=old.id)
    told = [Registration(old, callback), *registrations(awaited, fresh, pending)]
    await store.register_jobs(told)
    late = NOW + timedelta(days=39)
    endings = [ending(old, callback.id), ending(awaited, "sub_1"), ending(fresh, completed_at=late)]
    await store.advance_jobs(endings)
    for one in endings[:2]:
        assert one.announcement is not None
        (each,) = one.announcement.deliveries
        status = DeliveryStatus.SUCCEEDED if one is endings[0] else DeliveryStatus.PENDING
        await store.record_attempts([record(each, status=status)])
    before = LATER - timedelta(days=30)
    assert await store.prune(before, 10) == 1
    assert await store.prune(before, 10) == 0
    left = [one.id for one in await store.list_jobs(TENANT)]
    assert left == [pending.id, fresh.id, awaited.id]
    assert len(await store.list_events(TENANT)) == 2
    (kept,) = await store.list_deliveries(TENANT)
    assert len(await store.list_attempts(TENANT, kept.id)) == 1
    assert await store.list_subscriptions(TENANT, include_callbacks=True) == []
    async with store._database.reader.connect() as connection:
        attempts = (await connection.exec_driver_sql("SELECT count(*) FROM attempts")).scalar_one()
    assert attempts == 1


async def test_an_event_that_is_still_to_be_delivered_stays(store: Store) -> None:
    told = announcement(event(type="webhook.test"), "sub_1")
    await store.add_announcement(told)
    assert await store.prune(LATER, 9) == 0
    done = record(told.deliveries[0], status=DeliveryStatus.EXHAUSTED, next_attempt_at=None, completed_at=NOW)
    await store.record_attempts([done])
    assert await store.prune(LATER, 9) == 1
    assert await store.list_deliveries(TENANT) == []


async def test_forgetting_is_done_in_small_batches_until_nothing_is_left(store: Store) -> None:
    jobs = [job() for _ in range(5)]
    await store.register_jobs(registrations(*jobs))
    await store.advance_jobs([ending(one, "sub_1", completed_at=NOW) for one in jobs])
    await store.remove_subscription(TENANT, "sub_1", NOW)
    for _ in range(3):
        await store.add_announcement(announcement(event(type="webhook.test")))
    gone = subscription()
    await store.add_subscription(gone)
    await store.remove_subscription(TENANT, gone.id, NOW)
    counts = []
    while count := await store.prune(LATER, 2):
        counts.append(count)
    assert sum(counts) == 5 + 3 + 1
    assert max(counts) <= 4 * 2
    assert await store.list_events(TENANT) == []
    assert await store.list_jobs(TENANT) == []


async def test_a_removed_subscription_stays_while_something_waits_for_it(store: Store) -> None:
    one = subscription()
    await store.add_subscription(one)
    await store.remove_subscription(TENANT, one.id, NOW)
    await store.add_announcement(announcement(event(created_at=LATER), one.id))
    assert await store.prune(LATER, 9) == 0
    await store.remove_subscription(TENANT, one.id, NOW)
    assert await store.prune(LATER, 9) == 1


async def test_the_newest_durations_of_each_kind_are_kept_in_ascending_order(store: Store) -> None:
    await store.note_durations([("camb", "dub", 3.5, NOW), ("camb", "dub", 1.0, NOW), ("vocu", "", 9.0, NOW)])
    await store.note_durations([])
    assert await store.durations() == {("camb", "dub"): [1.0, 3.5], ("vocu", ""): [9.0]}
    assert await store.durations("camb", 1) == {("camb", "dub"): [1.0]}
    many = [("camb", "dub", float(number), NOW) for number in range(DURATIONS_PER_KIND_MAX + 20)]
    await store.note_durations(many)
    found = await store.durations("camb", 10_000)
    assert found == {("camb", "dub"): [float(number) for number in range(20, DURATIONS_PER_KIND_MAX + 20)]}
    assert await store.durations("vocu") == {("vocu", ""): [9.0]}


async def test_a_tenants_jobs_and_deliveries_are_counted(store: Store) -> None:
    one, other = job(), job()
    await store.register_jobs(registrations(one, other, job(tenant="another")))
    await store.advance_jobs([ending(one, "sub_1", "sub_2")])
    assert await store.count_jobs(TENANT) == {"pending": 1, "completed": 1}
    assert await store.count_deliveries(TENANT) == {"pending": 2}
    assert await store.count_jobs("nobody") == {}


async def test_a_store_that_answers_answers_a_ping(store: Store) -> None:
    await store.ping()
