"""The tenant's things in numbers, for a glance that needs no list."""

import asyncio
from collections.abc import Iterable, Mapping

import structlog
from starlette.responses import Response

from relay.domain.delivery import DeliveryStatus
from relay.domain.errors import Unreachable
from relay.domain.job import JobStatus
from relay.schedule import Schedule
from relay.web.calls import Call, answer

log = structlog.get_logger(__name__)


async def show(call: Call) -> Response:
    """Counts of the caller's tenant; what is overdue is the whole relay's, and tells of nobody's things."""
    relay, store = call.relay, call.relay.store
    jobs = await store.count_jobs(call.tenant)
    deliveries = await store.count_deliveries(call.tenant)
    providers = await store.count_jobs_by_provider(call.tenant)
    polls_seconds, deliveries_seconds = await asyncio.gather(_overdue(relay.polls), _overdue(relay.deliveries))
    return answer(
        {
            "object": "stats",
            "jobs": _counted(JobStatus, jobs),
            "deliveries": _counted(DeliveryStatus, deliveries),
            "providers": [
                {"provider": name, "jobs": total, "pending": pending} for name, (total, pending) in providers.items()
            ],
            "oldest_overdue_poll_seconds": polls_seconds,
            "oldest_overdue_delivery_seconds": deliveries_seconds,
        }
    )


def _counted(statuses: Iterable[str], found: Mapping[str, int]) -> dict[str, int]:
    return {"total": sum(found.values()), **{str(status): found.get(status, 0) for status in statuses}}


async def _overdue(schedule: Schedule) -> float | None:
    try:
        _, oldest_seconds = await schedule.overdue()
    except Unreachable as error:  # the counts are the database's, and are good without Redis
        log.warning("overdue_not_known", reason=str(error))
        return None
    return round(oldest_seconds, 3)
