"""A provider's job that somebody waits for: what it is, and what each observation makes of it."""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from relay.domain.backoff import after_faults
from relay.domain.moments import from_ms, rfc3339, seconds_after, to_ms
from relay.domain.observation import JobError, Observation, Outcome
from relay.domain.pacing import Pace, next_gap

NOT_FOUND_GRACE_SECONDS = 60.0  # a fresh id can be unknown to its provider for a moment
NOT_FOUND_ANSWERS = 3
NOT_FOUND_GAP_SECONDS_MAX = 20.0
MEMO_NUMBER_MAX = to_ms(datetime.max.replace(tzinfo=UTC))  # its moments fit a datetime; its counts are far smaller
AWAITS_LINK = "ended, but its link is not there yet"  # the detail of a look that found a success without a link

SubmissionAnswer = Literal["created", "refused", "unclear"]


class JobStatus(StrEnum):
    """`submitting` (the provider has been asked to create it) and `pending` go on; nothing follows the others."""

    SUBMITTING = "submitting"
    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


OPEN = frozenset({JobStatus.SUBMITTING, JobStatus.PENDING})  # a deadline and its owner can end these

# What the answer to a create call makes of a job; None: nothing of it is kept. Doubt is never resolved by asking again.
SUBMISSIONS: dict[tuple[JobStatus, SubmissionAnswer], JobStatus | None] = {
    (JobStatus.SUBMITTING, "created"): JobStatus.PENDING,
    (JobStatus.SUBMITTING, "refused"): None,
    (JobStatus.SUBMITTING, "unclear"): JobStatus.SUBMITTING,
}

# What an observation makes of a job. An absent pair is a prohibition: nothing follows an ending, and what the provider
# has not named yet cannot be looked at.
TRANSITIONS: dict[tuple[JobStatus, Outcome], JobStatus] = {
    (JobStatus.PENDING, Outcome.PENDING): JobStatus.PENDING,
    (JobStatus.PENDING, Outcome.UNKNOWN): JobStatus.PENDING,
    (JobStatus.PENDING, Outcome.AUTH): JobStatus.PENDING,
    (JobStatus.PENDING, Outcome.PAYMENT): JobStatus.PENDING,
    (JobStatus.PENDING, Outcome.THROTTLED): JobStatus.PENDING,
    (JobStatus.PENDING, Outcome.TRANSIENT): JobStatus.PENDING,
    (JobStatus.PENDING, Outcome.NOT_FOUND): JobStatus.FAILED,  # once its grace is over; pending until then
    (JobStatus.PENDING, Outcome.COMPLETED): JobStatus.COMPLETED,
    (JobStatus.PENDING, Outcome.FAILED): JobStatus.FAILED,
}

REFUSALS = frozenset({Outcome.AUTH, Outcome.PAYMENT})  # about the credential, which waits for its owner
KNOWN = frozenset({Outcome.PENDING, Outcome.UNKNOWN})  # the provider has spoken of a job that goes on

EVENT_OF_ENDING: dict[JobStatus, str] = {
    JobStatus.COMPLETED: "job.completed",
    JobStatus.FAILED: "job.failed",
    JobStatus.EXPIRED: "job.expired",
}


@dataclass(frozen=True, slots=True)
class Job:
    """
    One job of one credential; `result` and `error` are in the shape of the API, None until it ends.

    `provider_job_id` is None while the provider has not named it. `submission` marks the call that asked for the job,
    so that the same call again finds it. `result_fetched_at` is when the result's links were last asked for anew,
    `link_revoked_at` when the public link to them was taken back. `trace_id` is the W3C trace that registered it.
    """

    id: str
    tenant: str
    provider: str
    credential_id: str
    provider_job_id: str | None
    params: dict[str, str]
    metadata: dict[str, Any]
    status: JobStatus
    provider_status: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime
    polls: int
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    warnings: tuple[str, ...] = ()
    tracking: str | None = field(default=None)  # unique while this registration claims the provider's id
    submission: str | None = None
    result_fetched_at: datetime | None = None
    link_revoked_at: datetime | None = None
    trace_id: str | None = None

    @property
    def has_ended(self) -> bool:
        """True once nothing can follow."""
        return self.status not in OPEN


