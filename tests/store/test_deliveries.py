"""Deliveries and their attempts: each attempt is kept once, and takes effect once."""

import asyncio
from dataclasses import replace
from typing import Any

from relay.domain.delivery import Delivery, DeliveryStatus
from relay.domain.place import Place
from relay.domain.recovery import Recovery, RecoveryStatus
from relay.store import Parcel, Store
from relay.store.rows import Summons
from tests.store.facts import NOW, SECOND, TENANT, announcement, attempt, delivery, event, job, record, subscription


async def decided(store: Store, to: str = "sub_1", **different: object) -> Delivery:
    """A delivery to that subscription, written down."""
    told = announcement(event(), to, **different)
    await store.add_announcement(told)
    return told.deliveries[0]


async def test_deliveries_are_listed_by_what_they_are(store: Store) -> None:
    told = event(job_id=job().id)
    first, second = delivery(told, subscription_id="sub_1"), delivery(told, status=DeliveryStatus.HELD)
    await store.add_announcement(replace(announcement(told), deliveries=(first, second)))
    third = await decided(store)
    await store.add_announcement(announcement(event(tenant="another"), "sub_1"))
    assert await store.list_deliveries(TENANT) == [third, second, first]
    assert await store.list_deliveries(TENANT, status="held") == [second]
    assert await store.list_deliveries(TENANT, status=DeliveryStatus.PENDING) == [third, first]
    assert await store.list_deliveries(TENANT, subscription="sub_1") == [third, first]
    assert await store.list_deliveries(TENANT, event=told.id) == [second, first]
    assert await store.list_deliveries(TENANT, job=told.job_id) == [second, first]
    assert await store.list_deliveries(TENANT, place=Place(second.id), limit=1) == [first]


async def test_a_parcel_is_the_delivery_and_its_event(store: Store) -> None:
    told = announcement(event(), "sub_1", expires_at=NOW)
    await store.add_announcement(told)
    (one,) = told.deliveries
    assert await store.load_parcels([one.id, "dlv_absent"]) == {one.id: Parcel(one, told.event)}
    assert await store.load_parcels([]) == {}


async def test_an_attempt_is_kept_as_it_was_made(store: Store) -> None:
    before = await decided(store)
    made = record(before)
    assert await store.record_attempts([made]) == {before.id}
    assert await store.list_attempts(TENANT, before.id) == [made.attempt]
    assert await store.list_attempts("another", before.id) == []
    assert await store.find_delivery(TENANT, before.id) == made.delivery
    assert await store.record_attempts([]) == set()


async def test_of_two_that_made_the_same_attempt_one_is_kept(store: Store) -> None:
    before = await decided(store)
    first, second = record(before), record(before, status=DeliveryStatus.SUCCEEDED, completed_at=NOW)
    assert await store.record_attempts([first]) == {before.id}
    assert await store.record_attempts([second]) == set()
    assert await store.list_attempts(TENANT, before.id) == [first.attempt]
    assert await store.find_delivery(TENANT, before.id) == first.delivery


async def test_a_record_repeated_after_its_answer_was_lost_still_took_effect(store: Store) -> None:
    before = await decided(store)
    made = record(before)
    assert await store.record_attempts([made]) == {before.id}
    assert await store.record_attempts([made]) == {before.id}
    assert await store.list_attempts(TENANT, before.id) == [made.attempt]


async def test_the_attempt_is_kept_when_its_delivery_was_held_during_the_call(store: Store) -> None:
    one = subscription(id="sub_1")
    await store.add_subscription(one)
    before = await decided(store)
    await store.suspend_deliveries(TENANT, "sub_1", NOW)
    made = record(before)
    assert await store.record_attempts([made]) == set()
    assert await store.list_attempts(TENANT, before.id) == [made.attempt]
    held = replace(before, status=DeliveryStatus.HELD, next_attempt_at=None, attempts_made=1)
    assert await store.find_delivery(TENANT, before.id) == held
    (released,) = await store.release_deliveries(TENANT, "sub_1", NOW, 9)
    again = record(released)
    assert await store.record_attempts([again]) == {before.id}
    assert await store.list_attempts(TENANT, before.id) == [made.attempt, again.attempt]


