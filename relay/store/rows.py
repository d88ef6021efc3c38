"""How facts become rows and rows become facts again, so that no verb has to know both."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Row

from relay.domain.credential import Credential, CredentialStatus
from relay.domain.delivery import Answer, Attempt, Delivery, DeliveryStatus
from relay.domain.errors import BadSettings
from relay.domain.event import Event
from relay.domain.job import Job, JobStatus
from relay.domain.key import Key
from relay.domain.moments import from_ms, to_ms
from relay.domain.subscription import Filter, SigningKey, SigningSecret, Subscription, SubscriptionStatus
from relay.store.cipher import Cipher
from relay.store.tables import storable

AnyRow = Row[Any]
Values = dict[str, Any]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event and the deliveries that were decided for it; written together or not at all."""

    event: Event
    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True, slots=True)
class Registration:
    """A job to write down, and the one-off subscription its `callback` asks for (`job_id` set to the job's)."""

    job: Job
    callback: Subscription | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """
    A job as it ended and what is to be told of it.

    `callbacks`, when given, are the ids of the job's one-off subscriptions that the announcement was decided on:
    an ending decided before another one was added loses, so that nobody is left without a call.
    """

    job: Job
    announcement: Announcement | None = None
    callbacks: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """
    One attempt that was made, and the delivery after it; `expected_attempts` is `attempts_made` before it.

    `announcement` is written only when the record takes effect.
    """

    attempt: Attempt
    delivery: Delivery
    expected_attempts: int
    announcement: Announcement | None = None


