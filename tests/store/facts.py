"""Facts to write down: each builder gives one that is whole, and takes what shall be different."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from relay.domain.credential import Credential, CredentialStatus
from relay.domain.delivery import Answer, Attempt, Delivery, DeliveryStatus
from relay.domain.event import Event
from relay.domain.ids import Prefix, make_id
from relay.domain.job import Job, JobStatus
from relay.domain.key import Key, digest
from relay.domain.moments import to_ms
from relay.domain.subscription import Filter, SigningKey, SigningSecret, Subscription, SubscriptionStatus
from relay.store import Announcement, Ending, OpenCall, Record, Registration, Store

NOW = datetime(2026, 3, 4, 5, 6, 7, 891_000, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TENANT = "acme"

_serial = count(1)


def new_id(prefix: Prefix, at: datetime = NOW) -> str:
    """Ids that ascend in the order they are asked for, even within one millisecond."""
    return make_id(prefix, to_ms(at), next(_serial).to_bytes(10, "big"))


def key(**different: Any) -> Key:
    key_id = new_id("key")
    values = {"tenant": TENANT, "name": "ci", "scopes": ("read", "jobs:write"), "created_at": NOW, "last_used_at": None}
    return Key(**{"id": key_id, "digest": digest(key_id), **values, **different})


def credential(**different: Any) -> Credential:
    credential_id = new_id("crd")
    values: dict[str, Any] = {
        "id": credential_id,
        "tenant": TENANT,
        "name": f"name of {credential_id}",
        "provider": "camb",
        "secrets": {"api_key": "a secret – ключ"},
        "params": {"region": "eu"},
        "base_url": "https://api.example.com",
        "max_requests_per_second": 2.5,
        "max_concurrency": 4,
        "status": CredentialStatus.ACTIVE,
        "status_reason": None,
        "throttled_until": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Credential(**{**values, **different})


def signing_key() -> SigningKey:
    """To the store the two halves are texts."""
    number = next(_serial)
    return SigningKey(f"whsk_private {number}", f"whpk_public {number}", f"kid {number}", NOW, None)


def job(**different: Any) -> Job:
    job_id = new_id("job", different.get("created_at", NOW))
    values: dict[str, Any] = {
        "id": job_id,
        "tenant": TENANT,
        "provider": "camb",
        "credential_id": "crd_one",
        "provider_job_id": f"theirs of {job_id}",
        "params": {"voice": "42"},
        "metadata": {"order": "A-1", "zebra": 1, "aardvark": [1, {"deep": None}]},
        "status": JobStatus.PENDING,
        "provider_status": None,
        "created_at": NOW,
        "started_at": None,
        "completed_at": None,
        "deadline_at": NOW + 3600 * SECOND,
        "polls": 0,
        "result": None,
        "error": None,
        "warnings": (),
        "tracking": f"tracking of {job_id}",
    }
    return Job(**{**values, **different})


def ended(one: Job, **different: Any) -> Job:
    """The same job, completed."""
    values: dict[str, Any] = {
        "status": JobStatus.COMPLETED,
        "provider_status": "DONE",
        "started_at": NOW + SECOND,
        "completed_at": NOW + 60 * SECOND,
        "polls": 7,
        "result": {"files": [{"kind": "audio", "url": "https://cdn.example.com/a.mp3"}], "result_id": None, "raw": 1},
        "warnings": ("the provider said something new",),
    }
    return replace(one, **{**values, **different})


def subscription(**different: Any) -> Subscription:
    subscription_id = new_id("sub")
    values: dict[str, Any] = {
        "id": subscription_id,
        "tenant": TENANT,
        "url": "https://example.com/hook",
        "event_types": ("job.completed", "job.failed"),
        "filter": Filter(("camb",), (), {"order": "A-1"}),
        "description": "für das Lager",
        "metadata": {"team": "audio"},
        "headers": {"x-token": "another secret"},
        "payload": "full",
        "max_in_flight": 16,
        "secrets": (SigningSecret("whsec_new", NOW, None), SigningSecret("whsec_old", NOW, NOW + 60 * SECOND)),
        "status": SubscriptionStatus.ACTIVE,
        "disabled_reason": None,
        "job_id": None,
        "failing_since": None,
        "last_success_at": None,
        "hold_until": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Subscription(**{**values, **different})


def event(**different: Any) -> Event:
    event_id = new_id("evt")
    values: dict[str, Any] = {
        "id": event_id,
        "tenant": TENANT,
        "type": "job.completed",
        "body": f'{{"id":"{event_id}","data":{{"text":"grün 🎧"}}}}',
        "job_id": None,
        "ending_of": None,
        "created_at": NOW,
    }
    return Event(**{**values, **different})


def delivery(of: Event, **different: Any) -> Delivery:
    values: dict[str, Any] = {
        "id": new_id("dlv"),
        "tenant": of.tenant,
        "event_id": of.id,
        "event_type": of.type,
        "job_id": of.job_id,
        "subscription_id": new_id("sub"),
        "url": "https://example.com/hook",
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
    return Delivery(**{**values, **different})


def attempt(of: Delivery, **different: Any) -> Attempt:
    values: dict[str, Any] = {
        "id": new_id("att"),
        "tenant": of.tenant,
        "delivery_id": of.id,
        "number": of.attempts_made + 1,
        "trigger": of.next_trigger,
        "started_at": NOW,
        "request_headers": {"webhook-id": of.event_id},
        "answer": Answer(
            answer="server_error",
            blame="receiver",
            status_code=503,
            response_headers=(("set-cookie", "a"), ("set-cookie", "b")),
            response_body="<html>später</html>",
            is_truncated=True,
            duration_ms=123,
            timing={"dns_ms": None, "connect_ms": 3},
            retry_after_seconds=1.5,
            hint="it answers, but is not well",
        ),
    }
    return Attempt(**{**values, **different})


def announcement(of: Event | None = None, *subscriptions: str, **different: Any) -> Announcement:
    """The event with one delivery for each of the subscription ids; `different` goes to the deliveries."""
    told = of or event()
    return Announcement(told, tuple(delivery(told, subscription_id=one, **different) for one in subscriptions))


async def opened(store: Store, key: str = "k", at: datetime = NOW, tenant: str = TENANT) -> OpenCall:
    """A call that is ours to make."""
    call = await store.open_call(tenant, key, "print", new_id("req"), at)
    assert isinstance(call, OpenCall), call
    return call


def ending(one: Job, *subscriptions: str, **different: Any) -> Ending:
    """The job completed, and told to those subscriptions."""
    told = event(tenant=one.tenant, job_id=one.id, ending_of=one.id)
    return Ending(ended(one, **different), announcement(told, *subscriptions))


def registrations(*jobs: Job) -> list[Registration]:
    return [Registration(one) for one in jobs]


def record(before: Delivery, **after: Any) -> Record:
    """The next attempt of that delivery, and what it made of it."""
    values: dict[str, Any] = {
        "attempts_made": before.attempts_made + 1,
        "steps": before.steps + 1,
        "next_trigger": "schedule",
        "next_attempt_at": NOW + 30 * SECOND,
    }
    return Record(attempt(before), replace(before, **{**values, **after}), before.attempts_made)
