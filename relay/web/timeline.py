"""A job's life in one list: registered, looked at, ended, told of, and each attempt to tell."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.delivery import Attempt, Delivery, DeliveryStatus
from relay.domain.event import Event
from relay.domain.job import Job, JobStatus, seen
from relay.domain.moments import from_ms, rfc3339
from relay.web.calls import Call, answer
from relay.web.job_views import Watch, watches_of
from relay.web.problems import not_found

EVENTS_MAX = 100
DELIVERIES_MAX = 200

Entry = tuple[datetime, dict[str, Any]]


async def show(call: Call) -> Response:
    """The timeline, oldest first."""
    relay = call.relay
    job = await relay.store.find_job(call.tenant, call.id("job"))
    if job is None:
        raise not_found()
    watch = (await watches_of(relay, [job])).get(job.id) if job.status is JobStatus.PENDING else None
    entries = _of_job(seen(job, watch.memo) if watch else job, watch)
    for event in await relay.store.list_events(call.tenant, job=job.id, limit=EVENTS_MAX):
        entries.append(_of_event(event))
    for delivery in await relay.store.list_deliveries(call.tenant, job=job.id, limit=DELIVERIES_MAX):
        entries += await _of_delivery(relay, delivery)
    entries.sort(key=lambda entry: entry[0])
    data = [{"at": rfc3339(at), **told} for at, told in entries]
    return answer({"object": "timeline", "job": job.id, "data": data})


def _of_job(job: Job, watch: Watch | None) -> list[Entry]:
    told = {"provider": job.provider, "provider_job_id": job.provider_job_id, "deadline_at": rfc3339(job.deadline_at)}
    entries: list[Entry] = [(job.created_at, {"type": "registered", **told})]
    if job.polls and job.started_at:
        entries.append((job.started_at, _polls(job, job.started_at, watch)))
    if job.completed_at:
        ending = {"status": str(job.status), "provider_status": job.provider_status, "error": job.error}
        entries.append((job.completed_at, {"type": "ended", **ending}))
    return entries


def _polls(job: Job, first_at: datetime, watch: Watch | None) -> dict[str, Any]:
    last_ms = watch.memo.last_looked_ms if watch else None
    last_at = from_ms(last_ms) if last_ms else job.completed_at or first_at
    gaps = job.polls - 1
    mean = round((last_at - first_at).total_seconds() / gaps, 3) if gaps > 0 else None
    return {
        "type": "polls",
        "count": job.polls,
        "first_at": rfc3339(first_at),
        "last_at": rfc3339(last_at),
        "next_at": rfc3339(watch.next_poll_at) if watch else None,
        "gaps": {"count": max(gaps, 0), "mean_seconds": mean},
        "provider_status": job.provider_status,
    }


def _of_event(event: Event) -> Entry:
    return event.created_at, {"type": "event", "event": event.id, "event_type": event.type}


async def _of_delivery(relay: Relay, delivery: Delivery) -> Sequence[Entry]:
    attempts = await relay.store.list_attempts(delivery.tenant, delivery.id)
    entries = [(attempt.started_at, _attempt(delivery, attempt)) for attempt in attempts]
    if delivery.status is DeliveryStatus.PENDING and delivery.next_attempt_at is not None:
        told = {"type": "next_attempt", "delivery": delivery.id, "subscription": delivery.subscription_id}
        entries.append((delivery.next_attempt_at, told))
    return entries


def _attempt(delivery: Delivery, attempt: Attempt) -> dict[str, Any]:
    return {
        "type": "attempt",
        "attempt": attempt.id,
        "number": attempt.number,
        "delivery": delivery.id,
        "subscription": delivery.subscription_id,
        "event": delivery.event_id,
        "trigger": attempt.trigger,
        "answer": attempt.answer.answer,
        "status_code": attempt.answer.status_code,
        "duration_ms": attempt.answer.duration_ms,
    }