async def test_the_attempt_is_kept_when_its_delivery_was_cancelled_during_the_call(store: Store) -> None:
    before = await decided(store)
    await store.remove_subscription(TENANT, "sub_1", NOW)
    made = record(before)
    assert await store.record_attempts([made]) == set()
    assert await store.list_attempts(TENANT, before.id) == [made.attempt]
    found = await store.find_delivery(TENANT, before.id)
    assert found is not None
    assert (found.status, found.attempts_made) == (DeliveryStatus.CANCELLED, 1)


async def test_what_was_acknowledged_is_not_sent_again_though_it_was_held_or_cancelled_during_the_call(
    store: Store,
) -> None:
    await store.add_subscription(subscription(id="sub_1"))
    held, cancelled = await decided(store), await decided(store, "sub_2")
    await store.suspend_deliveries(TENANT, "sub_1", NOW)
    await store.remove_subscription(TENANT, "sub_2", NOW)
    made = [record(one, status=DeliveryStatus.SUCCEEDED, completed_at=NOW) for one in (held, cancelled)]
    assert await store.record_attempts(made) == {held.id, cancelled.id}
    for one in made:
        assert await store.find_delivery(TENANT, one.delivery.id) == one.delivery
        assert await store.list_attempts(TENANT, one.delivery.id) == [one.attempt]
    assert await store.release_deliveries(TENANT, "sub_1", NOW, 9) == []


async def test_what_is_told_of_a_record_is_written_when_it_takes_effect_alone(store: Store) -> None:
    before = await decided(store)
    exhausted = record(before, status=DeliveryStatus.EXHAUSTED, completed_at=NOW, next_attempt_at=None)
    told = announcement(event(type="delivery.exhausted"), "sub_2")
    assert await store.record_attempts([replace(exhausted, announcement=told)]) == {before.id}
    late = announcement(event(type="delivery.exhausted"), "sub_2")
    assert await store.record_attempts([replace(record(before), announcement=late)]) == set()
    assert await store.list_events(TENANT, type="delivery.exhausted") == [told.event]


async def test_a_batch_takes_each_record_by_itself(store: Store) -> None:
    deliveries = [await decided(store) for _ in range(5)]
    records = [record(one) for one in deliveries]
    gone = record(delivery(event()))
    stale = replace(records[1], expected_attempts=3)
    second = record(records[2].delivery)
    unwritable: Any = {"a": object()}
    poison = replace(records[4], attempt=replace(records[4].attempt, request_headers=unwritable))
    batch = [records[0], gone, stale, records[2], second, records[3], poison]
    assert await store.record_attempts(batch) == {deliveries[number].id for number in (0, 2, 3)}
    assert [one.number for one in await store.list_attempts(TENANT, deliveries[2].id)] == [1, 2]
    assert await store.find_delivery(TENANT, deliveries[1].id) == deliveries[1]
    assert await store.find_delivery(TENANT, deliveries[4].id) == deliveries[4]


async def test_many_records_of_the_same_deliveries_at_once_take_effect_once(store: Store) -> None:
    told = [announcement(event(), "sub_1") for _ in range(50)]
    for one in told:
        await store.add_announcement(one)
    deliveries = [one.deliveries[0] for one in told]
    turns = [[record(one) for one in (deliveries if turn % 2 else deliveries[::-1])] for turn in range(6)]
    took = await asyncio.gather(*(store.record_attempts(turn) for turn in turns))
    assert sum(len(ids) for ids in took) == len(deliveries)
    for each in deliveries:
        assert len(await store.list_attempts(TENANT, each.id)) == 1


async def test_a_body_with_what_a_database_refuses_is_kept_readable(store: Store) -> None:
    before = await decided(store)
    made = attempt(before)
    odd = replace(made, answer=replace(made.answer, response_body="a\0b\ud800c", response_headers=(("x", "\0"),)))
    assert await store.record_attempts([replace(record(before), attempt=odd)]) == {before.id}
    (kept,) = await store.list_attempts(TENANT, before.id)
    assert kept.answer.response_body == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert kept.answer.response_headers == (("x", "\0"),)


async def test_what_has_ended_or_waits_can_be_summoned_again(store: Store) -> None:
    statuses = {DeliveryStatus.SUCCEEDED: 0, DeliveryStatus.EXHAUSTED: 0, DeliveryStatus.PENDING: 3}
    for status, steps in statuses.items():
        before = await decided(store, status=status, attempts_made=3, steps=3, completed_at=NOW)
        summoned = await store.summon_delivery(TENANT, before.id, "manual", NOW + SECOND)
        again = await store.summon_delivery(TENANT, before.id, "manual", NOW + SECOND)
        expected = replace(
            before,
            status=DeliveryStatus.PENDING,
            next_attempt_at=NOW + SECOND,
            next_trigger="manual",
            completed_at=None,
            steps=steps,
        )
        assert (summoned, again) == (Summons(expected, is_new=True), Summons(expected, is_new=False))


