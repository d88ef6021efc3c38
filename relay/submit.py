"""Have a job made by its provider, written down before it is asked for, so that none is ever made twice."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from relay.clock import Clock
from relay.domain.errors import Conflict, Refused, Unreachable
from relay.domain.job import Job, JobStatus, submitted
from relay.domain.moments import seconds_after
from relay.domain.observation import ErrorCode, Observation, Outcome
from relay.looking.desk import Sight
from relay.looking.errands import RETRY_SECONDS, Errands, NotNow
from relay.looking.meter import Meter
from relay.providers.catalog import Catalog
from relay.providers.request import SUBMIT_TIMEOUT_SECONDS
from relay.providers.submit import NotSubmitted, Submission, Submitted, Unclear, submit
from relay.register import JobRequest, Register
from relay.schedule import Turns
from relay.store import Registration, Store

log = structlog.get_logger(__name__)

WRITE_TRIES = 6  # for what the provider has answered: it is known nowhere else
WRITE_PAUSE_SECONDS = 0.25  # before the second; doubles: some 8 s together
UNDERWAY_SECONDS_MAX = SUBMIT_TIMEOUT_SECONDS + 30.0  # a call that is older has died, whatever Redis can say of it

DOUBT = "It is not known whether the provider has made this job"
INTERRUPTED = "the relay was interrupted before the answer was written down"
REASONS: dict[str, ErrorCode] = {
    "paused": "authentication",
    "throttled": "rate_limited",
    "host_down": "provider_error",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """The job: `pending` once the provider has named it, `submitting` while in doubt. `is_new`: this call wrote it."""

    job: Job
    is_new: bool


@dataclass(frozen=True, slots=True)
class Declined:
    """There is no job: the provider has refused to make it, or was not asked. `detail` is the provider's reason."""

    code: ErrorCode
    detail: str
    provider_code: str | None = None
    retry_after_seconds: float | None = None


