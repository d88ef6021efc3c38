"""How each credential stands with its provider, and each host with all of us: holds, pauses, breakers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from relay.announce import Announcer
from relay.clock import Clock
from relay.desk import Desk, Sight
from relay.domain.backoff import after_faults
from relay.domain.credential import PAUSED, PROBE_SECONDS, Credential, CredentialStatus, Verdict, judge
from relay.domain.errors import Unreachable
from relay.domain.moments import rfc3339, seconds_after
from relay.domain.observation import Observation, Outcome
from relay.providers.definition import Definition
from relay.schedule import Limits, Schedule
from relay.store import BusyCredential, Store

log = structlog.get_logger(__name__)

BREAKER_FAULTS = 5  # in a row, at one host
BREAKER_SECONDS_FIRST = 5.0
BREAKER_SECONDS_MAX = 60.0
GOOD = frozenset({Outcome.PENDING, Outcome.UNKNOWN, Outcome.COMPLETED, Outcome.FAILED, Outcome.NOT_FOUND})
PROBING = Limits(interval_ms=round(PROBE_SECONDS * 1000), burst=1, concurrency=1)


def budget(credential: Credential | BusyCredential, definition: Definition | None) -> Limits:
    """The limits under which all workers together may use the credential."""
    if credential.status in PAUSED:
        return PROBING
    defaults = definition.budget if definition else None
    rate = credential.max_requests_per_second or (defaults.max_requests_per_second if defaults else None)
    concurrency = credential.max_concurrency or (defaults.max_concurrency if defaults else None) or 10
    return Limits.per_second(rate, concurrency) if rate else Limits(concurrency=concurrency)


@dataclass(slots=True)
class _Breaker:
    faults: int = 0
    opens_at: float = 0.0


class Standing:
    """Learns from every observation; one for each process, what matters to all is in the store and the schedule."""

    def __init__(self, store: Store, schedule: Schedule, announcer: Announcer, desk: Desk, clock: Clock) -> None:
        self._store = store
        self._schedule = schedule
        self._announcer = announcer
        self._desk = desk
        self._clock = clock
        self._breakers: defaultdict[str, _Breaker] = defaultdict(_Breaker)
        self._throttles: defaultdict[str, int] = defaultdict(int)

    def breaker_wait(self, host: str) -> float:
        """Seconds until the host may be asked again; 0 when it may be asked now, which then counts as the probe."""
        breaker = self._breakers.get(host)
        if breaker is None or breaker.faults < BREAKER_FAULTS:
            return 0.0
        now = self._clock.monotonic()
        if now >= breaker.opens_at:
            breaker.opens_at = now + BREAKER_SECONDS_FIRST
            return 0.0
        return breaker.opens_at - now + self._clock.dice()

    async def learn(self, looks: Sequence[tuple[Sight, Observation]]) -> None:
        """Takes in what the looks said of hosts and credentials; one verdict per credential and batch."""
        verdicts: dict[str, tuple[Sight, Verdict]] = {}
        good: dict[str, Sight] = {}
        for sight, observation in looks:
            self._note_host(sight.host, observation)
            verdict = judge(observation, self._throttles[sight.credential.id], self._clock.dice())
            if verdict is not None:
                verdicts[sight.credential.id] = (sight, verdict)
            elif observation.outcome in GOOD:
                good[sight.credential.id] = sight
            if observation.pauses and verdict is None:
                await self._notice(sight, observation)
        for sight, verdict in verdicts.values():
            await self._apply(sight, verdict)
        for credential_id, sight in good.items():
            if credential_id not in verdicts:
                await self._clear(sight)

    def _note_host(self, host: str, observation: Observation) -> None:
        if observation.outcome is not Outcome.TRANSIENT:
            self._breakers.pop(host, None)
            return
        breaker = self._breakers[host]
        breaker.faults += 1
        if breaker.faults >= BREAKER_FAULTS:
            wait = after_faults(
                breaker.faults - BREAKER_FAULTS + 1, BREAKER_SECONDS_FIRST, self._clock.dice(), BREAKER_SECONDS_MAX
            )
            breaker.opens_at = self._clock.monotonic() + wait

    async def _apply(self, sight: Sight, verdict: Verdict) -> None:
        credential = sight.credential
        if verdict.status is CredentialStatus.THROTTLED:
            self._throttles[credential.id] += 1
            await self._schedule.hold(credential.id, round(verdict.hold_seconds * 1000))
            if credential.status is CredentialStatus.ACTIVE:
                until = seconds_after(self._clock.now(), verdict.hold_seconds)
                await self._mark(credential, verdict, until, announces=False)
            return
        if credential.status is verdict.status:
            return
        if await self._mark(credential, verdict, None, announces=True):
            log.warning(
                "credential_paused", credential=credential.id, status=str(verdict.status), reason=verdict.reason
            )
            await self._schedule.limit(credential.id, PROBING, self._clock.new_id("req"))
            await self._schedule.hold(credential.id, round(PROBE_SECONDS * 1000))

    async def _clear(self, sight: Sight) -> None:
        credential = sight.credential
        self._throttles.pop(credential.id, None)
        if credential.status is CredentialStatus.ACTIVE:
            return
        announces = credential.is_paused
        verdict = Verdict(CredentialStatus.ACTIVE, "")
        if await self._mark(credential, verdict, None, announces=announces) and announces:
            log.info("credential_resumed", credential=credential.id)
        restored = replace(credential, status=CredentialStatus.ACTIVE)
        await self._schedule.limit(credential.id, budget(restored, sight.definition), self._clock.new_id("req"))
        await self._schedule.release(credential.id)

    async def _mark(
        self, credential: Credential, verdict: Verdict, throttled_until: datetime | None, *, announces: bool
    ) -> bool:
        entries = []
        if announces:
            is_resumed = verdict.status is CredentialStatus.ACTIVE
            event_type = "credential.resumed" if is_resumed else "credential.paused"
            data = credential_data(credential, verdict.status, verdict.reason, self._clock.now())
            entries.append(await self._announcer.operational(credential.tenant, event_type, data))
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
        if took:
            await self._announcer.put(entries)
        return took

    async def _notice(self, sight: Sight, observation: Observation) -> None:
        """A job that failed for want of payment says something about the account, though looks still work."""
        status = CredentialStatus(observation.pauses or "payment_required")
        data = credential_data(sight.credential, status, observation.detail, self._clock.now())
        entry = await self._announcer.operational(sight.credential.tenant, "credential.paused", data)
        try:
            await self._store.add_announcement(entry)
        except Unreachable as error:
            log.warning("notice_not_written", credential=sight.credential.id, reason=str(error))
            return
        await self._announcer.put([entry])


def credential_data(credential: Credential, status: CredentialStatus, reason: str, now: datetime) -> dict[str, object]:
    """The `data` of `credential.paused` and `credential.resumed`."""
    return {
        "credential": credential.id,
        "name": credential.name,
        "provider": credential.provider,
        "status": str(status),
        "reason": reason or None,
        "at": rfc3339(now),
    }
