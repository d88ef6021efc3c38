"""What the API's answers look like, for the type checkers of the programs that read them."""

from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

JobStatus = Literal["submitting", "pending", "completed", "failed", "expired", "cancelled"]
SubscriptionStatus = Literal["active", "paused", "disabled"]
CredentialStatus = Literal["active", "auth_failed", "payment_required", "throttled", "unreachable"]
DeliveryStatus = Literal["pending", "succeeded", "held", "exhausted", "cancelled"]
PayloadForm = Literal["full", "thin", "cloudevents"]
SignatureForm = Literal["v1", "v1a"]

ItemT = TypeVar("ItemT")


class Page(TypedDict, Generic[ItemT]):
    """
    One page; `next_cursor` is None on the last page of a list, and always a cursor on one of the feed. `prev_cursor` is
    None on the first page, and on all of the feed.
    """

    data: list[ItemT]
    next_cursor: str | None
    prev_cursor: str | None


class Fault(TypedDict):
    """One thing that is wrong: where (RFC 6901, or `?parameter`), what, and a stable code."""

    pointer: str
    detail: str
    code: str


class Problem(TypedDict):
    """RFC 9457, for an item of a batch; a whole call that fails raises it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[Fault]


class File(TypedDict):
    """One file of a result; `url` is the provider's and dies at `expires_at` (None: not known)."""

    kind: str
    url: str
    expires_at: str | None
    content_type: str | None
    size_bytes: int | None
    duration_seconds: float | None


class Result(TypedDict):
    """What a completed job left; `raw` is the provider's answer as it came."""

    files: list[File]
    result_id: str | None
    raw: Any


class JobError(TypedDict):
    """Why a job failed."""

    code: str
    message: str
    provider_code: str | None
    retryable: bool


class DeliveryCounts(TypedDict):
    """How many deliveries of a job's events there are, by status."""

    total: int
    pending: int
    succeeded: int
    held: int
    exhausted: int
    cancelled: int


class Job(TypedDict):
    """A job; times are RFC 3339. `deliveries` is None in lists."""

    id: str
    object: Literal["job"]
    provider: str
    credential: str
    provider_job_id: str | None
    params: dict[str, str]
    status: JobStatus
    provider_status: str | None
    metadata: dict[str, Any]
    created_at: str
    started_at: str | None
    completed_at: str | None
    deadline_at: str
    polls: int
    result: Result | None
    error: JobError | None
    result_url: str | None
    url: str
    warnings: list[str]
    next_poll_at: str | None
    paused_reason: str | None
    deliveries: DeliveryCounts | None


class CreatedCallback(TypedDict):
    """The one-off subscription of a job, with its signing secret."""

    subscription: str
    url: str
    secret: str


class CreatedJob(Job):
    """A job just registered; `callback` is None where none was asked for."""

    callback: CreatedCallback | None


class BatchItem(TypedDict):
    """One item's own outcome: a job with 200 or 201, else a problem."""

    status: int
    job: NotRequired[CreatedJob]
    problem: NotRequired[Problem]


class RegisteredEntry(TypedDict):
    """The relay was asked to watch the job."""

    at: str
    type: Literal["registered"]
    provider: str
    provider_job_id: str | None
    deadline_at: str


class Gaps(TypedDict):
    """The times between looks; `mean_seconds` is None while there was but one look."""

    count: int
    mean_seconds: float | None


class PollsEntry(TypedDict):
    """All looks at the job, counted; `next_at` is None when there is none to come, or nobody can tell."""

    at: str
    type: Literal["polls"]
    count: int
    first_at: str
    last_at: str
    next_at: str | None
    gaps: Gaps
    provider_status: str | None


class EndedEntry(TypedDict):
    """How the job ended."""

    at: str
    type: Literal["ended"]
    status: JobStatus
    provider_status: str | None
    error: JobError | None


class EventEntry(TypedDict):
    """The event of the ending."""

    at: str
    type: Literal["event"]
    event: str
    event_type: str


class AttemptEntry(TypedDict):
    """One attempt to tell one subscription; the delivery has it in full."""

    at: str
    type: Literal["attempt"]
    attempt: str
    number: int
    delivery: str
    subscription: str
    event: str
    trigger: str
    answer: str
    status_code: int | None
    duration_ms: int


class NextAttemptEntry(TypedDict):
    """When a subscription will be told, or tried again."""

    at: str
    type: Literal["next_attempt"]
    delivery: str
    subscription: str


TimelineEntry = RegisteredEntry | PollsEntry | EndedEntry | EventEntry | AttemptEntry | NextAttemptEntry


class Timeline(TypedDict):
    """A job's life, oldest first."""

    object: Literal["timeline"]
    job: str
    data: list[TimelineEntry]


class SubscriptionFilter(TypedDict):
    """Which jobs' events a subscription wants; None: all."""

    providers: list[str] | None
    credentials: list[str] | None
    metadata: dict[str, Any] | None


