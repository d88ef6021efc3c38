"""Who wants to hear of what, where, and whether they still can be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeVar

from relay.domain.backoff import RETRY_AFTER_SECONDS_MAX
from relay.domain.moments import next_version, rfc3339, seconds_after

JOB_EVENTS = ("job.completed", "job.failed", "job.expired")
OPERATIONAL_EVENTS = ("credential.paused", "credential.resumed", "subscription.disabled", "delivery.exhausted")
TEST_EVENT = "webhook.test"
EVENT_TYPES = (*JOB_EVENTS, TEST_EVENT, *OPERATIONAL_EVENTS)
SECRETS_MAX = 10  # alive at once
OVERLAP_SECONDS_DEFAULT = 86_400
OVERLAP_SECONDS_MAX = 604_800
MAX_IN_FLIGHT_DEFAULT = 16

PayloadForm = Literal["full", "thin", "cloudevents"]
SignatureForm = Literal["v1", "v1a"]  # HMAC-SHA256 with a secret, which is always there; ed25519 beside it


class SubscriptionStatus(StrEnum):
    """`paused` is the owner's wish, `disabled` the relay's verdict; deliveries are held in both."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """One secret and the moment after which it no longer signs (None: the newest one, no end)."""

    secret: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """
    An ed25519 key of a subscription: `private` (`whsk_…`) signs, `public` (`whpk_…`) and its `kid` are for anybody.

    `private` is empty where it cannot be read. It lives as long as the secret that came with it.
    """

    private: str = field(repr=False)
    public: str
    kid: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs a subscription wants; an empty part wants all. Metadata matches by equality of each pair."""

    providers: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "providers": list(self.providers) or None,
            "credentials": list(self.credentials) or None,
            "metadata": dict(self.metadata) or None,
        }

    @classmethod
    def parse(cls, told: Mapping[str, Any] | None) -> "Filter":
        told = told or {}
        return cls(
            tuple(told.get("providers") or ()), tuple(told.get("credentials") or ()), dict(told.get("metadata") or {})
        )


@dataclass(frozen=True, slots=True)
class Subscription:
    """
    `job_id` is set for the one-off subscription that a job's `callback` made. Secrets and signing keys newest first;
    a key without an end is there when `v1a` is wanted. `requests_per_minute` is what the receiver granted in the
    handshake (None: it set no limit, or was not asked).
    """

    id: str
    tenant: str
    url: str
    event_types: tuple[str, ...]
    filter: Filter
    description: str | None
    metadata: dict[str, Any]
    headers: dict[str, str] = field(repr=False)
    payload: PayloadForm
    max_in_flight: int
    secrets: tuple[SigningSecret, ...] = field(repr=False)
    status: SubscriptionStatus
    disabled_reason: str | None
    job_id: str | None
    failing_since: datetime | None
    last_success_at: datetime | None
    hold_until: datetime | None
    created_at: datetime
    updated_at: datetime
    signing_keys: tuple[SigningKey, ...] = ()
    wants_handshake: bool = False
    requests_per_minute: int | None = None

    @property
    def signatures(self) -> tuple[SignatureForm, ...]:
        """What each call is signed with."""
        return ("v1", "v1a") if any(one.expires_at is None for one in self.signing_keys) else ("v1",)

    def living_secrets(self, now: datetime) -> tuple[str, ...]:
        """The secrets that sign at `now`, newest first, then the private keys that do."""
        secrets = tuple(one.secret for one in self.secrets if _lives(one, now))
        return secrets + tuple(one.private for one in self.signing_keys if one.private and _lives(one, now))


def hold_seconds_left(hold_until: datetime | None, now: datetime) -> float:
    """
    For how long nobody may call yet; 0: anybody may.

    Longer than was ever asked for means that the clock which wrote it, or ours, has been set since: then it is over.
    """
    if hold_until is None:
        return 0.0
    left_seconds = (hold_until - now).total_seconds()
    return left_seconds if 0 < left_seconds <= RETRY_AFTER_SECONDS_MAX else 0.0


def wants(
    subscription: Subscription,
    event_type: str,
    *,
    job_id: str | None = None,
    provider: str | None = None,
    credentials: tuple[str, ...] = (),
    metadata: Mapping[str, Any] | None = None,
) -> bool:
    """True when the event is for this subscription; `credentials` are the names and the id the job's one goes by."""
    if event_type not in subscription.event_types:
        return False
    if subscription.job_id is not None:
        return subscription.job_id == job_id
    wanted = subscription.filter
    if wanted.providers and provider not in wanted.providers:
        return False
    if wanted.credentials and not set(wanted.credentials) & set(credentials):
        return False
    has = metadata or {}
    return all(key in has and _is_same(has[key], value) for key, value in wanted.metadata.items())


def _is_same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: `true` is not 1, while 1 is 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


Signer = TypeVar("Signer", SigningSecret, SigningKey)


def _lives(one: SigningSecret | SigningKey, now: datetime) -> bool:
    return one.expires_at is None or one.expires_at > now


def _ending(signers: tuple[Signer, ...], now: datetime, ends: datetime) -> tuple[Signer, ...]:
    """Those that live on beside a newer one, none of them beyond `ends`."""
    older = [
        replace(one, expires_at=ends if one.expires_at is None else min(one.expires_at, ends))
        for one in signers
        if _lives(one, now)
    ]
    return tuple(one for one in older if _lives(one, now))


def rotate(
    subscription: Subscription,
    secret: str,
    now: datetime,
    overlap_seconds: int = OVERLAP_SECONDS_DEFAULT,
    key: SigningKey | None = None,
) -> Subscription | None:
    """
    The subscription with a new secret in front, and a new key where it has one; older ones sign on for the overlap.

    None when ten live.
    """
    ends = seconds_after(now, overlap_seconds)
    older, older_keys = _ending(subscription.secrets, now, ends), _ending(subscription.signing_keys, now, ends)
    if len(older) >= SECRETS_MAX:
        return None
    return replace(
        subscription,
        secrets=(SigningSecret(secret, now, None), *older),
        signing_keys=((key,) if key else ()) + older_keys,
        updated_at=next_version(subscription.updated_at, now),
    )


def subscription_view(subscription: Subscription, secret: str | None = None) -> dict[str, Any]:
    """The subscription as the API shows it; `secret` only where it is shown on purpose."""
    shown = {
        "id": subscription.id,
        "object": "subscription",
        "url": subscription.url,
        "event_types": list(subscription.event_types),
        "filter": subscription.filter.to_json(),
        "description": subscription.description,
        "metadata": subscription.metadata,
        "headers": dict.fromkeys(subscription.headers, "…"),
        "payload": subscription.payload,
        "signatures": list(subscription.signatures),
        "public_keys": [_key_view(one) for one in subscription.signing_keys],
        "handshake": subscription.wants_handshake,
        "max_in_flight": subscription.max_in_flight,
        "requests_per_minute": subscription.requests_per_minute,
        "status": str(subscription.status),
        "disabled_reason": subscription.disabled_reason,
        "job": subscription.job_id,
        "failing_since": rfc3339(subscription.failing_since),
        "last_success_at": rfc3339(subscription.last_success_at),
        "created_at": rfc3339(subscription.created_at),
        "updated_at": rfc3339(subscription.updated_at),
    }
    return shown if secret is None else {**shown, "secret": secret}


def _key_view(key: SigningKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "public_key": key.public,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
    }