async def test_what_is_held_cancelled_or_anothers_is_not_summoned(store: Store) -> None:
    for status in (DeliveryStatus.HELD, DeliveryStatus.CANCELLED):
        before = await decided(store, status=status)
        summoned = await store.summon_delivery(TENANT, before.id, "manual", NOW + SECOND)
        assert summoned == Summons(before, is_new=False)
    pending = await decided(store)
    assert await store.summon_delivery("another", pending.id, "manual", NOW) is None
    assert await store.find_delivery(TENANT, pending.id) == pending


async def test_a_redelivery_asked_for_during_a_call_is_still_made(store: Store) -> None:
    before = await decided(store)
    await store.summon_delivery(TENANT, before.id, "manual", NOW + SECOND)
    made = record(before, status=DeliveryStatus.SUCCEEDED, completed_at=NOW, next_attempt_at=None)
    assert await store.record_attempts([made]) == {before.id}
    now = await store.find_delivery(TENANT, before.id)
    assert now is not None
    assert (now.status, now.next_trigger, now.next_attempt_at, now.completed_at, now.attempts_made) == (
        DeliveryStatus.PENDING,
        "manual",
        NOW + SECOND,
        None,
        1,
    )
    again = record(now, status=DeliveryStatus.SUCCEEDED, completed_at=NOW, next_attempt_at=None)
    assert again.attempt.trigger == "manual"
    assert await store.record_attempts([again]) == {before.id}
    assert await store.find_delivery(TENANT, before.id) == again.delivery


async def test_nothing_is_exhausted_that_was_asked_for_again_during_its_last_call(store: Store) -> None:
    before = await decided(store)
    await store.summon_delivery(TENANT, before.id, "manual", NOW + SECOND)
    exhausted = record(before, status=DeliveryStatus.EXHAUSTED, completed_at=NOW, next_attempt_at=None)
    told = announcement(event(type="delivery.exhausted"), "sub_2")
    assert await store.record_attempts([replace(exhausted, announcement=told)]) == {before.id}
    now = await store.find_delivery(TENANT, before.id)
    assert now is not None
    assert now.status is DeliveryStatus.PENDING
    assert await store.list_events(TENANT, type="delivery.exhausted") == []


async def test_a_recovery_brings_back_what_was_exhausted_in_the_time_asked_for(store: Store) -> None:
    await store.add_subscription(subscription(id="sub_1"))
    gone = {"status": DeliveryStatus.EXHAUSTED, "attempts_made": 13, "steps": 12, "completed_at": NOW}
    early = await decided(store, **gone, created_at=NOW - SECOND)
    first, second = [await decided(store, **gone) for _ in range(2)]
    await decided(store, **gone, created_at=NOW + 9 * SECOND)
    await decided(store, status=DeliveryStatus.SUCCEEDED)
    recovery = Recovery("rcv_1", TENANT, "sub_1", NOW, NOW + 9 * SECOND, RecoveryStatus.RUNNING, None, 0, NOW, None)
    await store.add_recovery(recovery)
    assert await store.running_recoveries(9) == ["rcv_1"]
    now = NOW + 10 * SECOND
    steps = [await store.advance_recovery("rcv_1", now, 1) for _ in range(4)]
    after: dict[str, Any] = {"status": DeliveryStatus.PENDING, "completed_at": None, "next_attempt_at": now}
    after |= {"steps": 0, "has_quick_retried": False, "next_trigger": "recovery"}
    recovered = [replace(one, **after) for one in (first, second)]
    assert [one for step in steps for one in step.deliveries] == recovered
    assert [step.is_over for step in steps] == [False, False, True, True]
    done = replace(recovery, status=RecoveryStatus.COMPLETED, place=second.id, recovered=2, completed_at=now)
    assert await store.list_recoveries(TENANT, "sub_1") == [done]
    assert await store.list_recoveries("another", "sub_1") == []
    assert await store.running_recoveries(9) == []
    assert await store.find_delivery(TENANT, early.id) == early
