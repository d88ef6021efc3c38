"""Bring every event to everyone who wants it: sign, send, write down the answer, come back or be done."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from relay import metrics
from relay.announce import Announcer
from relay.clock import Clock
from relay.domain.delivery import (
    HOLDING_STATUS_CODES,
    Answer,
    Attempt,
    Delivery,
    DeliveryStatus,
    Next,
    delivery_view,
    step,
)
from relay.domain.subscription import Subscription, SubscriptionStatus, hold_seconds_left
from relay.reception import Heard, Reception
from relay.schedule import Done, Later, Lease, Schedule, Share
from relay.store import Announcement, Parcel, Record, Store
from relay.stream import Stream
from relay.webhooks.sender import Sender

log = structlog.get_logger(__name__)

# Calls in flight cost a connection each and no work: so many that receivers which hang, with the few that each may
# have, leave room for all others. Below what egress opens for deliveries and looks together.
IN_FLIGHT_MAX = 640
LEASE_MS = 6_000
SUBSCRIPTION_SECONDS_MAX = 10.0  # a subscription is read again after that, should a change not have been heard of
SUBSCRIPTIONS_KEPT_MAX = 10_000
PROMPT_SECONDS = 2.0  # whoever answers later than that gets no larger share of what is in flight
UNSIGNED_SECONDS = 60.0  # what no key of ours can sign waits so long, and is never sent without
UNRECORDED_SECONDS = 60.0  # an attempt that could not be put on record is not made again at once


@dataclass(frozen=True, slots=True)
class Sent:
    """
    One lease, and the attempt made under it. Without one there was nothing to send, or not yet: `wait_seconds`.
    """

    lease: Lease
    parcel: Parcel | None = None
    subscription: Subscription | None = None
    attempt: Attempt | None = None
    wait_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """An attempt and what follows from it."""

    lease: Lease
    heard: Heard
    record: Record


class Deliver:
    """The station between the record and the receivers; several run side by side and never meet."""

    def __init__(
        self,
        store: Store,
        schedule: Schedule,
        announcer: Announcer,
        reception: Reception,
        sender: Sender,
        clock: Clock,
        retry_schedule: Sequence[float],
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._announcer = announcer
        self._reception = reception
        self._sender = sender
        self._clock = clock
        self._retry_schedule = retry_schedule
        self._cargo: dict[str, tuple[Parcel, Subscription]] = {}
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
            await self._read_subscriptions({lease.group: lease.version for lease in leases})
            parcels = await self._store.load_parcels([lease.id for lease in leases])
            for lease in leases:
                parcel, kept = parcels.get(lease.id), self._subscriptions.get(lease.group)
                if parcel is not None and kept is not None:
                    self._cargo[lease.id] = (parcel, kept[2])
        for lease in leases:
            metrics.LATENESS.labels("deliver").observe(lease.late_ms / 1000)
        return leases, wait_seconds

    async def _read_subscriptions(self, versions: dict[str, str]) -> None:
        now = self._clock.monotonic()
        if len(self._subscriptions) > SUBSCRIPTIONS_KEPT_MAX:
            self._subscriptions.clear()
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
            if not versions[subscription_id]:
                await self._announcer.admit(subscription)  # Redis has forgotten its limits

    async def _send(self, lease: Lease) -> Sent:
        cargo = self._cargo.pop(lease.id, None)
        if cargo is None:
            return Sent(lease)
        parcel, subscription = cargo
        if parcel.delivery.status is not DeliveryStatus.PENDING or subscription.status is not SubscriptionStatus.ACTIVE:
            return Sent(lease)
        now = self._clock.now()
        if wait_seconds := hold_seconds_left(subscription.hold_until, now):
            return Sent(lease, wait_seconds=wait_seconds)
        if not subscription.living_secrets(now):
            log.error("delivery_not_signed", delivery=lease.id, subscription=lease.group)
            return Sent(lease, wait_seconds=UNSIGNED_SECONDS)
        attempt = await self._sender.attempt(parcel.delivery, parcel.event, subscription)
        metrics.ATTEMPTS.labels(attempt.answer.answer).inc()
        metrics.ATTEMPT_DURATION.observe(attempt.answer.duration_ms / 1000)
        await self._reception.heed(lease.group, attempt.answer)
        return Sent(lease, parcel, subscription, attempt)

    async def _record(self, batch: Sequence[Sent]) -> None:
        settled: list[Done | Later] = []
        steps: list[Step] = []
        for sent in batch:
            if sent.parcel is None or sent.subscription is None or sent.attempt is None:
                settled.append(_unsent(sent))
                continue
            before = replace(sent.parcel.delivery, url=sent.subscription.url)
            following = self._following(before, sent.attempt)
            if following is None:
                settled.append(Later(sent.lease, round(UNRECORDED_SECONDS * 1000)))
                continue
            exhausted = await self._exhausted(following.delivery)
            record = Record(sent.attempt, following.delivery, before.attempts_made, exhausted)
            steps.append(Step(sent.lease, Heard(sent.subscription, sent.attempt.answer, following), record))
        took: set[str] = set()
        if steps:
            took = await self._store.record_attempts([one.record for one in steps])
            told = [one.record.announcement for one in steps if one.record.announcement and one.lease.id in took]
            await self._announcer.put(told)
            for subscription_id in await self._reception.note([one.heard for one in steps], self._clock.now()):
                self._subscriptions.pop(subscription_id, None)
        await self._schedule.settle([*settled, *(_settled(one, took) for one in steps)])
        for one in steps:
            _tell(one, took)

    def _following(self, before: Delivery, attempt: Attempt) -> Next | None:
        try:
            return step(before, attempt.answer, self._clock.now(), self._retry_schedule, self._clock.dice())
        except Exception:
            # Poison rule: a row that makes code raise costs that row, never the loop, and its receiver no flood.
            log.exception("attempt_not_understood", delivery=before.id)
            return None

    async def _exhausted(self, delivery: Delivery) -> Announcement | None:
        # An exhausted notice that is itself exhausted ends here: it would announce itself for ever.
        if delivery.status is not DeliveryStatus.EXHAUSTED or delivery.event_type == "delivery.exhausted":
            return None
        log.warning("delivery_exhausted", delivery=delivery.id, subscription=delivery.subscription_id)
        data = {name: value for name, value in delivery_view(delivery).items() if name != "attempts"}
        return await self._announcer.operational(delivery.tenant, "delivery.exhausted", data)


def _unsent(sent: Sent) -> Done | Later:
    return Done(sent.lease) if sent.wait_seconds is None else Later(sent.lease, round(sent.wait_seconds * 1000))


def _settled(one: Step, took: set[str]) -> Done | Later:
    delay_seconds, share = one.heard.following.delay_seconds, _share(one.heard.answer)
    if one.lease.id not in took:
        # Held, cancelled, somebody else's by now, or a row that cannot be written: the next lease will know.
        delay_seconds = max(delay_seconds or 0.0, UNRECORDED_SECONDS)
    if delay_seconds is None:
        return Done(one.lease, share)
    return Later(one.lease, round(delay_seconds * 1000), None, share)


def _tell(one: Step, took: set[str]) -> None:
    """A line for each attempt, when all that follows from it is on record: one that is made again is told once."""
    attempt, delivery, answer = one.record.attempt, one.record.delivery, one.heard.answer
    delay_seconds = one.heard.following.delay_seconds if one.lease.id in took else None
    tell = log.info if answer.answer == "success" else log.warning
    tell(
        "attempt_made",
        delivery=delivery.id,
        attempt=attempt.id,
        event_id=delivery.event_id,
        job=delivery.job_id,
        subscription=delivery.subscription_id,
        number=attempt.number,
        answer=answer.answer,
        status_code=answer.status_code,
        duration_ms=answer.duration_ms,
        next_attempt_seconds=None if delay_seconds is None else round(delay_seconds, 3),
    )


def _share(answer: Answer) -> Share:
    """How much of what is in flight the receiver may have: prompt ones earn more, those that hang or groan less."""
    if answer.answer == "success":
        return Share.MORE if answer.duration_ms <= PROMPT_SECONDS * 1000 else Share.SAME
    is_overtaxed = answer.answer == "timeout" or answer.status_code in HOLDING_STATUS_CODES
    return Share.HALF if is_overtaxed and answer.blame != "relay" else Share.SAME
