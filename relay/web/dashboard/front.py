"""The first page: what there is, what is wrong, and what came last."""

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.subscription import JOB_EVENTS
from relay.providers.catalog import Catalog
from relay.providers.definition import Definition
from relay.web import credentials, deliveries, events, stats, subscriptions
from relay.web.dashboard.visit import Visit, shown
from relay.web.schemas import PAGE_LIMIT_MAX, CredentialsQuery, DeliveriesQuery, EventsQuery, SubscriptionsQuery

LATEST = 10


async def show(request: Request) -> Response:
    """The overview, or the way in for who has not signed in; 404 where the relay is run without a dashboard."""
    relay: Relay = request.app.state.relay
    if not relay.settings.relay_dashboard:
        raise HTTPException(404)
    return await _overview(request)


async def _show(visit: Visit) -> Response:
    counts = await visit.asked(stats.show)
    credentials_ = await visit.asked(credentials.index, CredentialsQuery(limit=PAGE_LIMIT_MAX))
    subscriptions_ = await visit.asked(subscriptions.index, SubscriptionsQuery(limit=PAGE_LIMIT_MAX))
    troubled = [one for one in subscriptions_["data"] if one["status"] != "active" or one["failing_since"]]
    return visit.page(
        "overview.html",
        stats=counts,
        late_seconds=visit.relay.settings.relay_ready_overdue_seconds,
        credentials=[one for one in credentials_["data"] if one["status"] != "active"],
        subscriptions=troubled,
        endings=await _endings(visit),
        failing=await _failing(visit),
        first=_first(visit, credentials_["data"], subscriptions_["data"]) if not counts["jobs"]["total"] else None,
    )


_overview = shown(_show)


async def _endings(visit: Visit) -> list[dict[str, Any]]:
    """The latest jobs that ended and were told of, as their events have them."""
    found: list[dict[str, Any]] = []
    for name in JOB_EVENTS:
        found += (await visit.asked(events.index, EventsQuery(type=name, limit=LATEST)))["data"]
    return sorted(found, key=lambda event: event["id"], reverse=True)[:LATEST]


async def _failing(visit: Visit) -> list[dict[str, Any]]:
    """The latest deliveries that were given up, or were tried and have not succeeded yet."""
    given_up = (await visit.asked(deliveries.index, DeliveriesQuery(status="exhausted", limit=LATEST)))["data"]
    pending = (await visit.asked(deliveries.index, DeliveriesQuery(status="pending", limit=PAGE_LIMIT_MAX)))["data"]
    found = given_up + [one for one in pending if one["attempts_made"]]
    return sorted(found, key=lambda delivery: delivery["id"], reverse=True)[:LATEST]


def _first(visit: Visit, credentials_: list[dict[str, Any]], subscriptions_: list[dict[str, Any]]) -> dict[str, Any]:
    """The bodies of the first calls, those that have been made already left out, and where to send them."""
    definition = visit.relay.catalog.get(credentials_[0]["provider"]) if credentials_ else None
    definition = definition or _simplest(visit.relay.catalog)
    secrets = dict.fromkeys(definition.auth[0].secrets, "…")
    credential = {"name": "main", "provider": definition.name, "secrets": secrets}
    return {
        "url": visit.relay.settings.public_url,
        "credential": None if credentials_ else json.dumps(credential, ensure_ascii=False),
        "has_subscription": bool(subscriptions_),
        "job": json.dumps({"provider": definition.name, "provider_job_id": "…"}, ensure_ascii=False),
    }


def _simplest(catalog: Catalog) -> Definition:
    """A provider that asks for little: an example does not begin with the exceptions."""
    return min(catalog, key=lambda one: (not one.is_demo, len(one.params), len(one.auth[0].secrets), one.name))