@dataclass(frozen=True, slots=True)
class Summons:
    """A delivery that was asked for by hand; `is_new` is False when it had been and the attempt is still to come."""

    delivery: Delivery
    is_new: bool


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one attempt needs to know beside its subscription."""

    delivery: Delivery
    event: Event


class PendingJob(NamedTuple):
    """What the sweep needs to put a job back on the schedule."""

    id: str
    credential_id: str
    created_at: datetime


class PendingDelivery(NamedTuple):
    """What the sweep needs to put a delivery back on the schedule."""

    id: str
    subscription_id: str
    next_attempt_at: datetime | None
    expires_at: datetime | None


class BusyCredential(NamedTuple):
    """A credential with pending jobs, and the limits to put back after Redis forgot them."""

    id: str
    tenant: str
    provider: str
    max_requests_per_second: float | None
    max_concurrency: int | None
    status: CredentialStatus
    throttled_until: datetime | None
    updated_at: datetime


class BusySubscription(NamedTuple):
    """A subscription with pending deliveries, and the limits to put back after Redis forgot them."""

    id: str
    tenant: str
    max_in_flight: int
    status: SubscriptionStatus
    hold_until: datetime | None
    updated_at: datetime
    requests_per_minute: int | None = None


class Vault:
    """
    Rows with secrets in them, sealed and opened.

    With `is_lenient` a row whose secrets no key opens comes back without them and is logged: one such row must
    not stop the work on all others. Otherwise it raises BadSettings.
    """

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    def seal(self, value: Any) -> str:
        return self._cipher.encrypt(json.dumps(value, separators=(",", ":")))

    def unseal(self, sealed: str) -> Any:
        return json.loads(self._cipher.decrypt(sealed))

    def reseal(self, sealed: str) -> str:
        return self._cipher.rotate(sealed)

    def credential_row(self, credential: Credential) -> Values:
        return {
            "id": credential.id,
            "tenant": credential.tenant,
            "name": credential.name,
            "provider": credential.provider,
            "secrets": self.seal(credential.secrets),
            "params": credential.params,
            "base_url": credential.base_url,
            "max_requests_per_second": credential.max_requests_per_second,
            "max_concurrency": credential.max_concurrency,
            "status": str(credential.status),
            "status_reason": credential.status_reason,
            "throttled_until": credential.throttled_until,
            "created_at": credential.created_at,
            "updated_at": credential.updated_at,
        }

    def credential(self, row: AnyRow, *, is_lenient: bool = False) -> Credential:
        return Credential(
            id=row.id,
            tenant=row.tenant,
            name=row.name,
            provider=row.provider,
            secrets=self._opened(row, row.secrets, {}, is_lenient),
            params=row.params,
            base_url=row.base_url,
            max_requests_per_second=row.max_requests_per_second,
            max_concurrency=row.max_concurrency,
            status=CredentialStatus(row.status),
            status_reason=row.status_reason,
            throttled_until=row.throttled_until,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def subscription_row(self, subscription: Subscription) -> Values:
        return {
            "id": subscription.id,
            "tenant": subscription.tenant,
            "url": subscription.url,
            "event_types": subscription.event_types,
            "filter": subscription.filter.to_json(),
            "description": subscription.description,
            "metadata": subscription.metadata,
            "headers": self.seal(subscription.headers),
            "payload": subscription.payload,
            "max_in_flight": subscription.max_in_flight,
            "secrets": self.seal([_signing_secret_values(one) for one in subscription.secrets]),
            **self._key_values(subscription.signing_keys),
            "wants_handshake": subscription.wants_handshake,
            "requests_per_minute": subscription.requests_per_minute,
            "status": str(subscription.status),
            "disabled_reason": subscription.disabled_reason,
            "job_id": subscription.job_id,
            "failing_since": subscription.failing_since,
            "last_success_at": subscription.last_success_at,
            "hold_until": subscription.hold_until,
            "created_at": subscription.created_at,
            "updated_at": subscription.updated_at,
        }

    def subscription(self, row: AnyRow, *, is_lenient: bool = False) -> Subscription:
        secrets = self._opened(row, row.secrets, [], is_lenient)
        return Subscription(
            id=row.id,
            tenant=row.tenant,
            url=row.url,
            event_types=tuple(row.event_types),
            filter=Filter.parse(row.filter),
            description=row.description,
            metadata=row.metadata,
            headers=self._opened(row, row.headers, {}, is_lenient),
            payload=row.payload,
            max_in_flight=row.max_in_flight,
            secrets=tuple(_signing_secret(one) for one in secrets),
            signing_keys=self._signing_keys(row, is_lenient),
            wants_handshake=row.wants_handshake,
            requests_per_minute=row.requests_per_minute,
            status=SubscriptionStatus(row.status),
            disabled_reason=row.disabled_reason,
            job_id=row.job_id,
            failing_since=row.failing_since,
            last_success_at=row.last_success_at,
            hold_until=row.hold_until,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def _key_values(self, keys: tuple[SigningKey, ...]) -> Values:
        public = [[one.public, one.kid, *_life(one.created_at, one.expires_at)] for one in keys]
        private = [one.private for one in keys]
        return {"signing_keys": self.seal(private) if keys else None, "public_keys": public or None}

    def _signing_keys(self, row: AnyRow, is_lenient: bool) -> tuple[SigningKey, ...]:
        told = row.public_keys or []
        private = self._opened(row, row.signing_keys, [""] * len(told), is_lenient) if told else []
        return tuple(
            SigningKey(secret, public, kid, from_ms(created_ms), None if expires_ms is None else from_ms(expires_ms))
            for secret, (public, kid, created_ms, expires_ms) in zip(private, told, strict=True)
        )

    def _opened(self, row: AnyRow, sealed: str, nothing: Any, is_lenient: bool) -> Any:
        try:
            return self.unseal(sealed)
        except BadSettings as error:
            if not is_lenient:
                raise
            log.error("secrets_not_opened", id=row.id, reason=str(error))  # noqa: TRY400  a traceback says no more
            return nothing


def _signing_secret_values(one: SigningSecret) -> list[Any]:
    return [one.secret, *_life(one.created_at, one.expires_at)]


def _life(begins: datetime, ends: datetime | None) -> list[int | None]:
    return [to_ms(begins), None if ends is None else to_ms(ends)]


def _signing_secret(told: list[Any]) -> SigningSecret:
    secret, created_ms, expires_ms = told
    return SigningSecret(secret, from_ms(created_ms), None if expires_ms is None else from_ms(expires_ms))


def labels_of(metadata: Mapping[str, Any]) -> dict[str, str] | None:
    """The metadata's scalars as text, which is what filters compare with; None when there are none."""
    labels = {storable(key): label(value) for key, value in metadata.items() if not isinstance(value, dict | list)}
    return labels or None


def label(value: Any) -> str:
    """A string as it is, any other scalar as JSON writes it."""
    return storable(value if isinstance(value, str) else json.dumps(value))


def key_row(key: Key) -> Values:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "scopes": key.scopes,
        "digest": key.digest,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
    }


def key_of(row: AnyRow) -> Key:
    return Key(row.id, row.tenant, row.name, tuple(row.scopes), row.digest, row.created_at, row.last_used_at)


def job_row(job: Job) -> Values:
    return {
        "id": job.id,
        "tenant": job.tenant,
        "provider": job.provider,
        "credential_id": job.credential_id,
        "provider_job_id": job.provider_job_id,
        "submission": job.submission,
        "result_fetched_at": job.result_fetched_at,
        "link_revoked_at": job.link_revoked_at,
        "trace_id": job.trace_id,
        "params": job.params,
        "metadata": job.metadata,
        "labels": labels_of(job.metadata),
        "created_at": job.created_at,
        "deadline_at": job.deadline_at,
        **ending_values(job),
    }


