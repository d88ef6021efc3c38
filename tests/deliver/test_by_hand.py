"""What somebody sends again by hand joins the schedule; nothing of it is sent twice, skipped or lost in a crash."""

import asyncio
import json

import pytest

from relay.bootstrap import Relay
from relay.domain.delivery import Delivery, DeliveryStatus
from relay.domain.errors import Conflict
from relay.domain.moments import seconds_after
from relay.domain.recovery import Recovery, RecoveryStatus
from relay.domain.subscription import Subscription, SubscriptionStatus
from tests.deliver.posts import (
    all_ended,
    attempts,
    delivering,
    ended,
    event_ids,
    found,
    post,
    standing,
    subscribe,
    written,
)
from tests.receivers import Call, Receiver, Wire, answering, in_turn
from tests.trips import TENANT, living, until, verified


async def again(relay: Relay, delivery: Delivery) -> Delivery:
    """Redelivers it."""
    redelivered = await relay.steer.redeliver(TENANT, delivery.id)
    assert redelivered is not None
    return redelivered


async def test_a_redelivery_is_a_new_attempt_of_the_same_event_and_marked_so(database_url: str, redis_url: str) -> None:
    """M1."""
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        delivery = await post(relay, await subscribe(relay, inbox))
        async with delivering(relay):
            await ended(relay, delivery)
            summoned = await again(relay, delivery)
            assert (summoned.status, summoned.next_trigger) == (DeliveryStatus.PENDING, "manual")
            made = await attempts(relay, delivery, 2)
            await ended(relay, delivery)
        assert [one.trigger for one in made] == ["schedule", "manual"]
        first, second = inbox.calls
        assert first.body == second.body
        assert first.header("webhook-id") == second.header("webhook-id") == delivery.event_id
        verified(second)


async def test_it_comes_instead_of_the_planned_attempt_and_keeps_its_budget(database_url: str, redis_url: str) -> None:
    """M2: with one retry in the schedule, two redeliveries cost none of it."""
    async with living(database_url, redis_url, RELAY_RETRY_SCHEDULE="2") as relay, Receiver(answering(500)) as inbox:
        delivery = await post(relay, await subscribe(relay, inbox))
        async with delivering(relay):
            for count in (1, 2):
                await attempts(relay, delivery, count)
                await again(relay, delivery)
            (*_, last) = await attempts(relay, delivery, 3)
            waiting = await found(relay, delivery)
            assert (waiting.status, waiting.steps) == (DeliveryStatus.PENDING, 1)
            assert len(inbox.calls) == 3
            exhausted = await ended(relay, delivery, DeliveryStatus.EXHAUSTED)
            made = await attempts(relay, delivery, 4)
        assert exhausted.attempts_made == 4
        assert [one.trigger for one in made] == ["schedule", "manual", "manual", "schedule"]
        assert (made[3].started_at - last.started_at).total_seconds() >= 1.5


async def test_what_was_exhausted_has_its_whole_schedule_before_it_again(database_url: str, redis_url: str) -> None:
    """M2."""
    more = {"RELAY_RETRY_SCHEDULE": "0.1,0.1"}
    async with living(database_url, redis_url, **more) as relay, Receiver(answering(500)) as inbox:
        delivery = await post(relay, await subscribe(relay, inbox))
        async with delivering(relay):
            await ended(relay, delivery, DeliveryStatus.EXHAUSTED)
            await again(relay, delivery)
            made = await attempts(relay, delivery, 6)
            await ended(relay, delivery, DeliveryStatus.EXHAUSTED)
        assert [one.trigger for one in made] == [*["schedule"] * 3, "manual", *["schedule"] * 2]


