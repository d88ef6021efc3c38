"""Look at every job when it is due, and write down its ending with everything that follows, once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from relay import metrics
from relay.announce import Announcer
from relay.clock import Clock
from relay.desk import Desk, Sight
from relay.domain.job import Again, Ended, Job, JobStatus, Memo, step
from relay.domain.moments import to_ms
from relay.domain.observation import Observation, Outcome
from relay.egress import Egress
from relay.providers.look import look
from relay.schedule import Done, Later, Lease, Schedule
from relay.standing import Standing
from relay.store import Store
from relay.stream import Stream

log = structlog.get_logger(__name__)

IN_FLIGHT_MAX = 256
LEASE_MS = 6_000
LOST_MS = 500
LAST_LOOK = 1_000_000
ABSENT_SECONDS = 60.0  # a job whose credential or definition is away is asked about again then


@dataclass(frozen=True, slots=True)
class Looked:
    """One lease and what came of it: a sight with its observation, or a reason that there was none."""

    lease: Lease
    sight: Sight | None
    observation: Observation | None
    delay_seconds: float | None = None


class Poll:
    """The station between the provider and the record; several run side by side and never meet."""

    def __init__(
        self,
        store: Store,
        schedule: Schedule,
        announcer: Announcer,
        desk: Desk,
        standing: Standing,
        egress: Egress,
        clock: Clock,
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._announcer = announcer
        self._desk = desk
        self._standing = standing
        self._egress = egress
        self._clock = clock

    async def drain(self, seconds: float, stopping: asyncio.Event) -> None:
        """Take what is due for that long; return when what was in flight has come back."""
        await self._desk.refresh_pace()
        stream: Stream[Lease, Looked] = Stream(
            lease=self._lease,
            work=self._look,
            flush=self._record,
            renew=lambda leases: self._schedule.renew(leases, LEASE_MS),
            wait=self._schedule.wait,
            clock=self._clock,
            in_flight_max=IN_FLIGHT_MAX,
        )
        await stream.run(seconds, stopping)

    async def _lease(self, want: int) -> tuple[Sequence[Lease], float]:
        leases, wait_seconds = await self._schedule.lease(want, LEASE_MS)
        await self._desk.lay_out(leases)
        return leases, wait_seconds

    async def _look(self, lease: Lease) -> Looked:
        sight = self._desk.sight(lease)
        if sight is None:
            return Looked(lease, None, None)
        if sight.target is None:
            return Looked(lease, sight, None, ABSENT_SECONDS)
        wait_seconds = self._standing.breaker_wait(sight.host)
        if wait_seconds > 0:
            return Looked(lease, sight, None, wait_seconds)
        observation = await look(
            self._egress, sight.target, self._clock, pending_again=_patience(sight, self._clock.now())
        )
        metrics.LOOKS.labels(sight.job.provider, str(observation.outcome)).inc()
        return Looked(lease, sight, observation)

    async def _record(self, looks: Sequence[Looked]) -> None:
        settled: list[Done | Later] = []
        ended: list[tuple[Looked, Job]] = []
        for looked in looks:
            try:
                self._sort(looked, settled, ended)
            except Exception:
                # Poison rule: a row that makes code raise costs that row one lease, never the loop.
                log.exception("look_not_understood", job=looked.lease.id)
        await self._standing.learn(
            [(look.sight, look.observation) for look in looks if look.sight and look.observation]
        )
        if ended:
            won = await self._write_endings(ended)
            # Who lost finds the job ended at its next lease, or a callback that came in between.
            settled.extend(
                Done(looked.lease) if job.id in won else Later(looked.lease, LOST_MS, looked.lease.memo)
                for looked, job in ended
            )
        await self._schedule.settle(settled)

    def _sort(self, looked: Looked, settled: list[Done | Later], ended: list[tuple[Looked, Job]]) -> None:
        sight = looked.sight
        if sight is None:
            settled.append(Done(looked.lease))
            return
        if looked.delay_seconds is not None:
            settled.append(Later(looked.lease, round(looked.delay_seconds * 1000), looked.lease.memo))
            return
        if looked.observation is None:
            return
        pace, quantiles = self._desk.pace_of(sight)
        following = step(
            sight.job, sight.memo, looked.observation, self._clock.now(), pace, quantiles, self._clock.dice()
        )
        match following:
            case Again(delay_seconds, memo):
                settled.append(Later(looked.lease, round(delay_seconds * 1000), memo.dump()))
            case Ended(job):
                # Where the provider can run a job again under its id, the ended registration gives the id free.
                is_free = sight.definition is not None and sight.definition.may_rerun
                ended.append((looked, replace(job, tracking=None) if is_free else job))

    async def _write_endings(self, ended: Sequence[tuple[Looked, Job]]) -> set[str]:
        credentials = {look.sight.credential.id: look.sight.credential for look, _ in ended if look.sight}
        endings = await self._announcer.endings([job for _, job in ended], credentials)
        won = await self._store.advance_jobs(endings)
        await self._announcer.put(one.announcement for one in endings if one.announcement and one.job.id in won)
        self._desk.forget(job.id for _, job in ended)
        await self._note([(look, job) for look, job in ended if job.id in won])
        for _, job in ended:
            if job.id not in won:
                log.info("later_ending_ignored", job=job.id, status=str(job.status))
        return won

    async def _note(self, won: Sequence[tuple[Looked, Job]]) -> None:
        durations = []
        for looked, job in won:
            metrics.ENDINGS.labels(job.provider, str(job.status)).inc()
            log.info("job_ended", job=job.id, provider=job.provider, status=str(job.status), polls=job.polls)
            if looked.sight is None or job.completed_at is None or job.status is JobStatus.EXPIRED:
                continue
            ended_ms = _midpoint_ms(looked.sight.memo, to_ms(job.completed_at))
            delay_seconds = (to_ms(self._clock.now()) - ended_ms) / 1000
            metrics.DETECTION_DELAY.labels(job.provider).observe(max(0.0, delay_seconds))
            if looked.observation and looked.observation.outcome is Outcome.COMPLETED and looked.sight.memo.polls:
                seconds = (ended_ms - to_ms(job.created_at)) / 1000
                durations.append((job.provider, looked.sight.kind, seconds, job.completed_at))
        if durations:
            await self._store.note_durations(durations)


def _patience(sight: Sight, now: datetime) -> int:
    """How often an ending without its link was seen; on the last look before the deadline it is taken as it is."""
    return LAST_LOOK if now >= sight.job.deadline_at else sight.memo.pending_again


def _midpoint_ms(memo: Memo, seen_ms: int) -> int:
    """An ending between two looks is taken to lie in the middle."""
    return (memo.last_looked_ms + seen_ms) // 2 if memo.last_looked_ms else seen_ms
