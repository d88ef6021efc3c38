"""Events as they were committed, for who would rather read than be called."""

from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.errors import Fault
from relay.domain.event import Event, event_view
from relay.domain.ids import is_id
from relay.web import waiting
from relay.web.calls import Call, answer
from relay.web.checks import bad_query
from relay.web.pages import open_page, page_of, page_view
from relay.web.problems import not_found
from relay.web.schemas import EventsQuery

FEED_START = "start"
FEED_NOW = "now"


async def index(call: Call) -> Response:
    """A page of events, or of the feed."""
    query = call.asked(EventsQuery)
    if query.after is not None:
        return await _feed(call, query, query.after)
    if query.wait is not None:
        raise bad_query([Fault("?wait", "only the feed waits: give `after` as well", "invalid_format")])
    asked = open_page(call.relay.tokens, query, "evt")
    rows = await call.relay.store.list_events(
        call.tenant, type=query.type, job=query.job, place=asked.place, limit=asked.want
    )
    page = page_of(asked, rows)
    views = [event_view(one) for one in page.rows]
    return answer(page_view(call.relay.tokens, page, views))


async def _feed(call: Call, query: EventsQuery, after: str) -> Response:
    """
    Events in order of acceptance, each once for whoever gives back `next_cursor` as `after`. The filters leave events
    out of a page, never the cursor behind: a page can be empty while there is more, but no wait ends because of them.
    """
    relay = call.relay
    place = await _place(call, after)
    ends = relay.clock.monotonic() + (query.wait or 0)

    async def look() -> list[Event]:
        nonlocal place
        while True:
            events = await _read(relay, call.tenant, place, query.limit)
            place = events[-1].id if events else place
            wanted = [one for one in events if query.type in (None, one.type) and query.job in (None, one.job_id)]
            if wanted or len(events) < query.limit or relay.clock.monotonic() >= ends:
                return wanted

    events = await waiting.until(relay, call.tenant, query.wait, look, bool) if query.wait else await look()
    cursor = relay.tokens.for_cursor(place or FEED_START)
    return answer({"data": [event_view(one) for one in events], "next_cursor": cursor, "prev_cursor": None})


async def _read(relay: Relay, tenant: str, place: str | None, limit: int) -> list[Event]:
    """A page behind the place; for all who stand there it is read once, as an event brings them all at once."""
    return await relay.news.ask_together(
        ("feed", tenant, place, limit), lambda: relay.store.events_after(tenant, place, limit)
    )


async def _place(call: Call, after: str) -> str | None:
    """The event that the feed goes on behind; None: from the first. Problem 400 for a cursor that is none."""
    if after == FEED_START:
        return None
    if after == FEED_NOW:
        newest = await call.relay.store.list_events(call.tenant, limit=1)
        return newest[0].id if newest else None
    place = call.relay.tokens.place_of(after)
    if place == FEED_START:
        return None
    if place is None or not is_id("evt", place):
        detail = "`start`, `now`, or the `next_cursor` of the page before, as it was given"
        raise bad_query([Fault("?after", detail, "malformed")])
    return place


async def show(call: Call) -> Response:
    """One event."""
    event = await call.relay.store.find_event(call.tenant, call.id("evt"))
    if event is None:
        raise not_found()
    return answer(event_view(event))
