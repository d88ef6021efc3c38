"""The tenant's things in numbers, for a glance that needs no list."""

from collections.abc import Iterable, Mapping

import structlog
from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.delivery import DeliveryStatus
from relay.domain.errors import Unreachable
from relay.domain.job import JobStatus
from relay.web.calls import Call, answer
from relay.web.progress import Progress, progress

log = structlog.get_logger(__name__)


async def show(call: Call) -> Response:
    """Counts of the caller's tenant; what is overdue is the whole relay's, and tells of nobody's things."""
    store = call.relay.store
    jobs = await store.count_jobs(call.tenant)
    deliveries = await store.count_deliveries(call.tenant)
    providers = await store.count_jobs_by_provider(call.tenant)
    told = await _progress(call.relay)
    return answer(
        {
            "object": "stats",
            "jobs": _counted(JobStatus, jobs),
            "deliveries": _counted(DeliveryStatus, deliveries),
            "providers": [
                {"provider": name, "jobs": total, "pending": pending} for name, (total, pending) in providers.items()
            ],
            "oldest_overdue_poll_seconds": told and round(told.polls.oldest_seconds, 3),
            "oldest_overdue_delivery_seconds": told and round(told.deliveries.oldest_seconds, 3),
        }
    )


def _counted(statuses: Iterable[str], found: Mapping[str, int]) -> dict[str, int]:
    return {"total": sum(found.values()), **{str(status): found.get(status, 0) for status in statuses}}


async def _progress(relay: Relay) -> Progress | None:
    try:
        return await progress(relay)
    except Unreachable as error:  # the counts are the database's, and are good without Redis
        log.warning("overdue_not_known", reason=str(error))
        return None
