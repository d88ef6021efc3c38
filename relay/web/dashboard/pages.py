"""The lists, and what stands behind each of their lines."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from relay.domain.credential import CredentialStatus
from relay.domain.delivery import DeliveryStatus
from relay.domain.ids import Prefix, is_id
from relay.domain.job import JobStatus
from relay.domain.subscription import SubscriptionStatus
from relay.web import credentials, deliveries, jobs, subscriptions, timeline
from relay.web.checks import METADATA_PREFIX
from relay.web.dashboard.actions import scope_of
from relay.web.dashboard.visit import Visit
from relay.web.problems import Problem
from relay.web.schemas import (
    CredentialsQuery,
    DeliveriesQuery,
    JobQuery,
    JobsQuery,
    PageQuery,
    ProviderJobId,
    SubscriptionsQuery,
)

BESIDE_MAX = 20  # deliveries on the page of what they belong to
SOUGHT = {"job": "jobs", "dlv": "deliveries", "sub": "subscriptions"}


class SoughtJobs(JobsQuery):
    """Jobs by the API's filters, or by `q`: a provider's id of a job, or one of the relay's own ids."""

    q: ProviderJobId | None = None


async def list_jobs(visit: Visit) -> Response:
    """A page of jobs; for an id of the relay's own, a redirect to what it names."""
    query = visit.query(SoughtJobs)
    sought = (query.q or "").strip()
    if found := _named(sought):
        return RedirectResponse(found, 303)
    told = query.model_dump(exclude={"q"}) | ({"provider_job_id": sought} if sought else {})
    listed = await visit.asked(jobs.index, JobsQuery(**told))
    return visit.page(
        "jobs.html",
        jobs=listed["data"],
        query=query,
        statuses=[str(status) for status in JobStatus],
        providers=sorted(visit.relay.catalog.names()),
        **_beside(query, listed),
    )


async def show_job(visit: Visit) -> Response:
    """One job, its life and its deliveries."""
    job = await visit.asked(jobs.show, JobQuery())
    life = await visit.asked(timeline.show)
    sent = await visit.asked(deliveries.index, DeliveriesQuery(job=job["id"], limit=BESIDE_MAX))
    link = job["result_url"] and job["result_url"].removeprefix(visit.relay.settings.public_url)
    return visit.page(
        "job.html",
        job=job,
        result_link=link,
        timeline=life["data"],
        deliveries=sent["data"],
        has_more=sent["next_cursor"] is not None,
        may_refresh=visit.key.may(scope_of("refresh")) and job["status"] == JobStatus.PENDING,
    )


async def list_deliveries(visit: Visit) -> Response:
    """A page of deliveries."""
    query = visit.query(DeliveriesQuery)
    listed = await visit.asked(deliveries.index, query)
    return visit.page(
        "deliveries.html",
        deliveries=listed["data"],
        query=query,
        statuses=[str(status) for status in DeliveryStatus],
        **_beside(query, listed),
    )


async def show_delivery(visit: Visit) -> Response:
    """One delivery with every attempt, the latest first."""
    delivery = await visit.asked(deliveries.show)
    return visit.page(
        "delivery.html",
        delivery=delivery,
        attempts=delivery["attempts"][::-1],
        may_redeliver=visit.key.may(scope_of("redelivery")) and delivery["status"] != DeliveryStatus.CANCELLED,
    )


async def list_subscriptions(visit: Visit) -> Response:
    """A page of subscriptions."""
    query = visit.query(SubscriptionsQuery)
    listed = await visit.asked(subscriptions.index, query)
    return visit.page(
        "subscriptions.html",
        subscriptions=listed["data"],
        query=query,
        statuses=[str(status) for status in SubscriptionStatus],
        **_beside(query, listed),
    )


async def show_subscription(visit: Visit) -> Response:
    """One subscription and what was sent to it."""
    subscription = await visit.asked(subscriptions.show)
    sent = await visit.asked(deliveries.index, DeliveriesQuery(subscription=subscription["id"], limit=BESIDE_MAX))
    return visit.page(
        "subscription.html",
        subscription=subscription,
        deliveries=sent["data"],
        has_more=sent["next_cursor"] is not None,
        may_activate=visit.key.may(scope_of("activation")) and subscription["status"] != SubscriptionStatus.ACTIVE,
        may_test=visit.key.may(scope_of("test")),
    )


async def list_credentials(visit: Visit) -> Response:
    """A page of credentials, whose secrets are names alone."""
    query = visit.query(CredentialsQuery)
    listed = await visit.asked(credentials.index, query)
    return visit.page(
        "credentials.html",
        credentials=listed["data"],
        query=query,
        statuses=[str(status) for status in CredentialStatus],
        **_beside(query, listed),
    )


async def show_nothing(_visit: Visit) -> Response:
    """For an address below the dashboard's that there is no page at."""
    raise Problem(404, "not_found", "There is no page at this address.")


def _named(text: str) -> str | None:
    """The page of what an id of ours names; None for any other text."""
    prefixes: tuple[Prefix, ...] = ("job", "dlv", "sub")
    return next((f"/dashboard/{SOUGHT[one]}/{text}" for one in prefixes if is_id(one, text)), None)


def _beside(query: PageQuery, listed: dict[str, Any]) -> dict[str, str | None]:
    """The ways to the pages beside this one, with the same filters."""
    kept = query.model_dump(exclude={"cursor"}, exclude_defaults=True)
    kept |= {f"{METADATA_PREFIX}{name}": value for name, value in kept.pop("metadata", {}).items()}

    def way(cursor: str | None) -> str | None:
        return cursor and "?" + urlencode({**kept, "cursor": cursor})

    return {"newer": way(listed["prev_cursor"]), "older": way(listed["next_cursor"])}
