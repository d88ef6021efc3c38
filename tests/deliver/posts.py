"""Events made on the spot, the delivering stations at work on them, and what became of their deliveries."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from relay.bootstrap import Relay
from relay.domain.delivery import Attempt, Delivery, DeliveryStatus
from relay.domain.event import Event, event_body
from relay.domain.moments import seconds_after
from relay.domain.subscription import Subscription
from relay.store import Announcement
from tests.receivers import Call, Receiver
from tests.trips import TENANT, make_subscription, until

BRISK = {"RELAY_RETRY_SCHEDULE": "0.2,0.2,0.2,0.2"}


async def subscribe(relay: Relay, receiver: Receiver | str, **more: Any) -> Subscription:
    """A subscription to that receiver, written down."""
    url = receiver if isinstance(receiver, str) else receiver.url("/hook")
    subscription = make_subscription(relay, url, **more)
    await relay.steer.add_subscription(subscription)
    return subscription


def announced(
    relay: Relay, *subscriptions: Subscription, dies_in_seconds: float | None = None, **data: Any
) -> Announcement:
    """An event for those subscriptions, not yet written; its links die in so many seconds."""
    event_id, now = relay.clock.new_id("evt"), relay.clock.now()
    body = event_body(event_id, "job.completed", now, {"id": "job_1", **data})
    event = Event(event_id, TENANT, "job.completed", body, None, None, now)
    dies_at = None if dies_in_seconds is None else seconds_after(now, dies_in_seconds)
    return relay.announcer._announcement(event, subscriptions, dies_at)


async def written(
    relay: Relay, *subscriptions: Subscription, status: DeliveryStatus | None = None, **more: Any
) -> Announcement:
    """The same on record, and not on the schedule; its deliveries have that status."""
    announcement = announced(relay, *subscriptions, **more)
    if status is not None:
        deliveries = tuple(replace(one, status=status, attempts_made=1, steps=1) for one in announcement.deliveries)
        announcement = replace(announcement, deliveries=deliveries)
    await relay.store.add_announcement(announcement)
    return announcement


async def post(relay: Relay, *subscriptions: Subscription, **more: Any) -> Delivery:
    """The same on record and due now; the delivery to the first of them."""
    announcement = await written(relay, *subscriptions, **more)
    await relay.announcer.put([announcement])
    return announcement.deliveries[0]


@asynccontextmanager
async def delivering(*relays: Relay, sweeps: bool = True) -> AsyncIterator[None]:
    """One drain of each relay, and the sweep beside the first."""
    stopping = asyncio.Event()

    async def keep(relay: Relay) -> None:
        while not stopping.is_set():
            await relay.deliver.drain(5.0, stopping)

    async def sweep(relay: Relay) -> None:
        while sweeps and not stopping.is_set():
            await relay.sweep.tick()
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 0.2)

    tasks = [asyncio.create_task(keep(relay)) for relay in relays]
    tasks.append(asyncio.create_task(sweep(relays[0])))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)


async def found(relay: Relay, delivery: Delivery) -> Delivery:
    """The delivery as it stands."""
    standing = await relay.store.find_delivery(TENANT, delivery.id)
    assert standing is not None
    return standing


async def ended(relay: Relay, delivery: Delivery, status: DeliveryStatus = DeliveryStatus.SUCCEEDED) -> Delivery:
    """The delivery, as soon as it has that status."""

    async def is_so() -> bool:
        return (await found(relay, delivery)).status is status

    await until(is_so)
    return await found(relay, delivery)


async def all_ended(
    relay: Relay, count: int, status: DeliveryStatus = DeliveryStatus.SUCCEEDED, within_seconds: float = 30.0
) -> None:
    """Returns when so many deliveries have that status."""

    async def is_so() -> bool:
        return (await relay.store.count_deliveries(TENANT)).get(status, 0) >= count

    await until(is_so, within_seconds)


async def attempts(relay: Relay, delivery: Delivery, count: int = 1) -> list[Attempt]:
    """The attempts on record, as soon as there are so many."""

    async def enough() -> list[Attempt]:
        made = await relay.store.list_attempts(TENANT, delivery.id)
        return made if len(made) >= count else []

    made: list[Attempt] = await until(enough)
    return made


async def standing(relay: Relay, subscription: Subscription) -> Subscription:
    """The subscription as it stands."""
    now = await relay.store.find_subscription(TENANT, subscription.id)
    assert now is not None
    return now


def event_ids(calls: Iterable[Call]) -> list[str]:
    """Which event each call carried."""
    return [str(call.header("webhook-id")) for call in calls]
