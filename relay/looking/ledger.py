"""What looks have found goes on record: when to look again, or the one ending with everything that follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from relay import metrics
from relay.announce import Announcer
from relay.clock import Clock
from relay.domain.job import Again, Ended, Job, JobStatus, Memo, step
from relay.domain.moments import to_ms
from relay.domain.observation import Observation, Outcome
from relay.looking.desk import Desk, Sight
from relay.store import Duration, Store

log = structlog.get_logger(__name__)

CONTESTED_SECONDS = 0.5  # somebody else has ended the job: the next lease finds it so, or a callback added meanwhile
GAPS_UNWATCHED = 2.0  # so many of the longest gaps without a look, and an ending teaches nothing of its time
POISON_SECONDS = 60.0  # a row that makes code raise waits so long, and costs no other row anything


@dataclass(frozen=True, slots=True)
class Found:
    """One observation of one job; `jitter` in [0, 1) spreads its next look, 0.5 leaves that where it is."""

    sight: Sight
    observation: Observation
    jitter: float = 0.5


class Ledger:
    """The only way from an observation to the record, for single looks and rounds alike."""

    def __init__(self, store: Store, announcer: Announcer, desk: Desk, clock: Clock) -> None:
        self._store = store
        self._announcer = announcer
        self._desk = desk
        self._clock = clock

    async def enter(self, found: Sequence[Found]) -> list[Again | None]:
        """
        For each in order when to look again, or None: its job has ended, and that is committed with its event.

        May be repeated with the same; raises Unreachable when the database does not answer.
        """
        steps = [self._step(one) for one in found]
        ended = [(one, what.job) for one, what in zip(found, steps, strict=True) if isinstance(what, Ended)]
        won = await self._end(ended) if ended else set()
        return [self._following(one, what, won) for one, what in zip(found, steps, strict=True)]

    def _step(self, found: Found) -> Again | Ended:
        sight = found.sight
        try:
            pace, quantiles = self._desk.pace_of(sight)
            now = self._clock.now()
            return step(sight.job, sight.memo, found.observation, now, pace, quantiles, found.jitter)
        except Exception:
            log.exception("look_not_understood", job=sight.job.id)
            return Again(POISON_SECONDS, sight.memo)

    def _following(self, found: Found, what: Again | Ended, won: set[str]) -> Again | None:
        if isinstance(what, Again):
            return what
        return None if what.job.id in won else Again(CONTESTED_SECONDS, found.sight.memo)

    async def _end(self, ended: Sequence[tuple[Found, Job]]) -> set[str]:
        credentials = {one.sight.credential.id: one.sight.credential for one, _ in ended}
        endings = await self._announcer.endings([_released(one, job) for one, job in ended], credentials)
        won = await self._store.advance_jobs(endings)
        await self._announcer.put(one.announcement for one in endings if one.announcement and one.job.id in won)
        self._desk.forget(job.id for _, job in ended)
        await self._note([(one, job) for one, job in ended if job.id in won])
        for _, job in ended:
            if job.id not in won:
                log.info("later_ending_ignored", job=job.id, status=str(job.status))
        return won

    async def _note(self, won: Sequence[tuple[Found, Job]]) -> None:
        durations: list[Duration] = []
        for found, job in won:
            metrics.ENDINGS.labels(job.provider, str(job.status)).inc()
            log.info("job_ended", job=job.id, provider=job.provider, status=str(job.status), polls=job.polls)
            if job.completed_at is None or job.status is JobStatus.EXPIRED:
                continue
            memo = found.sight.memo
            ended_ms = _midpoint_ms(memo, to_ms(job.completed_at))
            delay_seconds = (to_ms(self._clock.now()) - ended_ms) / 1000
            metrics.DETECTION_DELAY.labels(job.provider).observe(max(0.0, delay_seconds))
            seconds = (ended_ms - to_ms(job.created_at)) / 1000
            if found.observation.outcome is Outcome.COMPLETED and seconds > 0 and self._was_watched(found):
                durations.append(Duration(job.provider, found.sight.kind, seconds, job.completed_at, job.polls))
        if durations:
            await self._store.note_durations(durations)

    def _was_watched(self, found: Found) -> bool:
        """False where nobody looked for so long (a pause, a hold, no worker) that the end could be anywhere."""
        memo = found.sight.memo
        unwatched_ms = to_ms(self._clock.now()) - (memo.last_looked_ms or 0)
        pace, _ = self._desk.pace_of(found.sight)
        return memo.polls > 0 and unwatched_ms <= pace.max_seconds * GAPS_UNWATCHED * 1000


def _released(found: Found, job: Job) -> Job:
    """Where the provider can run a job again under its id, the ended registration gives the id free."""
    is_free = found.sight.definition is not None and found.sight.definition.may_rerun
    return replace(job, tracking=None) if is_free else job


def _midpoint_ms(memo: Memo, seen_ms: int) -> int:
    """An ending between two looks is taken to lie in the middle."""
    return (memo.last_looked_ms + seen_ms) // 2 if memo.last_looked_ms else seen_ms