async def test_two_redeliveries_at_once_are_one_also_while_it_is_under_way(database_url: str, redis_url: str) -> None:
    """M3."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def thoughtful(_: Call, wire: Wire) -> None:
        arrived.set()
        await go_on.wait()
        await wire.respond(200)

    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        delivery = await post(relay, await subscribe(relay, inbox))
        async with delivering(relay):
            await ended(relay, delivery)
            inbox.behaviour = thoughtful
            await asyncio.gather(*(again(relay, delivery) for _ in range(5)))
            await asyncio.wait_for(arrived.wait(), 10)
            await again(relay, delivery)
            go_on.set()
            await attempts(relay, delivery, 2)
            await ended(relay, delivery)
            other = await post(relay, await subscribe(relay, inbox))
            await ended(relay, other)
        assert event_ids(inbox.calls) == [delivery.event_id, delivery.event_id, other.event_id]


@pytest.mark.parametrize("status", [SubscriptionStatus.DISABLED, SubscriptionStatus.PAUSED, None])
async def test_it_is_refused_where_nobody_would_be_called(
    status: SubscriptionStatus | None, database_url: str, redis_url: str
) -> None:
    """M4."""
    async with living(database_url, redis_url) as relay:
        subscription = await subscribe(relay, "http://127.0.0.1:9/", **({"status": status} if status else {}))
        delivery = await post(relay, subscription)
        if status is None:
            assert await relay.steer.remove_subscription(TENANT, subscription.id)
        with pytest.raises(Conflict) as refused:
            await relay.steer.redeliver(TENANT, delivery.id)
        assert refused.value.code == "subscription_not_active"
        if status is not None:
            with pytest.raises(Conflict):
                await relay.steer.recover(subscription, subscription.created_at, None)
        assert await relay.steer.redeliver("another", delivery.id) is None


async def test_an_event_whose_links_have_died_is_delivered_with_the_link_that_lives_on(
    database_url: str, redis_url: str
) -> None:
    """M6."""
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        link = "http://relay.example/r/token"
        delivery = await post(relay, await subscribe(relay, inbox), dies_in_seconds=-3600, result_url=link)
        async with delivering(relay):
            await ended(relay, delivery)
            await again(relay, delivery)
            await attempts(relay, delivery, 2)
        assert [json.loads(call.body)["data"]["result_url"] for call in inbox.calls] == [link, link]


async def exhausted_ones(relay: Relay, subscription: Subscription, count: int) -> list[Delivery]:
    """So many that were given up."""
    return [(await written(relay, subscription, status=DeliveryStatus.EXHAUSTED)).deliveries[0] for _ in range(count)]


async def over(relay: Relay, recovery: Recovery, status: RecoveryStatus = RecoveryStatus.COMPLETED) -> Recovery:
    """The recovery, as soon as it has that status."""

    async def is_so() -> Recovery | None:
        of = await relay.store.list_recoveries(TENANT, recovery.subscription_id)
        return next((one for one in of if one.id == recovery.id and one.status is status), None)

    told: Recovery = await until(is_so)
    return told


async def test_a_recovery_sends_what_never_succeeded_since_then_and_nothing_else(
    database_url: str, redis_url: str
) -> None:
    """M5."""
    more = {"RELAY_RETRY_SCHEDULE": "0.1,3600"}
    async with living(database_url, redis_url, **more) as relay, Receiver(answering(200)) as inbox:
        subscription = await subscribe(relay, inbox)
        other = await subscribe(relay, inbox)
        before = await exhausted_ones(relay, subscription, 2)
        await asyncio.sleep(0.002)  # the times are those of the real clock, in milliseconds
        since = relay.clock.now()
        missed = await exhausted_ones(relay, subscription, 5)
        strangers = await exhausted_ones(relay, other, 2)
        inbox.behaviour = in_turn(answering(200), answering(500))
        async with delivering(relay):
            done = await ended(relay, await post(relay, subscription))
            waiting = await post(relay, subscription)
            await attempts(relay, waiting, 2)  # its next one is an hour away
            inbox.behaviour = answering(200)
            recovery = await relay.steer.recover(subscription, since, None)
            assert (recovery.status, recovery.recovered) == (RecoveryStatus.RUNNING, 0)
            finished = await over(relay, recovery)
            for delivery in (*missed, waiting):
                await ended(relay, delivery)
        assert finished.recovered == 6
        assert finished.completed_at is not None
        assert [(await attempts(relay, one))[-1].trigger for one in missed] == ["recovery"] * 5
        assert [one.trigger for one in await attempts(relay, waiting, 3)] == ["schedule", "schedule", "recovery"]
        for untouched in (*before, *strangers):
            assert (await found(relay, untouched)).status is DeliveryStatus.EXHAUSTED
        assert len(await attempts(relay, done)) == 1


async def test_a_recovery_ends_where_it_was_told_to(database_url: str, redis_url: str) -> None:
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        subscription = await subscribe(relay, inbox)
        (early,) = await exhausted_ones(relay, subscription, 1)
        await asyncio.sleep(0.002)  # as above
        end = relay.clock.now()
        (late,) = await exhausted_ones(relay, subscription, 1)
        async with delivering(relay):
            recovery = await relay.steer.recover(subscription, seconds_after(end, -60), end)
            assert (await over(relay, recovery)).recovered == 1
            await ended(relay, early)
        assert (await found(relay, late)).status is DeliveryStatus.EXHAUSTED
        future = await relay.steer.recover(subscription, end, seconds_after(relay.clock.now(), 3600))
        assert future.until == seconds_after(future.created_at, 0.001)


async def test_a_recovery_goes_on_where_a_worker_died_and_skips_nothing(database_url: str, redis_url: str) -> None:
    """M5: it dies twice, each time after the record and before the schedule."""
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        subscription = await subscribe(relay, inbox, max_in_flight=64)
        missed = await exhausted_ones(relay, subscription, 230)
        recovery = await relay.steer.recover(subscription, missed[0].created_at, None)
        for _ in range(2):
            step = await relay.store.advance_recovery(recovery.id, relay.clock.now(), 50)
            assert (len(step.deliveries), step.is_over) == (50, False)
        (half,) = await relay.store.list_recoveries(TENANT, subscription.id)
        assert (half.recovered, half.status) == (100, RecoveryStatus.RUNNING)
    async with living(database_url, redis_url) as relay, inbox_again(inbox) as inbox:
        async with delivering(relay):
            assert (await over(relay, recovery)).recovered == 230
            await all_ended(relay, 230)
        assert sorted(event_ids(inbox.calls)) == sorted(one.event_id for one in missed)


def inbox_again(inbox: Receiver) -> Receiver:
    """The same receiver, up again where it was."""
    return Receiver(answering(200), port=inbox.port)


async def test_of_several_sweeps_each_takes_its_own_part(database_url: str, redis_url: str) -> None:
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        subscription = await subscribe(relay, inbox)
        missed = await exhausted_ones(relay, subscription, 90)
        recovery = await relay.steer.recover(subscription, missed[0].created_at, None)
        now = relay.clock.now()
        steps = await asyncio.gather(*(relay.store.advance_recovery(recovery.id, now, 20) for _ in range(8)))
        taken = [one.id for step in steps for one in step.deliveries]
        assert sorted(taken) == sorted(one.id for one in missed)
        assert sum(step.is_over for step in steps) == 4


async def test_a_recovery_waits_for_a_paused_subscription_and_ends_with_a_removed_one(
    database_url: str, redis_url: str
) -> None:
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        subscription, gone = await subscribe(relay, inbox), await subscribe(relay, inbox)
        (missed,) = await exhausted_ones(relay, subscription, 1)
        recovery = await relay.steer.recover(subscription, missed.created_at, None)
        ending = await relay.steer.recover(gone, missed.created_at, None)
        assert await relay.store.disable_subscription(subscription.id, "410", relay.clock.now())
        await relay.steer.remove_subscription(TENANT, gone.id)
        await relay.sweep.tick()
        await relay.sweep.tick()
        await over(relay, ending, RecoveryStatus.CANCELLED)
        await over(relay, recovery, RecoveryStatus.RUNNING)
        assert (await found(relay, missed)).status is DeliveryStatus.EXHAUSTED
        async with delivering(relay):
            await relay.steer.activate(TENANT, subscription.id)
            await over(relay, recovery)
            await ended(relay, missed)
        assert (await standing(relay, subscription)).status is SubscriptionStatus.ACTIVE