class Submit:
    """The station before the first, for those who leave the start of a job to the relay as well."""

    def __init__(
        self,
        register: Register,
        store: Store,
        catalog: Catalog,
        errands: Errands,
        turns: Turns,
        clock: Clock,
    ) -> None:
        self._register = register
        self._store = store
        self._catalog = catalog
        self._errands = errands
        self._turns = turns
        self._clock = clock
        self._underway: set[asyncio.Task[Asked | Declined]] = set()

    async def job(self, tenant: str, request: JobRequest, mark: str | None) -> Asked | Declined:
        """
        The job that `request.submit` asks for, made by its provider; with a `mark`, at most once for that mark.

        Raises Refused for a request with faults.
        """
        earlier = await self._store.find_submission(mark) if mark else None
        if earlier is not None:
            return await self._standing_as(earlier)
        prepared = await self._register.submission(tenant, request, mark)
        if isinstance(prepared, Refused):
            raise prepared
        registration, credential = prepared
        definition = self._catalog.get(registration.job.provider)
        if definition is None:
            raise LookupError(registration.job.provider)
        sight = self._errands.sight(registration.job, credential, definition)
        meter = await self._errands.leave(sight, "submit")
        if isinstance(meter, NotNow):
            return _declined(meter)
        task = asyncio.create_task(self._carry_out(registration, sight, meter, request.submit or {}))
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)
        # Shielded: a caller that goes away must not take the provider's answer along.
        return await asyncio.shield(task)

    async def interrupted(self, mark: str) -> Job | None:
        """
        The job of a call whose process died before it could answer; None when there is none.

        Raises Conflict when somebody is at work on it after all.
        """
        job = await self._store.find_submission(mark)
        if job is None:
            return None
        if await self._is_underway(job):
            raise Conflict("idempotency_in_flight", "The first request with this Idempotency-Key is still at work.")
        return (await self._standing_as(job)).job

    async def close(self, within_seconds: float) -> None:
        """Lets calls that are under way come to their end, whether anybody waits for them or not."""
        if self._underway:
            _, late = await asyncio.wait(self._underway, timeout=within_seconds)
            for task in late:
                task.cancel()  # once: what it puts on record then is not to be cut short
            await asyncio.gather(*late, return_exceptions=True)

    async def _is_underway(self, job: Job) -> bool:
        if job.status is not JobStatus.SUBMITTING:
            return False
        try:
            return await self._turns.is_taken(_turn(job.id))
        except Unreachable:
            return self._clock.now() < seconds_after(job.created_at, UNDERWAY_SECONDS_MAX)

    async def _standing_as(self, job: Job) -> Asked:
        if job.status is not JobStatus.SUBMITTING or await self._is_underway(job):
            return Asked(job, is_new=False)
        if not any(warning.startswith(DOUBT) for warning in job.warnings):
            job = await self._doubted(job, INTERRUPTED)
        return Asked(job, is_new=False)

    async def _carry_out(
        self, registration: Registration, sight: Sight, meter: Meter, content: Mapping[str, Any]
    ) -> Asked | Declined:
        async with self._turns.taking(_turn(registration.job.id)):
            job, is_new = await self._store.open_submission(registration)
            if not is_new:
                return Asked(job, is_new=False)
            if sight.target is None:
                raise LookupError(job.provider)
            submission = await submit(meter, sight.target, content, self._clock)
            answer = await self._recorded(job, sight, submission)
        await self._errands.learn(sight, _observed(submission))
        log.info("job_submitted", job=job.id, provider=job.provider, answer=type(submission).__name__)
        return answer

    async def _recorded(self, job: Job, sight: Sight, submission: Submission) -> Asked | Declined:
        match submission:
            case Submitted(provider_job_id):
                placed = await self._placed(job, sight, provider_job_id)
                return Asked(placed, is_new=placed.id == job.id)
            case Unclear(detail):
                return Asked(await self._doubted(job, detail), is_new=True)
            case NotSubmitted(error, observation):
                # Whoever cancelled it in between has it as they wanted it; else nothing of it is left to clean up.
                await self._written(lambda: self._store.withdraw_submission(job.id))
                wait_seconds = observation.retry_after_seconds or (RETRY_SECONDS if error.retryable else None)
                return Declined(error.code, error.message, error.provider_code, wait_seconds)

    async def _placed(self, job: Job, sight: Sight, provider_job_id: str) -> Job:
        after = submitted(job, "created", provider_job_id=provider_job_id) or job
        try:
            placed = await self._written(lambda: self._store.place_submission(after))
        except Unreachable:
            log.error("job_id_not_written", job=job.id, provider=job.provider, provider_job_id=provider_job_id)  # noqa: TRY400  a traceback says no more
            raise
        if placed is None:
            return after
        if placed.id != job.id:
            log.info("job_tracked_already", job=placed.id, provider=job.provider, provider_job_id=provider_job_id)
        elif placed.status is JobStatus.PENDING and sight.definition is not None:
            first_look = sight.definition.pacing().interval_seconds
            await self._register.schedule([placed], {sight.credential.id: sight.credential}, first_look)
        return placed

    async def _doubted(self, job: Job, reason: str) -> Job:
        log.warning("submission_unclear", job=job.id, provider=job.provider, reason=reason)
        doubt = f"{DOUBT}: {reason}. The relay does not ask again by itself."
        after = submitted(job, "unclear", doubt=doubt) or job
        return await self._written(lambda: self._store.doubt_submission(after)) or after

    async def _written(self, write: Callable[[], Awaitable[T]]) -> T:
        pause_seconds = WRITE_PAUSE_SECONDS
        for _ in range(WRITE_TRIES - 1):
            try:
                return await write()
            except Unreachable as error:
                log.warning("submission_not_written_yet", reason=str(error))
            await self._clock.sleep(pause_seconds)
            pause_seconds *= 2
        return await write()


def _turn(job_id: str) -> str:
    return f"submit:{job_id}"


def _declined(not_now: NotNow) -> Declined:
    return Declined(REASONS[not_now.reason], not_now.detail, None, not_now.retry_after_seconds)


def _observed(submission: Submission) -> Observation:
    """What the answer says of the credential; an id is a good word for it."""
    return Observation(Outcome.PENDING) if isinstance(submission, Submitted) else submission.observation