@dataclass(frozen=True, slots=True)
class Memo:
    """
    What one look leaves for the next; kept in Redis beside the due time, and dispensable. `sought_ms` is since when
    rounds have kept the job waiting without coming to it.
    """

    polls: int = 0
    provider_status: str | None = None
    first_looked_ms: int | None = None
    last_looked_ms: int | None = None
    misses: int = 0
    missed_since_ms: int | None = None
    faults: int = 0
    pending_again: int = 0
    absences: int = 0  # rounds in a row whose list did not show the job, or not so that a round understands it
    sought_ms: int | None = None

    def dump(self) -> str:
        """Compact JSON; what stands at its default is left out."""
        told = {name: value for name, value in asdict(self).items() if value not in (None, 0)}
        return json.dumps(told, separators=(",", ":")) if told else ""

    @classmethod
    def parse(cls, text: str) -> "Memo":
        """The memo in `text`; an empty or foreign text is an empty memo, for nothing depends on it."""
        try:
            told = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            return cls()
        is_ours = isinstance(told, dict) and all(_may_remember(name, value) for name, value in told.items())
        return cls(**told) if is_ours else cls()


def _may_remember(name: str, value: object) -> bool:
    if name == "provider_status":
        return isinstance(value, str)
    return name in Memo.__dataclass_fields__ and type(value) is int and 0 <= value <= MEMO_NUMBER_MAX


def seen(job: Job, memo: Memo) -> Job:
    """The job with what its looks have shown so far, which the record learns of at its end alone."""
    started_at = from_ms(memo.first_looked_ms) if memo.first_looked_ms else None
    return replace(job, polls=memo.polls, provider_status=memo.provider_status, started_at=started_at)


@dataclass(frozen=True, slots=True)
class Again:
    """Still pending: look again after `delay_seconds`."""

    delay_seconds: float
    memo: Memo


@dataclass(frozen=True, slots=True)
class Ended:
    """The job as it ended."""

    job: Job


def step(
    job: Job,
    memo: Memo,
    observation: Observation,
    now: datetime,
    pace: Pace,
    quantiles: tuple[float, ...] = (),
    jitter: float = 0.5,
) -> Again | Ended:
    """
    What follows from one observation of a pending job.

    The first terminal observation ends it; `not_found` does after 60 s and three answers; a deadline that has
    passed ends it as `expired` unless this very look was terminal. `jitter` in [0, 1). Raises KeyError for a
    pair that TRANSITIONS does not hold.
    """
    target = TRANSITIONS[job.status, observation.outcome]
    memo = remember(memo, observation, now)
    if observation.outcome is Outcome.NOT_FOUND and not _grace_is_over(memo, now):
        target = JobStatus.PENDING
    if target is not JobStatus.PENDING:
        return Ended(_ended(job, memo, target, observation, now))
    if now >= job.deadline_at:
        return Ended(expire(job, memo, now))
    age_seconds = (now - job.created_at).total_seconds()
    delay = _delay(memo, observation, age_seconds, now, pace, quantiles, jitter)
    left = (job.deadline_at - now).total_seconds()
    return Again(min(delay, max(left, 0.0)), memo)


def submitted(
    job: Job, answer: SubmissionAnswer, *, provider_job_id: str | None = None, doubt: str | None = None
) -> Job | None:
    """
    The job after the answer to its create call; None when nothing of it is kept.

    `provider_job_id` comes with `created`, `doubt` (a sentence for its owner) with `unclear`. Raises KeyError for a
    pair that SUBMISSIONS does not hold.
    """
    status = SUBMISSIONS[job.status, answer]
    if status is None:
        return None
    return replace(
        job,
        status=status,
        provider_job_id=provider_job_id,
        tracking=tracking_of(job.credential_id, provider_job_id) if provider_job_id else None,
        warnings=(*job.warnings, doubt) if doubt else job.warnings,
    )


def tracking_of(credential_id: str, provider_job_id: str) -> str:
    """What only one registration may claim at a time."""
    return f"{credential_id}/{provider_job_id}"


