"""What one look at a provider's job said: a value, never an exception."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from relay.domain.moments import rfc3339

FileKind = Literal["audio", "subtitles", "timing", "actions", "part", "other"]
ErrorCode = Literal[
    "invalid_request",
    "authentication",
    "payment_required",
    "not_found",
    "rate_limited",
    "timeout",
    "content_rejected",
    "provider_error",
    "expired",
    "unknown",
]


class Outcome(StrEnum):
    """The nine things that a look can mean; see docs/states.md for what each does to the job."""

    PENDING = "pending"
    UNKNOWN = "unknown"
    COMPLETED = "completed"
    FAILED = "failed"
    NOT_FOUND = "not_found"
    AUTH = "auth"
    PAYMENT = "payment"
    THROTTLED = "throttled"
    TRANSIENT = "transient"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a result; `url` belongs to the provider and may die at `expires_at` (None: not known)."""

    kind: FileKind
    url: str
    expires_at: datetime | None = None
    content_type: str | None = None
    size_bytes: int | None = None
    duration_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "expires_at": rfc3339(self.expires_at)}


@dataclass(frozen=True, slots=True)
class Result:
    """
    What a completed job left: files, the provider's id of the result, and its answer as it came. `warnings` is for
    the job: what of the result could not be used.
    """

    files: tuple[File, ...] = ()
    result_id: str | None = None
    raw: Any = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"files": [file.to_json() for file in self.files], "result_id": self.result_id, "raw": self.raw}


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, in the relay's words (`code`) and the provider's (`message`, `provider_code`)."""

    code: ErrorCode
    message: str
    provider_code: str | None = None
    retryable: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Observation:
    """
    One look. `provider_status` is the provider's own word for the state, `retry_after_seconds` what it asked
    for (None: nothing), `pauses` what the answer means for the whole credential beside the job, `detail` a
    sentence for the log and the timeline. `is_partial`: the job has completed, and its files, which take a second
    step, could not be had this time; `is_lost`: nor will they be. `is_unresolved`: nobody was asked, for the host's
    name has no address.
    """

    outcome: Outcome
    provider_status: str | None = None
    result: Result | None = None
    error: JobError | None = None
    retry_after_seconds: float | None = None
    pauses: Literal["auth_failed", "payment_required"] | None = None
    status_code: int | None = None
    detail: str = ""
    is_partial: bool = False
    is_lost: bool = False
    is_unresolved: bool = False
    sample: dict[str, Any] | None = field(default=None, compare=False)