class PublicKey(TypedDict):
    """What verifies the `v1a` signatures of a subscription; `kid` finds it among the relay's JWKS."""

    kid: str
    public_key: str
    created_at: str
    expires_at: str | None


class Subscription(TypedDict):
    """
    A subscription; the values of its headers are never shown. `requests_per_minute` is what the receiver granted in
    the handshake, None when it set no limit or was not asked.
    """

    id: str
    object: Literal["subscription"]
    url: str
    event_types: list[str]
    filter: SubscriptionFilter
    description: str | None
    metadata: dict[str, Any]
    headers: dict[str, str]
    payload: PayloadForm
    signatures: list[SignatureForm]
    public_keys: list[PublicKey]
    handshake: bool
    requests_per_minute: int | None
    max_in_flight: int
    status: SubscriptionStatus
    disabled_reason: str | None
    job: str | None
    failing_since: str | None
    last_success_at: str | None
    created_at: str
    updated_at: str


class CreatedSubscription(Subscription):
    """A subscription just made, with its signing secret."""

    secret: str


class LiveSecret(TypedDict):
    """A secret that signs at present; `expires_at` is None for the newest."""

    secret: str
    created_at: str
    expires_at: str | None


class Secrets(TypedDict):
    """The signing secrets of a subscription, newest first."""

    object: Literal["secret"]
    subscription: str
    secret: str | None
    secrets: list[LiveSecret]


class Event(TypedDict):
    """An event; `data` is in the shape of its type."""

    id: str
    object: Literal["event"]
    type: str
    timestamp: str
    job: str | None
    data: dict[str, Any]


class Timing(TypedDict):
    """Milliseconds of each part of an attempt, None where it was not reached."""

    dns_ms: int | None
    connect_ms: int | None
    tls_ms: int | None
    wait_ms: int | None
    read_ms: int | None


class Attempt(TypedDict):
    """One call as it happened."""

    id: str
    object: Literal["attempt"]
    number: int
    trigger: str
    started_at: str
    duration_ms: int
    timing: Timing
    answer: str
    blame: str
    status_code: int | None
    request_headers: dict[str, str]
    response_headers: dict[str, str]
    response_body: str
    response_truncated: bool
    hint: str | None


class Delivery(TypedDict):
    """One event on its way to one subscription; `attempts` is None in lists."""

    id: str
    object: Literal["delivery"]
    event: str
    event_type: str
    job: str | None
    subscription: str
    url: str
    status: DeliveryStatus
    attempts_made: int
    next_attempt_at: str | None
    expires_at: str | None
    created_at: str
    completed_at: str | None
    attempts: list[Attempt] | None


class Credential(TypedDict):
    """A credential: the names of its secrets, never their values."""

    id: str
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
    throttled_until: str | None
    created_at: str
    updated_at: str


class Key(TypedDict):
    """An API key without the key itself."""

    id: str
    object: Literal["key"]
    name: str
    tenant: str
    scopes: list[str]
    created_at: str
    last_used_at: str | None


class CreatedKey(Key):
    """An API key just made; `key` is shown this once."""

    key: str


class EventType(TypedDict):
    """A type of events; `is_default` marks those that a subscription gets unless it says otherwise."""

    object: Literal["event_type"]
    name: str
    description: str
    is_default: bool


class JobCounts(TypedDict):
    """How many jobs there are, by status."""

    total: int
    submitting: int
    pending: int
    completed: int
    failed: int
    expired: int
    cancelled: int


class ProviderCounts(TypedDict):
    """How many jobs there are at one provider: all, and those that are pending."""

    provider: str
    jobs: int
    pending: int


class Stats(TypedDict):
    """A tenant's things, counted; `oldest_overdue…` speak of the whole relay, None while nobody can tell."""

    object: Literal["stats"]
    jobs: JobCounts
    deliveries: DeliveryCounts
    providers: list[ProviderCounts]
    oldest_overdue_poll_seconds: float | None
    oldest_overdue_delivery_seconds: float | None


class Recovery(TypedDict):
    """Sends again what was decided in [`since`, `until`) and never succeeded; `recovered` counts what was."""

    id: str
    object: Literal["recovery"]
    subscription: str
    since: str
    until: str
    status: Literal["running", "completed", "cancelled"]
    recovered: int
    created_at: str
    completed_at: str | None


class ProbeCheck(TypedDict):
    """One thing that a probe looked at; what belongs to a call is None where none was made for it."""

    name: str
    outcome: str
    detail: str
    fix: str | None
    webhook_id: str | None
    answer: str | None
    status_code: int | None
    duration_ms: int | None


class Probe(TypedDict):
    """What a probe found; `tells_apart` is whether all bad calls were refused and the good one was not."""

    object: Literal["probe"]
    subscription: str
    url: str
    started_at: str
    duration_ms: int
    verdict: str
    tells_apart: bool | None
    certificate_expires_at: str | None
    checks: list[ProbeCheck]
