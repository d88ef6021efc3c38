"""What answers and events look like, for the reference and for the tests that hold every answer against it."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from relay.domain.credential import CredentialStatus
from relay.domain.delivery import DeliveryStatus
from relay.domain.job import JobStatus
from relay.domain.subscription import SubscriptionStatus
from relay.web.reference.words import (
    AnswerClass,
    Blame,
    ErrorCode,
    EventName,
    FileKind,
    Metadata,
    PayloadForm,
    Scope,
    SignatureForm,
    Trigger,
)
from relay.web.schemas import IDENTIFIER
from relay.webhooks.findings import CheckName
from relay.webhooks.findings import Outcome as CheckOutcome

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


def _id(prefix: str) -> Any:
    return WithJsonSchema({"type": "string", "pattern": f"^{prefix}_{IDENTIFIER}$"})


JobId = Annotated[str, _id("job")]
SubscriptionId = Annotated[str, _id("sub")]
EventId = Annotated[str, _id("evt")]
DeliveryId = Annotated[str, _id("dlv")]
AttemptId = Annotated[str, _id("att")]
CredentialId = Annotated[str, _id("crd")]
RecoveryId = Annotated[str, _id("rcv")]
KeyId = Annotated[str, WithJsonSchema({"type": "string"})]


class Shape(BaseModel):
    """An object of an answer; every field is always there, nulls are written out."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


ShapeT = TypeVar("ShapeT", bound=Shape)


class Page(Shape, Generic[ShapeT]):
    """
    One page of a list, newest first; `next_cursor` leads to older ones and is null on the last page, `prev_cursor` to
    newer ones and is null on the first.
    """

    data: list[ShapeT]
    next_cursor: str | None
    prev_cursor: str | None


class File(Shape):
    """One file of a result. `url` is the provider's and dies at `expires_at` (null: not known)."""

    kind: FileKind
    url: str
    expires_at: Moment | None
    content_type: str | None
    size_bytes: int | None
    duration_seconds: float | None


class Result(Shape):
    """What a completed job left; `raw` is the provider's answer as it came, null when it was too large."""

    files: list[File]
    result_id: str | None
    raw: Any


class JobError(Shape):
    """Why a job failed."""

    code: ErrorCode
    message: str
    provider_code: str | None
    retryable: bool


class DeliveryCounts(Shape):
    """How many deliveries of the job's events there are, by status."""

    total: int
    pending: int
    succeeded: int
    held: int
    exhausted: int
    cancelled: int


class EndedJob(Shape):
    """A job as its event carries it."""

    id: JobId
    object: Literal["job"]
    provider: str
    credential: CredentialId
    provider_job_id: str | None
    params: dict[str, str]
    status: JobStatus
    provider_status: str | None
    metadata: Metadata
    created_at: Moment
    started_at: Moment | None
    completed_at: Moment | None
    deadline_at: Moment
    polls: int
    result: Result | None
    error: JobError | None
    result_url: str | None
    url: str
    warnings: list[str]


class Job(EndedJob):
    """A job; `deliveries` is null in lists, `paused_reason` says why nobody looks at present."""

    next_poll_at: Moment | None
    paused_reason: str | None
    deliveries: DeliveryCounts | None


class CreatedCallback(Shape):
    """The one-off subscription of a job, with its signing secret."""

    subscription: SubscriptionId
    url: str
    secret: str


class CreatedJob(Job):
    """A job just registered; `callback` is null where none was asked for."""

    callback: CreatedCallback | None


class SubscriptionFilter(Shape):
    """Which jobs' events a subscription wants; null: all."""

    providers: list[str] | None
    credentials: list[str] | None
    metadata: Metadata | None


class PublicKey(Shape):
    """What verifies the `v1a` signatures of a subscription; `kid` finds it among the JWKS."""

    kid: str
    public_key: str
    created_at: Moment
    expires_at: Moment | None


class Subscription(Shape):
    """
    A subscription; the values of its headers are never shown. `requests_per_minute` is what the receiver granted in
    the handshake, null when it set no limit or was not asked.
    """

    id: SubscriptionId
    object: Literal["subscription"]
    url: str
    event_types: list[EventName]
    filter: SubscriptionFilter
    description: str | None
    metadata: Metadata
    headers: dict[str, str]
    payload: PayloadForm
    signatures: list[SignatureForm]
    public_keys: list[PublicKey]
    handshake: bool
    max_in_flight: int
    requests_per_minute: int | None
    status: SubscriptionStatus
    disabled_reason: str | None
    job: JobId | None
    failing_since: Moment | None
    last_success_at: Moment | None
    created_at: Moment
    updated_at: Moment


class CreatedSubscription(Subscription):
    """A subscription just made, with its signing secret."""

    secret: str


class Timing(Shape):
    """Milliseconds of each part of an attempt, null where it was not reached."""

    dns_ms: int | None
    connect_ms: int | None
    tls_ms: int | None
    wait_ms: int | None
    read_ms: int | None


