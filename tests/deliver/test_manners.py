"""Receivers that ask for peace get it, those that are down for long are let go, and nothing meant for them is lost."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from relay.bootstrap import Relay
from relay.domain.delivery import Delivery, DeliveryStatus
from relay.domain.moments import seconds_after
from relay.domain.subscription import SubscriptionStatus
from tests.deliver.posts import (
    BRISK,
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
from tests.receivers import Receiver, answering, closed_port, in_turn
from tests.trips import TENANT, living, until, verified

HOUR_SECONDS = 3600


async def test_a_subscription_that_failed_for_too_long_is_disabled_and_its_delivery_held(
    database_url: str, redis_url: str
) -> None:
    """A1."""
    async with (
        living(database_url, redis_url) as relay,
        Receiver(answering(500)) as bad,
        Receiver(answering(200)) as operator,
    ):
        since = seconds_after(relay.clock.now(), -121 * HOUR_SECONDS)
        failing = await subscribe(relay, bad, failing_since=since)
        lucky = await subscribe(relay, bad, failing_since=seconds_after(since, 2 * HOUR_SECONDS))
        await subscribe(relay, operator, event_types=("subscription.disabled",))
        delivery, other = await post(relay, failing), await post(relay, lucky)
        async with delivering(relay):
            (call,) = await operator.heard(1)
            await attempts(relay, other)
        assert verified(call)["data"]["subscription"] == failing.id
        disabled = await standing(relay, failing)
        assert disabled.status is SubscriptionStatus.DISABLED
        assert disabled.disabled_reason == "no attempt succeeded for 120 hours"
        assert (await found(relay, delivery)).status is DeliveryStatus.HELD
        assert (await standing(relay, lucky)).status is SubscriptionStatus.ACTIVE


async def test_failures_count_from_the_first_one_on(database_url: str, redis_url: str) -> None:
    """A1, with nothing prepared: hours that are seconds."""
    more = {"RELAY_RETRY_SCHEDULE": ",".join(["0.2"] * 60), "RELAY_DISABLE_AFTER_HOURS": str(1.5 / HOUR_SECONDS)}
    async with living(database_url, redis_url, **more) as relay, Receiver(answering(500)) as bad:
        subscription = await subscribe(relay, bad)
        delivery = await post(relay, subscription)
        async with delivering(relay):
            await ended(relay, delivery, DeliveryStatus.HELD)
        made = await relay.store.list_attempts(TENANT, delivery.id)
        assert (made[-1].started_at - made[0].started_at).total_seconds() >= 1.4
        assert (await standing(relay, subscription)).status is SubscriptionStatus.DISABLED


async def test_one_success_ends_a_run_of_failures(database_url: str, redis_url: str) -> None:
    """A2."""
    behaviour = in_turn(answering(200), answering(500))
    async with living(database_url, redis_url, **BRISK) as relay, Receiver(behaviour) as inbox:
        since = seconds_after(relay.clock.now(), -1000 * HOUR_SECONDS)
        subscription = await subscribe(relay, inbox, failing_since=since, max_in_flight=1)
        async with delivering(relay):
            await ended(relay, await post(relay, subscription))
            now = await standing(relay, subscription)
            assert now.failing_since is None
            assert now.last_success_at is not None
            await attempts(relay, await post(relay, subscription), 2)
        failing = await standing(relay, subscription)
        assert failing.status is SubscriptionStatus.ACTIVE
        assert failing.failing_since is not None
        assert failing.failing_since > since


async def test_faults_on_our_side_never_count(database_url: str, redis_url: str) -> None:
    """A3: the way out is closed, on our side of it."""
    with closed_port() as port:
        more = {"RELAY_EGRESS_PROXY": f"http://127.0.0.1:{port}", "RELAY_RETRY_SCHEDULE": "0.05"}
        async with living(database_url, redis_url, **more) as relay, Receiver(answering(200)) as inbox:
            since = seconds_after(relay.clock.now(), -1000 * HOUR_SECONDS)
            subscription = await subscribe(relay, inbox, failing_since=since)
            unblemished = await subscribe(relay, inbox)
            delivery, other = await post(relay, subscription), await post(relay, unblemished)
            async with delivering(relay):
                made = await attempts(relay, delivery, 5)
                await attempts(relay, other, 5)
            assert {one.answer.blame for one in made} == {"relay"}
            assert (await standing(relay, subscription)).status is SubscriptionStatus.ACTIVE
            assert (await standing(relay, unblemished)).failing_since is None
            still = await found(relay, delivery)
            assert (still.status, still.steps) == (DeliveryStatus.PENDING, 0)


@pytest.mark.parametrize("status", [SubscriptionStatus.PAUSED, SubscriptionStatus.DISABLED])
async def test_what_was_missed_is_held_and_released_first_to_expire_first(
    status: SubscriptionStatus, database_url: str, redis_url: str
) -> None:
    """A4: every one, in that order, and those that never die after the rest."""
    lives = random.Random(3).sample(range(600, 6000), 60)
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        subscription = await subscribe(relay, inbox, status=status, max_in_flight=1)
        posted = {life: await post(relay, subscription, dies_in_seconds=life) for life in lives}
        lasting = await post(relay, subscription)
        assert {(await found(relay, one)).status for one in (*posted.values(), lasting)} == {DeliveryStatus.HELD}
        async with delivering(relay):
            await relay.steer.activate(TENANT, subscription.id)
            await all_ended(relay, 61)
        expected = [posted[life].event_id for life in sorted(lives)] + [lasting.event_id]
        assert event_ids(inbox.calls) == expected


async def test_after_an_outage_of_ours_what_dies_first_is_sent_first(database_url: str, redis_url: str) -> None:
    """What became due while no worker ran: in the order of death, not of dues."""
    lives = random.Random(4).sample(range(600, 6000), 80)
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        subscription = await subscribe(relay, inbox, max_in_flight=1)
        posted = {life: await post(relay, subscription, dies_in_seconds=life) for life in lives}
        await until(lambda: is_all_due(relay, subscription.id, posted.values()))
        async with delivering(relay):
            await all_ended(relay, 80)
        assert event_ids(inbox.calls) == [posted[life].event_id for life in sorted(lives)]


async def is_all_due(relay: Relay, subscription_id: str, deliveries: Iterable[Delivery]) -> bool:
    waits = await relay.deliveries.due_in_ms(subscription_id, [one.id for one in deliveries])
    return all(wait == 0 for wait in waits)


async def test_after_a_flush_too(database_url: str, redis_url: str) -> None:
    lives = random.Random(5).sample(range(600, 6000), 40)
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        subscription = await subscribe(relay, inbox, max_in_flight=1)
        announcements = {life: await written(relay, subscription, dies_in_seconds=life) for life in lives}
        await relay.redis.flushall()
        await relay.sweep.rebuild()
        deliveries = [one.deliveries[0] for one in announcements.values()]
        await until(lambda: is_all_due(relay, subscription.id, deliveries))
        async with delivering(relay):
            await all_ended(relay, 40)
        assert event_ids(inbox.calls) == [announcements[life].event.id for life in sorted(lives)]


@pytest.mark.parametrize(
    ("status_code", "headers"),
    [(410, {}), (500, {"webhook-delivery": "disable"}), (404, {"Webhook-Delivery": "Disable"})],
)
async def test_a_receiver_that_wants_no_more_gets_no_more(
    status_code: int, headers: Mapping[str, str], database_url: str, redis_url: str
) -> None:
    """D13."""
    behaviour = answering(status_code, headers)
    async with living(database_url, redis_url, **BRISK) as relay, Receiver(behaviour) as leaving:
        subscription = await subscribe(relay, leaving, max_in_flight=1)
        deliveries = [await post(relay, subscription) for _ in range(5)]
        async with delivering(relay):
            for delivery in deliveries:
                await ended(relay, delivery, DeliveryStatus.HELD)
            late = await post(relay, await standing(relay, subscription))
            assert late.status is DeliveryStatus.HELD
            assert (await standing(relay, subscription)).status is SubscriptionStatus.DISABLED
            assert len(leaving.calls) == 1
            leaving.behaviour = answering(200)
            await relay.steer.activate(TENANT, subscription.id)
            await all_ended(relay, 6)


async def test_a_receiver_may_take_this_one_and_want_no_more(database_url: str, redis_url: str) -> None:
    behaviour = answering(200, {"webhook-delivery": "disable"})
    async with living(database_url, redis_url) as relay, Receiver(behaviour) as inbox:
        subscription = await subscribe(relay, inbox)
        delivery = await post(relay, subscription)
        async with delivering(relay):
            await ended(relay, delivery)

            async def is_disabled() -> bool:
                return (await standing(relay, subscription)).status is SubscriptionStatus.DISABLED

            await until(is_disabled)


async def test_a_receiver_may_give_up_one_delivery_and_keep_the_others(database_url: str, redis_url: str) -> None:
    behaviour = in_turn(answering(500, {"webhook-delivery": "abort"}), answering(200))
    async with living(database_url, redis_url, **BRISK) as relay, Receiver(behaviour) as inbox:
        subscription = await subscribe(relay, inbox)
        first = await post(relay, subscription)
        async with delivering(relay):
            given_up = await ended(relay, first, DeliveryStatus.EXHAUSTED)
            await ended(relay, await post(relay, subscription))
        assert given_up.attempts_made == 1
        assert (await standing(relay, subscription)).status is SubscriptionStatus.ACTIVE


async def test_a_subscription_that_hears_of_disablings_hears_of_its_own_once_it_is_back(
    database_url: str, redis_url: str
) -> None:
    behaviour = in_turn(answering(410), answering(200))
    async with living(database_url, redis_url) as relay, Receiver(behaviour) as inbox:
        types = ("job.completed", "subscription.disabled")
        subscription = await subscribe(relay, inbox, event_types=types)
        await post(relay, subscription)
        async with delivering(relay):
            await until(lambda: len(inbox.calls) == 1)
            await all_ended(relay, 2, DeliveryStatus.HELD)
            assert len(inbox.calls) == 1
            await relay.steer.activate(TENANT, subscription.id)
            await all_ended(relay, 2)
        assert sorted(verified(call)["type"] for call in inbox.calls[1:]) == ["job.completed", "subscription.disabled"]


async def test_a_test_event_is_signed_logged_and_retried_like_any_other(database_url: str, redis_url: str) -> None:
    """P9."""
    behaviour = in_turn(answering(500), answering(200))
    async with living(database_url, redis_url, **BRISK) as relay, Receiver(behaviour) as inbox:
        subscription = await subscribe(relay, inbox, event_types=("job.failed",))
        delivery = await relay.steer.send_test(subscription)
        async with delivering(relay):
            await ended(relay, delivery)
            made = await attempts(relay, delivery, 2)
        assert [verified(call)["type"] for call in inbox.calls] == ["webhook.test"] * 2
        assert [one.trigger for one in made] == ["test", "schedule"]


async def test_activation_gives_a_clean_slate(database_url: str, redis_url: str) -> None:
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        now = relay.clock.now()
        subscription = await subscribe(
            relay,
            inbox,
            status=SubscriptionStatus.DISABLED,
            disabled_reason="410",
            failing_since=seconds_after(now, -1000),
            hold_until=seconds_after(now, 1000),
        )
        await relay.steer.activate(TENANT, subscription.id)
        active = await standing(relay, subscription)
        expected = replace(
            subscription,
            status=SubscriptionStatus.ACTIVE,
            disabled_reason=None,
            failing_since=None,
            hold_until=None,
            updated_at=active.updated_at,
        )
        assert active == expected
