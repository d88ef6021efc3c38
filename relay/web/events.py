"""Events as they were committed, for who would rather read than be called."""

from starlette.responses import Response

from relay.domain.event import event_view
from relay.web.calls import Call, answer
from relay.web.pages import open_page, page_view, shown
from relay.web.problems import not_found
from relay.web.schemas import EventsQuery


async def index(call: Call) -> Response:
    """A page of events."""
    query = call.asked(EventsQuery)
    page = open_page(call.relay.tokens, query, "evt")
    rows = await call.relay.store.list_events(
        call.tenant, type=query.type, job=query.job, before=page.before, limit=page.want
    )
    views = [event_view(one) for one in rows[: shown(page, rows)]]
    return answer(page_view(call.relay.tokens, page, rows, views))


async def show(call: Call) -> Response:
    """One event."""
    event = await call.relay.store.find_event(call.tenant, call.id("evt"))
    if event is None:
        raise not_found()
    return answer(event_view(event))
