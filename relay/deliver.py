"""Bring every event to everyone who wants it: sign, send, write down the answer, come back or be done."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from relay import metrics
from relay.announce import Announcer
from relay.clock import Clock
from relay.domain.delivery import Attempt, Delivery, DeliveryStatus, Next, delivery_view, has_failed_too_long, step
from relay.domain.moments import seconds_after
from relay.domain.subscription import Subscription, SubscriptionStatus
from relay.schedule import Done, Later, Lease, Schedule
from relay.store import Announcement, Parcel, Record, Store
from relay.stream import Stream
from relay.webhooks.sender import Sender

log = structlog.get_logger(__name__)

IN_FLIGHT_MAX = 256
LEASE_MS = 6_000
SUBSCRIPTION_SECONDS_MAX = 10.0  # a subscription is read again after that, should a change not have been heard of


@dataclass(frozen=True, slots=True)
class Sent:
    """One lease and the attempt made under it; None when there was nothing left to send."""

    lease: Lease
    parcel: Parcel | None
    subscription: Subscription | None
    attempt: Attempt | None


class Deliver:
    """The station between the record and the receivers; several run side by side and never meet."""

    def __init__(
        self,
        store: Store,
        schedule: Schedule,
        announcer: Announcer,
        sender: Sender,
        clock: Clock,
        retry_schedule: Sequence[float],
        disable_after_hours: float,
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._announcer = announcer
        self._sender = sender
        self._clock = clock
        self._retry_schedule = retry_schedule
        self._disable_after_hours = disable_after_hours
        self._parcels: dict[str, Parcel] = {}
        self._subscriptions: dict[str, tuple[str, float, Subscription]] = {}

    async def drain(self, seconds: float, stopping: asyncio.Event) -> None:
        """Take what is due for that long; return when what was in flight has come back."""
        stream: Stream[Lease, Sent] = Stream(
            lease=self._lease,
            work=self._send,
            flush=self._record,
            renew=lambda leases: self._schedule.renew(leases, LEASE_MS),
            wait=self._schedule.wait,
            clock=self._clock,
            in_flight_max=IN_FLIGHT_MAX,
        )
        await stream.run(seconds, stopping)

    async def _lease(self, want: int) -> tuple[Sequence[Lease], float]:
        leases, wait_seconds = await self._schedule.lease(want, LEASE_MS)
        if leases:
            self._parcels.update(await self._store.load_parcels([lease.id for lease in leases]))
            await self._read_subscriptions({lease.group: lease.version for lease in leases})
        return leases, wait_seconds

    async def _read_subscriptions(self, versions: dict[str, str]) -> None:
        now = self._clock.monotonic()
        stale = [
            subscription_id
            for subscription_id, version in versions.items()
            if (kept := self._subscriptions.get(subscription_id)) is None
            or kept[0] != version
            or now - kept[1] > SUBSCRIPTION_SECONDS_MAX
        ]
        if not stale:
            return
        for subscription_id in stale:
            self._subscriptions.pop(subscription_id, None)
        for subscription_id, subscription in (await self._store.load_subscriptions(stale)).items():
            self._subscriptions[subscription_id] = (versions[subscription_id], now, subscription)

    async def _send(self, lease: Lease) -> Sent:
        parcel = self._parcels.pop(lease.id, None)
        kept = self._subscriptions.get(lease.group)
        subscription = kept[2] if kept else None
        if parcel is None or subscription is None or parcel.delivery.status is not DeliveryStatus.PENDING:
            return Sent(lease, None, None, None)
        if subscription.status is not SubscriptionStatus.ACTIVE:
            return Sent(lease, parcel, subscription, None)
        attempt = await self._sender.attempt(parcel.delivery, parcel.event, subscription)
        metrics.ATTEMPTS.labels(attempt.answer.answer).inc()
        metrics.ATTEMPT_DURATION.observe(attempt.answer.duration_ms / 1000)
        return Sent(lease, parcel, subscription, attempt)

    async def _record(self, batch: Sequence[Sent]) -> None:
        now = self._clock.now()
        settled: list[Done | Later] = []
        steps: list[tuple[Sent, Attempt, Next]] = []
        records: list[Record] = []
        for sent in batch:
            if sent.parcel is None or sent.subscription is None or sent.attempt is None:
                settled.append(Done(sent.lease))
                continue
            try:
                before = replace(sent.parcel.delivery, url=sent.subscription.url)
                following = step(before, sent.attempt.answer, now, self._retry_schedule, self._clock.dice())
            except Exception:
                # Poison rule: a row that makes code raise costs that row one lease, never the loop.
                log.exception("attempt_not_understood", delivery=sent.lease.id)
                continue
            steps.append((sent, sent.attempt, following))
            exhausted = await self._exhausted(following.delivery)
            records.append(Record(sent.attempt, following.delivery, before.attempts_made, exhausted))
        if records:
            took = await self._store.record_attempts(records)
            await self._announcer.put(
                one.announcement for one in records if one.announcement and one.delivery.id in took
            )
            await self._tell_subscriptions(steps, now)
        for sent, _, following in steps:
            settled.append(_settled(sent.lease, following))
        await self._schedule.settle(settled)

    async def _tell_subscriptions(self, steps: Sequence[tuple[Sent, Attempt, Next]], now: datetime) -> None:
        successes: dict[str, datetime] = {}
        failures: dict[str, datetime] = {}
        for sent, attempt, following in steps:
            subscription_id = sent.lease.group
            if attempt.answer.answer == "success":
                successes[subscription_id] = now
            elif attempt.answer.blame != "relay":
                failures[subscription_id] = now
            if following.hold_seconds > 0:
                await self._schedule.hold(subscription_id, round(following.hold_seconds * 1000))
                await self._store.hold_subscription(subscription_id, seconds_after(now, following.hold_seconds))
        await self._store.note_results(successes, {key: at for key, at in failures.items() if key not in successes})
        reasons = {sent.lease.group: following.disables for sent, _, following in steps if following.disables}
        reasons |= await self._failing_for_long(set(failures) - set(successes), now)
        for subscription_id, reason in reasons.items():
            await self._disable(subscription_id, reason, now)

    async def _failing_for_long(self, subscription_ids: set[str], now: datetime) -> dict[str, str]:
        known = [self._subscriptions[one][2] for one in subscription_ids if one in self._subscriptions]
        # The cached row may be older than the last success: only the store's own row disables.
        suspects = [one.id for one in known if has_failed_too_long(one, now, self._disable_after_hours)]
        fresh = await self._store.load_subscriptions(suspects) if suspects else {}
        reason = f"no attempt succeeded for {self._disable_after_hours:g} hours"
        return {key: reason for key, one in fresh.items() if has_failed_too_long(one, now, self._disable_after_hours)}

    async def _disable(self, subscription_id: str, reason: str, now: datetime) -> None:
        subscription = self._subscriptions[subscription_id][2]
        data = {"subscription": subscription_id, "url": subscription.url, "reason": reason}
        announcement = await self._announcer.operational(subscription.tenant, "subscription.disabled", data)
        announcement = _without(announcement, subscription_id)
        if await self._store.disable_subscription(subscription_id, reason, now, [announcement]):
            log.warning("subscription_disabled", subscription=subscription_id, reason=reason)
            await self._announcer.put([announcement])
        self._subscriptions.pop(subscription_id, None)

    async def _exhausted(self, delivery: Delivery) -> Announcement | None:
        # An exhausted notice that is itself exhausted ends here: it would announce itself for ever.
        if delivery.status is not DeliveryStatus.EXHAUSTED or delivery.event_type == "delivery.exhausted":
            return None
        log.warning("delivery_exhausted", delivery=delivery.id, subscription=delivery.subscription_id)
        data = {name: value for name, value in delivery_view(delivery).items() if name != "attempts"}
        announcement = await self._announcer.operational(delivery.tenant, "delivery.exhausted", data)
        return _without(announcement, delivery.subscription_id)


def _settled(lease: Lease, following: Next) -> Done | Later:
    if following.delay_seconds is None:
        return Done(lease)
    return Later(lease, round(following.delay_seconds * 1000), "")


def _without(announcement: Announcement, subscription_id: str) -> Announcement:
    """Nobody is told at the very address that does not answer."""
    kept = tuple(one for one in announcement.deliveries if one.subscription_id != subscription_id)
    return replace(announcement, deliveries=kept)