def ending_values(job: Job) -> Values:
    """The columns that an ending may change."""
    return {
        "status": str(job.status),
        "provider_status": job.provider_status,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "polls": job.polls,
        "result": job.result,
        "error": job.error,
        "warnings": job.warnings,
        "tracking": job.tracking,
    }


def job_of(row: AnyRow) -> Job:
    return Job(
        id=row.id,
        tenant=row.tenant,
        provider=row.provider,
        credential_id=row.credential_id,
        provider_job_id=row.provider_job_id,
        params=row.params,
        metadata=row.metadata,
        status=JobStatus(row.status),
        provider_status=row.provider_status,
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        deadline_at=row.deadline_at,
        polls=row.polls,
        result=row.result,
        error=row.error,
        warnings=tuple(row.warnings),
        tracking=row.tracking,
        submission=row.submission,
        result_fetched_at=row.result_fetched_at,
        link_revoked_at=row.link_revoked_at,
        trace_id=row.trace_id,
    )


def event_row(event: Event) -> Values:
    return {
        "id": event.id,
        "tenant": event.tenant,
        "type": event.type,
        "body": event.body,
        "job_id": event.job_id,
        "ending_of": event.ending_of,
        "created_at": event.created_at,
        "trace_id": event.trace_id,
    }


def event_of(row: AnyRow, prefix: str = "") -> Event:
    """The event in the row's columns of those names, each with `prefix` before it."""
    of = row._mapping  # noqa: SLF001  public, whatever its name says
    return Event(
        id=of[prefix + "id"],
        tenant=of[prefix + "tenant"],
        type=of[prefix + "type"],
        body=of[prefix + "body"],
        job_id=of[prefix + "job_id"],
        ending_of=of[prefix + "ending_of"],
        created_at=of[prefix + "created_at"],
        trace_id=of[prefix + "trace_id"],
    )


def delivery_row(delivery: Delivery) -> Values:
    return {
        "id": delivery.id,
        "tenant": delivery.tenant,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "job_id": delivery.job_id,
        "subscription_id": delivery.subscription_id,
        "expires_at": delivery.expires_at,
        "created_at": delivery.created_at,
        **progress_values(delivery),
    }


def progress_values(delivery: Delivery) -> Values:
    """The columns that an attempt may change."""
    return {
        "status": str(delivery.status),
        "attempts_made": delivery.attempts_made,
        "steps": delivery.steps,
        "has_quick_retried": delivery.has_quick_retried,
        "next_trigger": delivery.next_trigger,
        "next_attempt_at": delivery.next_attempt_at,
        "completed_at": delivery.completed_at,
        "url": delivery.url,
    }


def delivery_of(row: AnyRow) -> Delivery:
    return Delivery(
        id=row.id,
        tenant=row.tenant,
        event_id=row.event_id,
        event_type=row.event_type,
        job_id=row.job_id,
        subscription_id=row.subscription_id,
        url=row.url,
        status=DeliveryStatus(row.status),
        attempts_made=row.attempts_made,
        steps=row.steps,
        has_quick_retried=row.has_quick_retried,
        next_trigger=row.next_trigger,
        next_attempt_at=row.next_attempt_at,
        expires_at=row.expires_at,
        created_at=row.created_at,
        completed_at=row.completed_at,
    )


def attempt_row(attempt: Attempt) -> Values:
    answer = attempt.answer
    return {
        "id": attempt.id,
        "tenant": attempt.tenant,
        "delivery_id": attempt.delivery_id,
        "number": attempt.number,
        "trigger": attempt.trigger,
        "started_at": attempt.started_at,
        "request_headers": attempt.request_headers,
        "answer": answer.answer,
        "blame": answer.blame,
        "status_code": answer.status_code,
        "response_headers": answer.response_headers,
        "response_body": answer.response_body,
        "is_truncated": answer.is_truncated,
        "duration_ms": answer.duration_ms,
        "timing": answer.timing,
        "retry_after_seconds": answer.retry_after_seconds,
        "hint": answer.hint,
    }


def attempt_of(row: AnyRow) -> Attempt:
    return Attempt(
        id=row.id,
        tenant=row.tenant,
        delivery_id=row.delivery_id,
        number=row.number,
        trigger=row.trigger,
        started_at=row.started_at,
        request_headers=row.request_headers,
        answer=Answer(
            answer=row.answer,
            blame=row.blame,
            status_code=row.status_code,
            response_headers=tuple((name, value) for name, value in row.response_headers),
            response_body=row.response_body,
            is_truncated=row.is_truncated,
            duration_ms=row.duration_ms,
            timing=row.timing,
            retry_after_seconds=row.retry_after_seconds,
            hint=row.hint,
        ),
    )
