"""Recoveries: asked for, and seen to come along."""

from datetime import datetime
from typing import Any

from starlette.responses import Response

from relay.domain.errors import Fault
from relay.domain.moments import parse_rfc3339
from relay.domain.recovery import recovery_view
from relay.domain.subscription import Subscription
from relay.web.calls import Call, answer
from relay.web.checks import check
from relay.web.pages import open_page, page_of, page_view
from relay.web.problems import not_found
from relay.web.schemas import NewRecovery, PageQuery


async def create(call: Call) -> Response:
    """202: a task that the workers take up; the list shows how far it has come."""
    subscription = await _subscription(call)
    checked = check(NewRecovery, call.document)
    moments, faults = _moments(checked.fields)
    since, until = moments.get("since"), moments.get("until")
    if since is not None and since >= (until or call.relay.clock.now()):
        faults.append(Fault("/since", "a recovery begins before it ends, and not in the future", "out_of_range"))
    body = checked.accepted(faults)
    recovery = await call.relay.steer.recover(subscription, parse_rfc3339(body.since), until, call.new_id)
    return answer(recovery_view(recovery), 202, {"location": f"/v1/subscriptions/{subscription.id}/recovery"})


async def index(call: Call) -> Response:
    """A page of the subscription's recoveries."""
    subscription = await _subscription(call)
    asked = open_page(call.relay.tokens, call.asked(PageQuery), "rcv")
    rows = await call.relay.store.list_recoveries(call.tenant, subscription.id, place=asked.place, limit=asked.want)
    page = page_of(asked, rows)
    views = [recovery_view(one) for one in page.rows]
    return answer(page_view(call.relay.tokens, page, views))


async def _subscription(call: Call) -> Subscription:
    subscription = await call.relay.store.find_subscription(call.tenant, call.id("sub"))
    if subscription is None:
        raise not_found()
    return subscription


def _moments(fields: dict[str, Any]) -> tuple[dict[str, datetime], list[Fault]]:
    moments: dict[str, datetime] = {}
    faults = []
    for name in ("since", "until"):
        text = fields.get(name)
        if not isinstance(text, str):
            continue
        try:
            moments[name] = parse_rfc3339(text)
        except ValueError:
            faults.append(Fault(f"/{name}", "a time such as 2026-01-02T03:04:05Z (RFC 3339)", "invalid_format"))
    return moments, faults
