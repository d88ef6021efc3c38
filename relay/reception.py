"""What answers say of the subscription that gave them: it is noted, left alone for a while, or disabled and told of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from relay.announce import AFTER_HOLD_IN_FLIGHT, Announcer
from relay.clock import Clock
from relay.domain.delivery import Answer, DeliveryStatus, Next, disabling_reason, has_failed_too_long, hold_seconds
from relay.domain.errors import Unreachable
from relay.domain.moments import seconds_after
from relay.domain.subscription import Subscription
from relay.schedule import Schedule
from relay.store import Announcement, Store

log = structlog.get_logger(__name__)

NOTED_EVERY_SECONDS = 1.0  # of a subscription that fares well: nobody asks more exactly when it last succeeded
NOTES_KEPT_MAX = 10_000
DISABLING_SECONDS = 5.0  # nothing more is begun while the word to disable is on its way to the record


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer of a subscription, and what it leads to."""

    subscription: Subscription
    answer: Answer
    following: Next


@dataclass(slots=True)
class Tally:
    """What one batch of answers says of one subscription."""

    subscription: Subscription
    has_succeeded: bool = False
    has_failed: bool = False
    hold_seconds: float = 0.0
    disables: str | None = None

    def add(self, heard: Heard) -> None:
        if heard.answer.answer == "success":
            self.has_succeeded = True
        elif heard.answer.blame != "relay":
            self.has_failed = True
        self.hold_seconds = max(self.hold_seconds, heard.following.hold_seconds)
        self.disables = self.disables or heard.following.disables


class Reception:
    """Shared by all drains of a process."""

    def __init__(
        self, store: Store, schedule: Schedule, announcer: Announcer, clock: Clock, disable_after_hours: float
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._announcer = announcer
        self._clock = clock
        self._disable_after_hours = disable_after_hours
        self._noted: dict[str, float] = {}

    async def heed(self, subscription_id: str, answer: Answer) -> None:
        """What cannot wait for the record: after such an answer nobody is to make another call."""
        held_seconds = hold_seconds(answer)
        try:
            if disabling_reason(answer):
                await self._schedule.hold(subscription_id, round(DISABLING_SECONDS * 1000))
            elif held_seconds > 0:
                await self._schedule.hold(subscription_id, round(held_seconds * 1000), then=AFTER_HOLD_IN_FLIGHT)
        except Unreachable as error:
            log.warning("subscription_not_held", subscription=subscription_id, reason=str(error))

    async def note(self, batch: Sequence[Heard], now: datetime) -> set[str]:
        """Puts on record what was heard; returns the subscriptions that are no longer as they were read."""
        tallies: dict[str, Tally] = {}
        for heard in batch:
            tallies.setdefault(heard.subscription.id, Tally(heard.subscription)).add(heard)
        await self._note_results(tallies, now)
        for subscription_id, tally in tallies.items():
            await self._hold(subscription_id, tally, now)
        reasons = {key: tally.disables for key, tally in tallies.items() if tally.disables}
        reasons |= await self._failing_for_long(tallies, now)
        for subscription_id, reason in reasons.items():
            await self._disable(tallies[subscription_id].subscription, reason, now)
        # Where a run of failures begins or ends with this batch, how long it lasts is read again.
        changed = {key for key, tally in tallies.items() if _has_turned(tally)}
        return changed | set(reasons)

    async def _note_results(self, tallies: dict[str, Tally], now: datetime) -> None:
        moment = self._clock.monotonic()
        if len(self._noted) > NOTES_KEPT_MAX:
            self._noted.clear()
        successes = {
            key: now
            for key, tally in tallies.items()
            if tally.has_succeeded
            and (
                tally.subscription.failing_since is not None
                or moment - self._noted.get(key, -NOTED_EVERY_SECONDS) >= NOTED_EVERY_SECONDS
            )
        }
        failures = {
            key: now
            for key, tally in tallies.items()
            if tally.has_failed and not tally.has_succeeded and tally.subscription.failing_since is None
        }
        if successes or failures:
            await self._store.note_results(successes, failures)
        self._noted |= dict.fromkeys(successes, moment)
        for key in failures:
            self._noted.pop(key, None)  # the success that ends this run is noted, however soon it comes

    async def _hold(self, subscription_id: str, tally: Tally, now: datetime) -> None:
        """On record too, so that Redis may forget it."""
        if tally.hold_seconds <= 0:
            return
        until = seconds_after(now, tally.hold_seconds)
        await self._store.hold_subscription(subscription_id, until)
        await self._schedule.hold(subscription_id, round(tally.hold_seconds * 1000), then=AFTER_HOLD_IN_FLIGHT)

    async def _failing_for_long(self, tallies: dict[str, Tally], now: datetime) -> dict[str, str]:
        # What was read may be older than the last success: only the store's own row disables.
        hours = self._disable_after_hours
        suspects = [
            key
            for key, tally in tallies.items()
            if tally.has_failed
            and not tally.has_succeeded
            and not tally.disables
            and has_failed_too_long(tally.subscription, now, hours)
        ]
        fresh = await self._store.load_subscriptions(suspects) if suspects else {}
        reason = f"no attempt succeeded for {hours:g} hours"
        return {key: reason for key, one in fresh.items() if has_failed_too_long(one, now, hours)}

    async def _disable(self, subscription: Subscription, reason: str, now: datetime) -> None:
        data = {"subscription": subscription.id, "url": subscription.url, "reason": reason}
        announcement = await self._announcer.operational(subscription.tenant, "subscription.disabled", data)
        announcement = _held_at(announcement, subscription.id)
        if await self._store.disable_subscription(subscription.id, reason, now, [announcement]):
            log.warning("subscription_disabled", subscription=subscription.id, reason=reason)
            await self._announcer.put([announcement])


def _has_turned(tally: Tally) -> bool:
    if tally.has_succeeded:
        return tally.subscription.failing_since is not None
    return tally.has_failed and tally.subscription.failing_since is None


def _held_at(announcement: Announcement, subscription_id: str) -> Announcement:
    """A subscription that hears of such things hears of its own end when it is activated."""
    deliveries = tuple(
        replace(one, status=DeliveryStatus.HELD, next_attempt_at=None)
        if one.subscription_id == subscription_id
        else one
        for one in announcement.deliveries
    )
    return replace(announcement, deliveries=deliveries)
