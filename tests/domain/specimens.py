"""One of each noun with nothing special about it, for a test to change the one thing that it is about."""

from datetime import UTC, datetime, timedelta
from typing import Any

from relay.domain.credential import Credential, CredentialStatus
from relay.domain.delivery import Answer, Attempt, Delivery, DeliveryStatus
from relay.domain.event import Event, event_body
from relay.domain.job import Job, JobStatus
from relay.domain.subscription import JOB_EVENTS, Filter, SigningSecret, Subscription, SubscriptionStatus

NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
SECRET = "whsec_" + "QUJD" * 8


def later(seconds: float) -> datetime:
    """The moment so many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def a_job(**changes: Any) -> Job:
    """A job registered at NOW, pending, with a day to its deadline."""
    told: dict[str, Any] = {
        "id": "job_00000000000000000000000001",
        "tenant": "default",
        "provider": "speechify",
        "credential_id": "crd_00000000000000000000000001",
        "provider_job_id": "task-1",
        "params": {},
        "metadata": {},
        "status": JobStatus.PENDING,
        "provider_status": None,
        "created_at": NOW,
        "started_at": None,
        "completed_at": None,
        "deadline_at": later(86_400),
        "polls": 0,
        "result": None,
        "error": None,
        "tracking": "crd_00000000000000000000000001/task-1",
    }
    return Job(**{**told, **changes})


def a_subscription(**changes: Any) -> Subscription:
    """An active subscription to the endings of all jobs, with one secret."""
    told: dict[str, Any] = {
        "id": "sub_00000000000000000000000001",
        "tenant": "default",
        "url": "https://receiver.example/hook",
        "event_types": JOB_EVENTS,
        "filter": Filter(),
        "description": None,
        "metadata": {},
        "headers": {},
        "payload": "full",
        "max_in_flight": 16,
        "secrets": (SigningSecret(SECRET, NOW, None),),
        "status": SubscriptionStatus.ACTIVE,
        "disabled_reason": None,
        "job_id": None,
        "failing_since": None,
        "last_success_at": None,
        "hold_until": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Subscription(**{**told, **changes})


def a_delivery(**changes: Any) -> Delivery:
    """A delivery due at NOW for the first time, of a result whose links never die."""
    told: dict[str, Any] = {
        "id": "dlv_00000000000000000000000001",
        "tenant": "default",
        "event_id": "evt_00000000000000000000000001",
        "event_type": "job.completed",
        "job_id": "job_00000000000000000000000001",
        "subscription_id": "sub_00000000000000000000000001",
        "url": "https://receiver.example/hook",
        "status": DeliveryStatus.PENDING,
        "attempts_made": 0,
        "steps": 0,
        "has_quick_retried": False,
        "next_trigger": "schedule",
        "next_attempt_at": NOW,
        "expires_at": None,
        "created_at": NOW,
        "completed_at": None,
    }
    return Delivery(**{**told, **changes})


def an_attempt(answer: Answer, **changes: Any) -> Attempt:
    """The first attempt of that delivery, with that answer."""
    told: dict[str, Any] = {
        "id": "att_00000000000000000000000001",
        "tenant": "default",
        "delivery_id": "dlv_00000000000000000000000001",
        "number": 1,
        "trigger": "schedule",
        "started_at": NOW,
        "request_headers": {"webhook-id": "evt_00000000000000000000000001"},
        "answer": answer,
    }
    return Attempt(**{**told, **changes})


def a_credential(**changes: Any) -> Credential:
    """An active credential with one secret."""
    told: dict[str, Any] = {
        "id": "crd_00000000000000000000000001",
        "tenant": "default",
        "name": "main",
        "provider": "speechify",
        "secrets": {"api_key": "a secret that is never shown"},
        "params": {},
        "base_url": None,
        "max_requests_per_second": None,
        "max_concurrency": None,
        "status": CredentialStatus.ACTIVE,
        "status_reason": None,
        "throttled_until": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Credential(**{**told, **changes})


def an_event(data: dict[str, Any], **changes: Any) -> Event:
    """A `job.completed` of NOW with that data."""
    told: dict[str, Any] = {
        "id": "evt_00000000000000000000000001",
        "tenant": "default",
        "type": "job.completed",
        "job_id": "job_00000000000000000000000001",
        "ending_of": "job_00000000000000000000000001",
        "created_at": NOW,
    }
    told |= changes
    return Event(body=event_body(told["id"], told["type"], told["created_at"], data), **told)
