"""Subscriptions, and what becomes of their deliveries when they change."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

from relay.domain.delivery import DeliveryStatus
from relay.domain.place import Place
from relay.domain.subscription import SubscriptionStatus
from relay.store import Registration, Store
from tests.store.facts import NOW, SECOND, TENANT, announcement, delivery, event, job, subscription


async def found(store: Store, subscription_id: str) -> tuple[datetime | None, datetime | None, datetime | None]:
    """What the workers have noted of it."""
    one = await store.find_subscription(TENANT, subscription_id)
    assert one is not None
    return one.last_success_at, one.failing_since, one.hold_until


async def test_the_same_id_again_gives_what_is_there_and_is_no_second_one(store: Store) -> None:
    one = subscription()
    assert await store.add_subscription(one) == one
    other = replace(one, url="https://other.example/", updated_at=NOW + SECOND)
    assert await store.add_subscription(other) == one
    assert await store.list_subscriptions(TENANT) == [one]
    await store.remove_subscription(TENANT, one.id, NOW)
    assert await store.add_subscription(other) == other
    assert await store.list_subscriptions(TENANT) == []


async def test_a_subscription_comes_back_as_it_was_written(store: Store) -> None:
    one = subscription(disabled_reason="410", failing_since=NOW, last_success_at=NOW, hold_until=NOW)
    await store.add_subscription(one)
    assert await store.find_subscription(TENANT, one.id) == one
    assert await store.find_subscription("another", one.id) is None
    assert await store.load_subscriptions([one.id, "sub_absent"]) == {one.id: one}


async def test_subscriptions_are_listed_by_status_and_in_pages(store: Store) -> None:
    old, paused, new = subscription(), subscription(status=SubscriptionStatus.PAUSED), subscription()
    for one in (old, paused, new, subscription(tenant="another")):
        await store.add_subscription(one)
    assert await store.list_subscriptions(TENANT) == [new, paused, old]
    assert await store.list_subscriptions(TENANT, status=SubscriptionStatus.PAUSED) == [paused]
    assert await store.list_subscriptions(TENANT, place=Place(new.id), limit=1) == [paused]


async def test_all_of_a_tenant_listen_but_callbacks_to_their_own_job_alone(store: Store) -> None:
    lasting, paused = subscription(), subscription(status=SubscriptionStatus.PAUSED)
    disabled, theirs = subscription(status=SubscriptionStatus.DISABLED), subscription(tenant="another")
    for one in (disabled, paused, lasting, theirs):
        await store.add_subscription(one)
    mine, other = job(), job()
    callback, not_asked = subscription(job_id=mine.id), subscription(job_id=other.id)
    await store.register_jobs([Registration(mine, callback), Registration(other, not_asked)])
    listening = await store.listening({TENANT, "another", "nobody"}, [mine.id])
    assert listening == {TENANT: [lasting, paused, disabled, callback], "another": [theirs]}
    assert await store.listening({"another"}, [mine.id]) == {"another": [theirs]}
    assert await store.listening(set()) == {}


async def test_a_change_is_made_by_whoever_comes_first(store: Store) -> None:
    before = subscription()
    await store.add_subscription(before)
    first = replace(before, url="https://example.com/first", secrets=before.secrets[:1], updated_at=NOW + SECOND)
    assert await store.change_subscription(first, before.updated_at)
    assert not await store.change_subscription(replace(before, url="https://example.com/2"), before.updated_at)
    assert not await store.change_subscription(replace(first, tenant="another"), first.updated_at)
    assert await store.find_subscription(TENANT, before.id) == first


async def test_a_change_keeps_what_workers_noted_meanwhile_and_none_clears_it(store: Store) -> None:
    before = subscription(failing_since=NOW, hold_until=NOW)
    await store.add_subscription(before)
    await store.note_results({before.id: NOW + SECOND}, {})
    await store.hold_subscription(before.id, NOW + 9 * SECOND)
    assert await store.change_subscription(replace(before, description=None), NOW)
    assert await found(store, before.id) == (NOW + SECOND, None, NOW + 9 * SECOND)
    cleared = replace(before, failing_since=None, hold_until=None)
    await store.note_results({}, {before.id: NOW + 2 * SECOND})
    assert await store.change_subscription(cleared, NOW)
    assert await found(store, before.id) == (NOW + SECOND, None, None)


async def test_a_run_of_failures_begins_once_and_ends_with_a_success(store: Store) -> None:
    one, other = subscription(), subscription()
    await store.add_subscription(one)
    await store.add_subscription(other)
    await store.note_results({other.id: NOW}, {one.id: NOW})
    await store.note_results({}, {one.id: NOW + SECOND, "sub_absent": NOW})
    assert await found(store, one.id) == (None, NOW, None)
    assert await found(store, other.id) == (NOW, None, None)
    await store.note_results({one.id: NOW + 3 * SECOND}, {})
    await store.note_results({one.id: NOW + 2 * SECOND}, {})
    assert await found(store, one.id) == (NOW + 3 * SECOND, None, None)
    await store.note_results({}, {})


async def test_a_hold_is_never_shortened(store: Store) -> None:
    one = subscription()
    await store.add_subscription(one)
    await store.hold_subscription(one.id, NOW + 9 * SECOND)
    await store.hold_subscription(one.id, NOW + SECOND)
    assert await found(store, one.id) == (None, None, NOW + 9 * SECOND)


async def test_a_removed_subscription_is_gone_and_its_deliveries_are_cancelled(store: Store) -> None:
    one = subscription()
    await store.add_subscription(one)
    told = event()
    pending, other = delivery(told, subscription_id=one.id), delivery(told)
    done = delivery(event(), subscription_id=one.id, status=DeliveryStatus.SUCCEEDED)
    held = delivery(event(), subscription_id=one.id, status=DeliveryStatus.HELD)
    await store.add_announcement(replace(announcement(told), deliveries=(pending, other)))
    for each in (done, held):
        await store.add_announcement(replace(announcement(event(id=each.event_id)), deliveries=(each,)))
    assert not await store.remove_subscription("another", one.id, NOW)
    assert await store.remove_subscription(TENANT, one.id, NOW + SECOND)
    assert await store.find_subscription(TENANT, one.id) is None
    assert await store.load_subscriptions([one.id]) == {}
    assert await store.listening({TENANT}) == {}
    assert await store.list_subscriptions(TENANT) == []
    gone: dict[str, Any] = {"status": DeliveryStatus.CANCELLED, "next_attempt_at": None, "completed_at": NOW + SECOND}
    expected = [replace(held, **gone), done, other, replace(pending, **gone)]
    assert sorted(await store.list_deliveries(TENANT), key=lambda each: each.id) == sorted(
        expected, key=lambda each: each.id
    )


async def test_removing_again_cancels_what_was_decided_meanwhile(store: Store) -> None:
    one = subscription()
    await store.add_subscription(one)
    assert await store.remove_subscription(TENANT, one.id, NOW)
    late = announcement(event(), one.id)
    await store.add_announcement(late)
    assert not await store.remove_subscription(TENANT, one.id, NOW)
    assert (await store.list_deliveries(TENANT))[0].status is DeliveryStatus.CANCELLED


async def test_disabling_happens_once_holds_what_was_pending_and_is_told_with_it(store: Store) -> None:
    one = subscription()
    await store.add_subscription(one)
    waiting = announcement(event(), one.id)
    await store.add_announcement(waiting)
    told = [announcement(event(type="subscription.disabled"), "sub_other") for _ in range(4)]
    results = await asyncio.gather(*(store.disable_subscription(one.id, "410", NOW + SECOND, [each]) for each in told))
    assert sorted(results) == [False, False, False, True]
    disabled = replace(one, status=SubscriptionStatus.DISABLED, disabled_reason="410", updated_at=NOW + SECOND)
    assert await store.find_subscription(TENANT, one.id) == disabled
    assert len(await store.list_events(TENANT, type="subscription.disabled")) == 1
    held = replace(waiting.deliveries[0], status=DeliveryStatus.HELD, next_attempt_at=None)
    assert await store.list_deliveries(TENANT, subscription=one.id) == [held]


async def test_what_is_suspended_is_released_in_the_order_of_its_expiry(store: Store) -> None:
    one = subscription()
    await store.add_subscription(one)
    never, late, soon, oldest = (event() for _ in range(4))
    decided = [
        delivery(never, subscription_id=one.id, created_at=NOW),
        delivery(late, subscription_id=one.id, expires_at=NOW + 90 * SECOND),
        delivery(soon, subscription_id=one.id, expires_at=NOW + 30 * SECOND),
        delivery(oldest, subscription_id=one.id, created_at=NOW - SECOND),
    ]
    for told, each in zip((never, late, soon, oldest), decided, strict=True):
        await store.add_announcement(replace(announcement(told), deliveries=(each,)))
    assert await store.suspend_deliveries("another", one.id, NOW) == 0
    assert await store.suspend_deliveries(TENANT, one.id, NOW) == 4
    assert await store.suspend_deliveries(TENANT, one.id, NOW) == 0
    assert {each.status for each in await store.list_deliveries(TENANT)} == {DeliveryStatus.HELD}
    assert await store.release_deliveries("another", one.id, NOW, 9) == []
    now = NOW + 5 * SECOND
    first = await store.release_deliveries(TENANT, one.id, now, 3)
    rest = await store.release_deliveries(TENANT, one.id, now, 3)
    expected = [decided[2], decided[1], decided[3], decided[0]]
    assert first + rest == [replace(each, next_attempt_at=now) for each in expected]
    assert await store.release_deliveries(TENANT, one.id, now, 3) == []