class Attempt(Shape):
    """One call as it happened."""

    id: AttemptId
    object: Literal["attempt"]
    number: int
    trigger: Trigger
    started_at: Moment
    duration_ms: int
    timing: Timing
    answer: AnswerClass
    blame: Blame
    status_code: int | None
    request_headers: dict[str, str]
    response_headers: dict[str, str]
    response_body: str
    response_truncated: bool
    hint: str | None


class Delivery(Shape):
    """One event on its way to one subscription; `attempts` is null in lists."""

    id: DeliveryId
    object: Literal["delivery"]
    event: EventId
    event_type: EventName
    job: JobId | None
    subscription: SubscriptionId
    url: str
    status: DeliveryStatus
    attempts_made: int
    next_attempt_at: Moment | None
    expires_at: Moment | None
    created_at: Moment
    completed_at: Moment | None
    attempts: list[Attempt] | None


class Event(Shape):
    """An event; `data` is in the shape of its type."""

    id: EventId
    object: Literal["event"]
    type: EventName
    timestamp: Moment
    job: JobId | None
    data: dict[str, Any]


class Credential(Shape):
    """A credential: the names of its secrets, never their values."""

    id: CredentialId
    object: Literal["credential"]
    name: str
    provider: str
    secrets: list[str]
    params: dict[str, str]
    base_url: str | None
    max_requests_per_second: float | None
    max_concurrency: int | None
    status: CredentialStatus
    status_reason: str | None
    throttled_until: Moment | None
    created_at: Moment
    updated_at: Moment


class Key(Shape):
    """An API key without the key itself."""

    id: KeyId
    object: Literal["key"]
    name: str
    tenant: str
    scopes: list[Scope]
    created_at: Moment
    last_used_at: Moment | None


class CreatedKey(Key):
    """An API key just made; `key` is shown this once."""

    key: str


class Fault(Shape):
    """One thing that is wrong: where, what, and a stable code."""

    pointer: str
    detail: str
    code: str


class Problem(Shape):
    """RFC 9457; `errors` names every fault, and is empty when there is but the one thing."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[Fault]


class BatchItem(Shape):
    """One item's own outcome in a batch."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    status: int
    job: CreatedJob | None = Field(default=None)
    problem: Problem | None = Field(default=None)


class Batch(Shape):
    """The items' outcomes, in order."""

    data: list[BatchItem]


class LiveSecret(Shape):
    """A secret that signs at present; `expires_at` is null for the newest."""

    secret: str
    created_at: Moment
    expires_at: Moment | None


class Secrets(Shape):
    """The signing secrets of a subscription, newest first."""

    object: Literal["secret"]
    subscription: SubscriptionId
    secret: str | None
    secrets: list[LiveSecret]


class Recovery(Shape):
    """
    A task that sends again what was decided in [`since`, `until`) and never succeeded; `recovered` counts what was.
    """

    id: RecoveryId
    object: Literal["recovery"]
    subscription: SubscriptionId
    since: Moment
    until: Moment
    status: Literal["running", "completed", "cancelled"]
    recovered: int
    created_at: Moment
    completed_at: Moment | None


class ProbeCheck(Shape):
    """One thing that a probe looked at; what belongs to a call is null where none was made for it."""

    name: CheckName
    outcome: CheckOutcome
    detail: str
    fix: str | None
    webhook_id: EventId | None
    answer: AnswerClass | None
    status_code: int | None
    duration_ms: int | None


class Probe(Shape):
    """
    What a probe found; `verdict` is the worst outcome of its checks. `tells_apart` is whether all bad calls were
    refused and the good one was not, null where that cannot be said.
    """

    object: Literal["probe"]
    subscription: SubscriptionId
    url: str
    started_at: Moment
    duration_ms: int
    verdict: CheckOutcome
    tells_apart: bool | None
    certificate_expires_at: Moment | None
    checks: list[ProbeCheck]


class DescribedEventType(Shape):
    """A type of events; `is_default` marks those that a subscription gets unless it says otherwise."""

    object: Literal["event_type"]
    name: EventName
    description: str
    is_default: bool


class JobCounts(Shape):
    """How many jobs there are, by status."""

    total: int
    submitting: int
    pending: int
    completed: int
    failed: int
    expired: int
    cancelled: int


class ProviderCounts(Shape):
    """How many jobs a tenant has at one provider: all, and those that are pending."""

    provider: str
    jobs: int
    pending: int


class Stats(Shape):
    """A tenant's things, counted; `oldest_overdue…` speak of the whole relay, null while nobody can tell."""

    object: Literal["stats"]
    jobs: JobCounts
    deliveries: DeliveryCounts
    providers: list[ProviderCounts]
    oldest_overdue_poll_seconds: float | None
    oldest_overdue_delivery_seconds: float | None
