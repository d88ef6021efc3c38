"""What a job's timeline looks like: one shape for each type of entry."""

from typing import Annotated, Literal

from pydantic import Field

from relay.domain.job import JobStatus
from relay.web.reference.shapes import (
    AttemptId,
    DeliveryId,
    EventId,
    JobError,
    JobId,
    Moment,
    Shape,
    SubscriptionId,
)
from relay.web.reference.words import AnswerClass, EventName, Trigger


class RegisteredEntry(Shape):
    """The relay was asked to watch the job."""

    at: Moment
    type: Literal["registered"]
    provider: str
    provider_job_id: str | None
    deadline_at: Moment


class Gaps(Shape):
    """The times between looks; `mean_seconds` is null while there was but one look."""

    count: int
    mean_seconds: float | None


class PollsEntry(Shape):
    """All looks at the job, counted; `next_at` is null when there is none to come, or nobody can tell."""

    at: Moment
    type: Literal["polls"]
    count: int
    first_at: Moment
    last_at: Moment
    next_at: Moment | None
    gaps: Gaps
    provider_status: str | None


class EndedEntry(Shape):
    """How the job ended."""

    at: Moment
    type: Literal["ended"]
    status: JobStatus
    provider_status: str | None
    error: JobError | None


class EventEntry(Shape):
    """The event of the ending."""

    at: Moment
    type: Literal["event"]
    event: EventId
    event_type: EventName


class AttemptEntry(Shape):
    """One attempt to tell one subscription; the delivery has it in full."""

    at: Moment
    type: Literal["attempt"]
    attempt: AttemptId
    number: int
    delivery: DeliveryId
    subscription: SubscriptionId
    event: EventId
    trigger: Trigger
    answer: AnswerClass
    status_code: int | None
    duration_ms: int


class NextAttemptEntry(Shape):
    """When a subscription will be told, or tried again."""

    at: Moment
    type: Literal["next_attempt"]
    delivery: DeliveryId
    subscription: SubscriptionId


Entry = Annotated[
    RegisteredEntry | PollsEntry | EndedEntry | EventEntry | AttemptEntry | NextAttemptEntry,
    Field(discriminator="type"),
]


class Timeline(Shape):
    """A job's life, oldest first."""

    object: Literal["timeline"]
    job: JobId
    data: list[Entry]
