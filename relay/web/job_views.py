"""A job as it is shown: what the database knows, with when it is due and what was seen, which Redis knows."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from relay.bootstrap import Relay
from relay.domain.credential import Credential, CredentialStatus
from relay.domain.delivery import DeliveryStatus
from relay.domain.errors import Unreachable
from relay.domain.event import job_view
from relay.domain.job import Job, JobStatus, Memo, seen
from relay.domain.moments import seconds_after

REDIS_SECONDS_MAX = 1.0  # a job is shown without what Redis knows rather than late

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Watch:
    """What the schedule holds of a pending job."""

    next_poll_at: datetime | None
    memo: Memo


async def job_views(relay: Relay, jobs: Sequence[Job], *, with_deliveries: bool = False) -> list[dict[str, Any]]:
    """The jobs as the API shows them; `deliveries` is the summary by status, null unless asked for."""
    pending = [job for job in jobs if job.status is JobStatus.PENDING]
    watches = await watches_of(relay, pending)
    credentials = await relay.store.load_credentials({job.credential_id for job in pending}) if pending else {}
    counts = await relay.store.delivery_counts([job.id for job in jobs]) if with_deliveries else {}
    return [
        _view(
            relay,
            job,
            watches.get(job.id),
            credentials.get(job.credential_id) if job.status is JobStatus.PENDING else None,
            _summary(counts.get(job.id, {})) if with_deliveries else None,
        )
        for job in jobs
    ]


async def watches_of(relay: Relay, pending: Sequence[Job]) -> dict[str, Watch]:
    """By job id; empty when Redis does not answer."""
    by_credential: dict[str, list[str]] = {}
    for job in pending:
        by_credential.setdefault(job.credential_id, []).append(job.id)
    now = relay.clock.now()
    watches: dict[str, Watch] = {}
    try:
        async with asyncio.timeout(REDIS_SECONDS_MAX):
            for credential_id, ids in by_credential.items():
                # Where many jobs are asked for at once, that comes before the look of their own.
                *dues, round_ms = await relay.polls.due_in_ms(credential_id, [*ids, credential_id])
                memos = await relay.polls.memos(credential_id, ids)
                for job_id, due_ms, memo in zip(ids, dues, memos, strict=True):
                    soonest_ms = due_ms if due_ms is None or round_ms is None else min(due_ms, round_ms)
                    due_at = None if soonest_ms is None else seconds_after(now, soonest_ms / 1000)
                    watches[job_id] = Watch(due_at, Memo.parse(memo))
    except (Unreachable, TimeoutError) as error:
        log.warning("jobs_shown_without_schedule", reason=str(error))
    return watches


def _view(
    relay: Relay, job: Job, watch: Watch | None, credential: Credential | None, deliveries: Mapping[str, int] | None
) -> dict[str, Any]:
    return job_view(
        seen(job, watch.memo) if watch else job,
        relay.settings.public_url,
        relay.announcer.result_url(job),
        next_poll_at=watch.next_poll_at if watch else None,
        paused_reason=_paused_reason(credential),
        deliveries=deliveries,
    )


def _paused_reason(credential: Credential | None) -> str | None:
    if credential is None or credential.status is CredentialStatus.ACTIVE:
        return None
    return f"{credential.status}: {credential.status_reason}" if credential.status_reason else str(credential.status)


def _summary(counts: Mapping[str, int]) -> dict[str, int]:
    told: Counter[str] = Counter({str(status): count for status, count in counts.items()})
    return {**{str(status): told[str(status)] for status in DeliveryStatus}, "total": told.total()}
