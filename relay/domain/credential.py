"""A tenant's account at a provider: what polls sign in with, and whether the provider still takes it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from relay.domain.moments import rfc3339
from relay.domain.observation import Observation, Outcome

THROTTLE_SECONDS_FIRST = 5.0  # the backoff of a 429 that names no time
THROTTLE_SECONDS_MAX = 900.0
PROBE_SECONDS = 600.0  # how often a paused credential is tried again
UNRESOLVED_SECONDS = 2 * 3600.0  # its host's name has had no address for so long: the owner must know


class CredentialStatus(StrEnum):
    """
    Whether looks may be made; `throttled` passes by itself, the others need the owner (`unreachable`: the name of the
    provider's host has had no address for hours).
    """

    ACTIVE = "active"
    AUTH_FAILED = "auth_failed"
    PAYMENT_REQUIRED = "payment_required"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"


ACTIVE, AUTH_FAILED, PAYMENT_REQUIRED, THROTTLED, UNREACHABLE = CredentialStatus
GOOD = frozenset({Outcome.PENDING, Outcome.UNKNOWN, Outcome.COMPLETED, Outcome.FAILED, Outcome.NOT_FOUND})

# What one look makes of its credential. An absent pair changes nothing: a throttled probe does not end a pause.
TRANSITIONS: dict[tuple[CredentialStatus, Outcome], CredentialStatus] = {
    (ACTIVE, Outcome.THROTTLED): THROTTLED,
    (ACTIVE, Outcome.AUTH): AUTH_FAILED,
    (ACTIVE, Outcome.PAYMENT): PAYMENT_REQUIRED,
    (THROTTLED, Outcome.AUTH): AUTH_FAILED,
    (THROTTLED, Outcome.PAYMENT): PAYMENT_REQUIRED,
    (AUTH_FAILED, Outcome.PAYMENT): PAYMENT_REQUIRED,
    (PAYMENT_REQUIRED, Outcome.AUTH): AUTH_FAILED,
    (UNREACHABLE, Outcome.AUTH): AUTH_FAILED,
    (UNREACHABLE, Outcome.PAYMENT): PAYMENT_REQUIRED,
    **{(status, good): ACTIVE for status in CredentialStatus if status is not ACTIVE for good in GOOD},
}


PAUSED = frozenset({CredentialStatus.AUTH_FAILED, CredentialStatus.PAYMENT_REQUIRED, CredentialStatus.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class Credential:
    """`secrets` are clear only in memory: they are encrypted at rest and in no repr."""

    id: str
    tenant: str
    name: str
    provider: str
    secrets: dict[str, str] = field(repr=False)
    params: dict[str, str]
    base_url: str | None
    max_requests_per_second: float | None
    max_concurrency: int | None
    status: CredentialStatus
    status_reason: str | None
    throttled_until: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_paused(self) -> bool:
        """True while only slow probes may be made with it."""
        return self.status in PAUSED


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look means for its credential: a status to take, and seconds during which nobody may ask."""

    status: CredentialStatus
    reason: str
    hold_seconds: float = 0.0


def judge(observation: Observation, throttles_in_row: int, jitter: float) -> Verdict | None:
    """
    The credential's verdict for one observation, or None when the look says nothing against it.

    `throttles_in_row` counts the 429s before this one without a good answer between; `jitter` in [0, 1).
    A provider's own Retry-After is never shortened, a missing one becomes backoff with full jitter.
    """
    if observation.outcome is Outcome.THROTTLED:
        ceiling = min(THROTTLE_SECONDS_MAX, THROTTLE_SECONDS_FIRST * 2 ** min(throttles_in_row, 16))
        backoff = ceiling * jitter
        asked = observation.retry_after_seconds
        return Verdict(CredentialStatus.THROTTLED, observation.detail, backoff if asked is None else asked)
    if observation.outcome is Outcome.AUTH:
        return Verdict(CredentialStatus.AUTH_FAILED, observation.detail)
    if observation.outcome is Outcome.PAYMENT:
        return Verdict(CredentialStatus.PAYMENT_REQUIRED, observation.detail)
    return None


def credential_view(credential: Credential) -> dict[str, Any]:
    """The credential as the API shows it: the names of its secrets, never their values."""
    return {
        "id": credential.id,
        "object": "credential",
        "name": credential.name,
        "provider": credential.provider,
        "secrets": sorted(credential.secrets),
        "params": credential.params,
        "base_url": credential.base_url,
        "max_requests_per_second": credential.max_requests_per_second,
        "max_concurrency": credential.max_concurrency,
        "status": str(credential.status),
        "status_reason": credential.status_reason,
        "throttled_until": rfc3339(credential.throttled_until),
        "created_at": rfc3339(credential.created_at),
        "updated_at": rfc3339(credential.updated_at),
    }
