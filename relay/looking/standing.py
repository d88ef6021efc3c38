"""How each credential stands with its provider, and each host with all of us: holds, pauses, breakers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import structlog

from relay.announce import Announcer
from relay.clock import Clock
from relay.domain.credential import (
    GOOD,
    PAUSED,
    PROBE_SECONDS,
    UNRESOLVED_SECONDS,
    Credential,
    CredentialStatus,
    Verdict,
    judge,
)
from relay.domain.errors import Unreachable
from relay.domain.moments import rfc3339, seconds_after, to_ms
from relay.domain.observation import Observation, Outcome
from relay.looking.breakers import Breakers
from relay.looking.curiosities import Curiosities
from relay.looking.desk import Desk, Sight
from relay.providers.definition import Definition
from relay.schedule import Limits, Noticeboard, Schedule
from relay.store import Announcement, BusyCredential, Store

log = structlog.get_logger(__name__)

Polling = Literal["paused", "continues"]

CONCURRENCY_DEFAULT = 10
PROBING = Limits(interval_ms=round(PROBE_SECONDS * 1000), burst=1, concurrency=1)
NOTICE_SECONDS = 3600.0  # one job after the other may fail for want of payment; its owner is told once in so long
UNRESOLVED_KEPT_SECONDS = 3 * PROBE_SECONDS  # without another failed lookup in so long, the count begins anew


def budget(credential: Credential | BusyCredential, definition: Definition | None) -> Limits:
    """The limits under which all workers together may use the credential."""
    if credential.status in PAUSED:
        return PROBING
    defaults = definition.budget if definition else None
    rate = credential.max_requests_per_second or (defaults.max_requests_per_second if defaults else None)
    concurrency = credential.max_concurrency or (defaults.max_concurrency if defaults else CONCURRENCY_DEFAULT)
    return Limits.per_second(rate, concurrency) if rate else Limits(concurrency=concurrency)


@dataclass(slots=True)
class _Throttle:
    """What this process knows of a credential that its provider throttles."""

    in_a_row: int = 0
    held_at: datetime | None = None
    held_until: float = 0.0  # monotonic
    heeded: Observation | None = None


class Standing:
    """Learns from every observation; one for each process, what matters to all is in the store and the schedule."""

    def __init__(
        self,
        store: Store,
        schedule: Schedule,
        announcer: Announcer,
        desk: Desk,
        noticeboard: Noticeboard,
        clock: Clock,
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._announcer = announcer
        self._desk = desk
        self._noticeboard = noticeboard
        self._clock = clock
        self._breakers = Breakers(clock)
        self._curiosities = Curiosities(noticeboard, clock)
        self._throttles: defaultdict[str, _Throttle] = defaultdict(_Throttle)
        self._unresolved: set[str] = set()

    def wait_seconds(self, sight: Sight) -> float:
        """Seconds until its provider may be asked about the job; 0: now, which then counts as the breaker's trial."""
        if sight.credential.is_paused:
            return 0.0  # its one probe in ten minutes is not to be wasted on waiting
        return self.hold_seconds(sight.credential) or self._breakers.wait_seconds(sight.host)

    def breaker_wait(self, host: str) -> float:
        """The same for a host alone."""
        return self._breakers.wait_seconds(host)

    def hold_seconds(self, credential: Credential) -> float:
        """What is left of a hold that this process knows of: for what was leased before all workers knew."""
        throttle = self._throttles.get(credential.id)
        if throttle is None or throttle.held_at is None:
            return 0.0
        if credential.status is CredentialStatus.ACTIVE and credential.updated_at > throttle.held_at:
            return 0.0  # its owner has made it active again
        return max(0.0, throttle.held_until - self._clock.monotonic())

    async def hold(self, sight: Sight, observation: Observation) -> None:
        """Holds a throttled credential at once and for all workers; the status in the database can wait for `learn`."""
        throttle = self._throttles[sight.credential.id]
        is_held = self.hold_seconds(sight.credential) > 0
        # Of answers to requests that were on their way together only the first one counts.
        if throttle.heeded is observation or (is_held and observation.retry_after_seconds is None):
            return
        verdict = judge(observation, throttle.in_a_row, self._clock.dice())
        if verdict is None:
            return
        throttle.heeded = observation
        throttle.in_a_row += not is_held
        throttle.held_at = self._clock.now()
        throttle.held_until = max(throttle.held_until, self._clock.monotonic() + verdict.hold_seconds)
        try:
            await self._schedule.hold(sight.credential.id, round(verdict.hold_seconds * 1000))
        except Unreachable as error:
            log.warning("hold_not_shared", credential=sight.credential.id, reason=str(error))

    async def learn(self, looks: Sequence[tuple[Sight, Observation]]) -> None:
        """Takes in what the looks said of hosts and credentials; one verdict per credential and batch."""
        verdicts: dict[str, tuple[Sight, Verdict]] = {}
        good: dict[str, Sight] = {}
        for sight, observation in looks:
            verdict = await self._judged(sight, observation)
            if verdict is not None:
                verdicts[sight.credential.id] = (sight, verdict)
            elif observation.outcome in GOOD:
                good[sight.credential.id] = sight
            if observation.outcome is Outcome.UNKNOWN:
                await self._curiosities.note(sight, observation)
            if observation.pauses and verdict is None:
                await self._notice(sight, observation)
        for sight, verdict in verdicts.values():
            await self._apply(sight.credential, verdict)
        for credential_id, sight in good.items():
            if credential_id not in verdicts:
                await self._clear(sight)

    async def _judged(self, sight: Sight, observation: Observation) -> Verdict | None:
        self._breakers.note(sight.host, is_fault=observation.outcome is Outcome.TRANSIENT)
        if observation.is_unresolved:
            return await self._unresolved_for_long(sight)
        if sight.host in self._unresolved:
            self._unresolved.discard(sight.host)
            await self._noticeboard.forget_since(f"unresolved:{sight.host}")
        if observation.outcome is Outcome.THROTTLED:
            await self.hold(sight, observation)
            return Verdict(CredentialStatus.THROTTLED, observation.detail, self.hold_seconds(sight.credential))
        return judge(observation, 0, self._clock.dice())

    async def _unresolved_for_long(self, sight: Sight) -> Verdict | None:
        """A provider whose name is gone is no reason to fail a job: its owner may know where it has moved."""
        now_ms = to_ms(self._clock.now())
        self._unresolved.add(sight.host)
        since_ms = await self._noticeboard.since_ms(f"unresolved:{sight.host}", now_ms, UNRESOLVED_KEPT_SECONDS)
        if now_ms - since_ms < UNRESOLVED_SECONDS * 1000:
            return None
        hours = (now_ms - since_ms) // 3_600_000
        return Verdict(
            CredentialStatus.UNREACHABLE, f"the name of the provider's host has had no address for {hours} hours"
        )

    async def _apply(self, credential: Credential, verdict: Verdict) -> None:
        if verdict.status is CredentialStatus.THROTTLED:
            until = seconds_after(self._clock.now(), verdict.hold_seconds)
            is_longer = credential.throttled_until is None or until > credential.throttled_until
            if not credential.is_paused and is_longer:
                await self._mark(credential, verdict, until)
            return
        if credential.status is verdict.status:
            return
        told = await self._announcement(credential, verdict)
        if await self._mark(credential, verdict, None, told):
            log.warning(
                "credential_paused", credential=credential.id, status=str(verdict.status), reason=verdict.reason
            )
            await self._schedule.limit(credential.id, PROBING, self._clock.new_id("req"))
            await self._schedule.hold(credential.id, round(PROBE_SECONDS * 1000))
            await self._announcer.put([told])

    async def _clear(self, sight: Sight) -> None:
        credential = sight.credential
        if self.hold_seconds(credential) > 0:
            return  # the good answer was on its way before the hold
        self._throttles.pop(credential.id, None)
        is_held = credential.throttled_until is not None and credential.throttled_until > self._clock.now()
        if credential.status is CredentialStatus.ACTIVE or is_held:
            return
        verdict = Verdict(CredentialStatus.ACTIVE, "")
        if not credential.is_paused:
            await self._mark(credential, verdict, None)
            return
        told = await self._announcement(credential, verdict)
        if await self._mark(credential, verdict, None, told):
            log.info("credential_resumed", credential=credential.id)
            await self._announcer.put([told])
        restored = replace(credential, status=CredentialStatus.ACTIVE)
        await self._schedule.limit(credential.id, budget(restored, sight.definition), self._clock.new_id("req"))
        await self._schedule.release(credential.id)

    async def _announcement(
        self, credential: Credential, verdict: Verdict, polling: Polling | None = None
    ) -> Announcement:
        is_active = verdict.status is CredentialStatus.ACTIVE
        event_type = "credential.resumed" if is_active else "credential.paused"
        polling = polling or ("continues" if is_active else "paused")
        data = credential_data(credential, verdict.status, verdict.reason, polling, self._clock.now())
        return await self._announcer.operational(credential.tenant, event_type, data)

    async def _mark(
        self, credential: Credential, verdict: Verdict, throttled_until: datetime | None, *entries: Announcement
    ) -> bool:
        took = await self._store.mark_credential(
            credential.id,
            verdict.status,
            verdict.reason or None,
            throttled_until,
            self._clock.now(),
            only_from={credential.status},
            entries=entries,
        )
        self._desk.forget_credential(credential.id)
        return took

    async def _notice(self, sight: Sight, observation: Observation) -> None:
        """A job that failed for want of payment says something about the account, though looks still work."""
        status = CredentialStatus(observation.pauses or "payment_required")
        credential = sight.credential
        try:
            if not await self._noticeboard.is_first(f"notice:{credential.id}:{status}", NOTICE_SECONDS):
                return
            verdict = Verdict(status, observation.detail)
            entry = await self._announcement(credential, verdict, polling="continues")
            await self._store.add_announcement(entry)
        except Unreachable as error:
            log.warning("notice_not_written", credential=credential.id, reason=str(error))
            return
        await self._announcer.put([entry])


def credential_data(
    credential: Credential, status: CredentialStatus, reason: str, polling: Polling, now: datetime
) -> dict[str, object]:
    """
    The `data` of `credential.paused` and `credential.resumed`. `polling` tells a credential whose jobs are looked at no
    more from one that is short of money for new ones.
    """
    return {
        "credential": credential.id,
        "name": credential.name,
        "provider": credential.provider,
        "status": str(status),
        "reason": reason or None,
        "polling": polling,
        "at": rfc3339(now),
    }
