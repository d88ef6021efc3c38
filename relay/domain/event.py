"""What happened, said once and in bytes that never change."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay.domain.job import Job
from relay.domain.moments import rfc3339
from relay.domain.subscription import JOB_EVENTS, PayloadForm

THIN_FIELDS = ("id", "status", "provider", "provider_job_id", "metadata", "result_url", "url")
NOT_IN_EVENTS = ("deliveries", "next_poll_at", "paused_reason")
CLOUDEVENTS_TYPE = "application/cloudevents+json"


@dataclass(frozen=True, slots=True)
class Event:
    """
    `body` is the full form as it was committed; `ending_of` is the job whose one ending this is. `trace_id` is the W3C
    trace that asked for it; None: it begins one of its own.
    """

    id: str
    tenant: str
    type: str
    body: str
    job_id: str | None
    ending_of: str | None
    created_at: datetime
    trace_id: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The `data` of the body."""
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data


def compact(value: Any) -> str:
    """Compact JSON, UTF-8 as it is; the same value always gives the same text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def event_body(event_id: str, event_type: str, now: datetime, data: Mapping[str, Any]) -> str:
    """The full form, `{id, type, timestamp, data}`."""
    return compact({"id": event_id, "type": event_type, "timestamp": rfc3339(now), "data": data})


def job_view(
    job: Job,
    public_url: str,
    result_url: str | None,
    *,
    next_poll_at: datetime | None = None,
    paused_reason: str | None = None,
    deliveries: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The job as the API shows it; nulls are written out, so that the shape never changes."""
    return {
        "id": job.id,
        "object": "job",
        "provider": job.provider,
        "credential": job.credential_id,
        "provider_job_id": job.provider_job_id,
        "params": job.params,
        "status": str(job.status),
        "provider_status": job.provider_status,
        "metadata": job.metadata,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "completed_at": rfc3339(job.completed_at),
        "deadline_at": rfc3339(job.deadline_at),
        "next_poll_at": rfc3339(next_poll_at),
        "paused_reason": paused_reason,
        "polls": job.polls,
        "result": job.result,
        "error": job.error,
        "result_url": result_url,
        "url": f"{public_url}/v1/jobs/{job.id}",
        "warnings": list(job.warnings),
        "deliveries": None if deliveries is None else dict(deliveries),
    }


def job_event_data(view: Mapping[str, Any]) -> dict[str, Any]:
    """What of a job's view goes into its event."""
    return {name: value for name, value in view.items() if name not in NOT_IN_EVENTS}


def payload(event: Event, form: PayloadForm, source: str) -> tuple[bytes, str]:
    """
    The bytes to send and their content type, for one subscription's form.

    Derived from the committed body alone, so that every attempt sends the same bytes. `source` is the
    relay's public URL (CloudEvents 1.0, structured mode). The thin form is one of jobs; other events are small, and
    nobody could ask for the rest of them.
    """
    if form == "full" or (form == "thin" and event.type not in JOB_EVENTS):
        return event.body.encode(), "application/json"
    told = json.loads(event.body)
    if form == "thin":
        data = told["data"]
        told["data"] = {name: data[name] for name in THIN_FIELDS if name in data}
        return compact(told).encode(), "application/json"
    envelope = {
        "specversion": "1.0",
        "id": told["id"],
        "source": source,
        "type": told["type"],
        "time": told["timestamp"],
        "datacontenttype": "application/json",
        **({"subject": event.job_id} if event.job_id else {}),
        "data": told["data"],
    }
    return compact(envelope).encode(), CLOUDEVENTS_TYPE


def event_view(event: Event) -> dict[str, Any]:
    """The event as the API shows it: the full form and what it is about."""
    told = json.loads(event.body)
    return {"object": "event", "job": event.job_id, **told}