def expire(job: Job, memo: Memo, now: datetime) -> Job:
    """The job after its deadline: the relay's own verdict, not the provider's."""
    lacks = "terminal answer" if job.provider_job_id else "word of the provider that it had created the job"
    error = JobError("expired", f"no {lacks} before the deadline at {rfc3339(job.deadline_at)}")
    return replace(
        _with_looks(job, memo),
        status=JobStatus.EXPIRED,
        completed_at=now,
        error=error.to_json(),
        tracking=None,
    )


def remember(memo: Memo, observation: Observation, now: datetime) -> Memo:
    """The memo after one more look."""
    now_ms = to_ms(now)
    is_missing = observation.outcome is Outcome.NOT_FOUND
    is_known = observation.outcome in KNOWN  # a fault or a refusal between two misses says nothing about the job
    is_fault = observation.outcome is Outcome.TRANSIENT
    return Memo(
        polls=memo.polls + 1,
        provider_status=observation.provider_status or memo.provider_status,
        first_looked_ms=memo.first_looked_ms or now_ms,
        last_looked_ms=now_ms,
        misses=0 if is_known else memo.misses + is_missing,
        missed_since_ms=None if is_known else memo.missed_since_ms or (now_ms if is_missing else None),
        faults=memo.faults + 1 if is_fault else 0,
        pending_again=memo.pending_again + 1 if observation.detail == AWAITS_LINK else 0,
        absences=memo.absences,
    )


def _grace_is_over(memo: Memo, now: datetime) -> bool:
    missed_since_ms = memo.missed_since_ms or to_ms(now)
    return memo.misses >= NOT_FOUND_ANSWERS and to_ms(now) - missed_since_ms >= NOT_FOUND_GRACE_SECONDS * 1000


def _delay(
    memo: Memo,
    observation: Observation,
    age_seconds: float,
    now: datetime,
    pace: Pace,
    quantiles: tuple[float, ...],
    jitter: float,
) -> float:
    asked = observation.retry_after_seconds or 0.0
    if observation.outcome is Outcome.TRANSIENT:
        return max(asked, after_faults(memo.faults, pace.interval_seconds, jitter))
    if observation.outcome is Outcome.NOT_FOUND:
        gap = min(NOT_FOUND_GAP_SECONDS_MAX, after_faults(memo.misses, pace.interval_seconds, jitter))
        return max(asked, gap)
    if observation.outcome in REFUSALS:
        return max(asked, pace.min_seconds)  # the credential's own pause is what keeps the job waiting
    return max(asked, next_gap(age_seconds, pace, quantiles, jitter))


def _ended(job: Job, memo: Memo, target: JobStatus, observation: Observation, now: datetime) -> Job:
    error, result = observation.error, observation.result if target is JobStatus.COMPLETED else None
    if target is JobStatus.FAILED and error is None:
        error = _unexplained(observation)
    return replace(
        _with_looks(job, memo),
        status=target,
        provider_status=observation.provider_status or memo.provider_status,
        completed_at=now,
        result=result.to_json() if result else None,
        error=error.to_json() if error and target is JobStatus.FAILED else None,
        warnings=(*job.warnings, *result.warnings) if result else job.warnings,
        tracking=None if observation.outcome is Outcome.NOT_FOUND else job.tracking,
    )


def _unexplained(observation: Observation) -> JobError:
    if observation.outcome is Outcome.NOT_FOUND:
        return JobError("not_found", observation.detail or "the provider does not know this job")
    return JobError("provider_error", observation.detail or "the provider gave no reason")


def _with_looks(job: Job, memo: Memo) -> Job:
    return replace(
        job,
        polls=memo.polls,
        provider_status=memo.provider_status or job.provider_status,
        started_at=from_ms(memo.first_looked_ms) if memo.first_looked_ms else job.started_at,
    )


def links_expire_at(job: Job) -> str | None:
    """When the first of the result's links dies, RFC 3339; None when none is known to."""
    files = (job.result or {}).get("files", [])
    return min((file["expires_at"] for file in files if file["expires_at"]), default=None)


def deadline(now: datetime, seconds: float) -> datetime:
    """The moment after which the relay stops waiting."""
    return seconds_after(now, seconds)
