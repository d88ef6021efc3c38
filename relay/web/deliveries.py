"""Deliveries: what was sent to whom, with every attempt, and sent again by hand."""

from starlette.responses import Response

from relay.domain.delivery import delivery_view
from relay.web.calls import Call, answer
from relay.web.pages import open_page, page_of, page_view
from relay.web.problems import not_found
from relay.web.schemas import DeliveriesQuery


async def index(call: Call) -> Response:
    """A page of deliveries, without their attempts."""
    query = call.asked(DeliveriesQuery)
    asked = open_page(call.relay.tokens, query, "dlv")
    rows = await call.relay.store.list_deliveries(
        call.tenant,
        status=query.status,
        subscription=query.subscription,
        event=query.event,
        job=query.job,
        place=asked.place,
        limit=asked.want,
    )
    page = page_of(asked, rows)
    views = [delivery_view(one) for one in page.rows]
    return answer(page_view(call.relay.tokens, page, views))


async def show(call: Call) -> Response:
    """One delivery with all its attempts."""
    delivery = await call.relay.store.find_delivery(call.tenant, call.id("dlv"))
    if delivery is None:
        raise not_found()
    attempts = await call.relay.store.list_attempts(call.tenant, delivery.id)
    return answer(delivery_view(delivery, attempts))


async def redeliver(call: Call) -> Response:
    """202: a new attempt is due now, with the same event id and body."""
    delivery = await call.relay.steer.redeliver(call.tenant, call.id("dlv"))
    if delivery is None:
        raise not_found()
    attempts = await call.relay.store.list_attempts(call.tenant, delivery.id)
    return answer(delivery_view(delivery, attempts), 202)
