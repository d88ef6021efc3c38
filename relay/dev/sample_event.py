"""An event of each type as the relay would send it, for trying out a receiver."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from relay.clock import Clock
from relay.domain.event import compact, event_body, job_event_data, job_view
from relay.domain.job import Job, JobStatus
from relay.domain.moments import rfc3339, seconds_after
from relay.domain.observation import File, JobError, Result
from relay.domain.subscription import EVENT_TYPES, JOB_EVENTS
from relay.egress import Outgoing
from relay.webhooks.sender import ANSWER_BYTES_MAX, USER_AGENT
from relay.webhooks.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, signature_header

PROVIDER = "example"
PUBLIC_URL = "https://relay.example"
JOB_SECONDS = 12.0
DEADLINE_SECONDS = 86_400.0
LINK_SECONDS = 3600.0
CALL_SECONDS_MAX = 15.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where to send, and what it verifies with."""

    url: str
    secret: str = field(repr=False)


def sample_event(event_type: str, clock: Clock) -> tuple[str, bytes]:
    """The id and the body of a made-up event; KeyError for a type that there is not."""
    if event_type not in EVENT_TYPES:
        raise KeyError(event_type)
    now, event_id = clock.now(), clock.new_id("evt")
    data = _job_data(event_type, clock) if event_type in JOB_EVENTS else _operational_data(clock)[event_type]
    return event_id, event_body(event_id, event_type, now, data).encode()


def _job_data(event_type: str, clock: Clock) -> dict[str, Any]:
    now = clock.now()
    status = JobStatus(event_type.removeprefix("job."))
    link = File("audio", "https://files.example/hello.mp3", seconds_after(now, LINK_SECONDS), "audio/mpeg", 48_213, 3.2)
    errors = {
        JobStatus.FAILED: JobError("content_rejected", "the text was refused", "TEXT_REFUSED"),
        JobStatus.EXPIRED: JobError("expired", f"no terminal answer before the deadline at {rfc3339(now)}"),
    }
    error = errors.get(status)
    job = Job(
        id=clock.new_id("job"),
        tenant="default",
        provider=PROVIDER,
        credential_id=clock.new_id("crd"),
        provider_job_id="3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        params={},
        metadata={"order": "42"},
        status=status,
        provider_status=None if status is JobStatus.EXPIRED else str(status).upper(),
        created_at=seconds_after(now, -JOB_SECONDS),
        started_at=seconds_after(now, -JOB_SECONDS),
        completed_at=now,
        deadline_at=seconds_after(now, DEADLINE_SECONDS - JOB_SECONDS),
        polls=4,
        result=Result((link,), "r-1", {"state": "done"}).to_json() if status is JobStatus.COMPLETED else None,
        error=error.to_json() if error else None,
    )
    result_url = f"{PUBLIC_URL}/r/sample" if status is JobStatus.COMPLETED else None
    return job_event_data(job_view(job, PUBLIC_URL, result_url))


def _operational_data(clock: Clock) -> dict[str, dict[str, Any]]:
    now = clock.now()
    subscription = clock.new_id("sub")
    credential = {"credential": clock.new_id("crd"), "name": "main", "provider": PROVIDER, "at": rfc3339(now)}
    return {
        "webhook.test": {"subscription": subscription, "message": "A test event: nothing happened.", "probe": None},
        "credential.paused": {
            **credential,
            "status": "auth_failed",
            "reason": "the key was refused",
            "polling": "paused",
        },
        "credential.resumed": {
            **credential,
            "status": "active",
            "reason": "changed by its owner",
            "polling": "continues",
        },
        "subscription.disabled": {
            "subscription": subscription,
            "url": "https://receiver.example/webhooks",
            "reason": "the receiver answered 410 Gone",
        },
        "delivery.exhausted": {
            "id": clock.new_id("dlv"),
            "object": "delivery",
            "event": clock.new_id("evt"),
            "event_type": "job.completed",
            "job": clock.new_id("job"),
            "subscription": subscription,
            "url": "https://receiver.example/webhooks",
            "status": "exhausted",
            "attempts_made": 13,
            "next_attempt_at": None,
            "expires_at": None,
            "created_at": rfc3339(seconds_after(now, -DEADLINE_SECONDS)),
            "completed_at": rfc3339(now),
        },
    }


def signed(receiver: Receiver, event_id: str, body: bytes, now: datetime) -> Outgoing:
    """The call as a delivery would make it."""
    timestamp = int(now.timestamp())
    headers = {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        ID_HEADER: event_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: signature_header([receiver.secret], event_id, timestamp, body),
    }
    return Outgoing(
        method="POST",
        url=receiver.url,
        headers=headers,
        body=body,
        timeout_seconds=CALL_SECONDS_MAX,
        body_bytes_max=ANSWER_BYTES_MAX,
    )


def event_bytes(view: Mapping[str, Any]) -> bytes:
    """The body of an event out of how the API shows it: the same values in the same order, so the same bytes."""
    return compact({name: view[name] for name in ("id", "type", "timestamp", "data")}).encode()
