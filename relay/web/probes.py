"""The probe of a subscription: its receiver called as friends and enemies would, while its owner waits."""

from starlette.responses import Response

from relay.domain.errors import Conflict
from relay.domain.subscription import hold_seconds_left
from relay.web.calls import Call, answer
from relay.web.problems import not_found
from relay.webhooks.probe import probe_view


async def run(call: Call) -> Response:
    """What was found; 409 while another probe of it runs, or while the receiver has asked for no calls."""
    subscription = await call.relay.store.find_subscription(call.tenant, call.id("sub"))
    if subscription is None:
        raise not_found()
    if hold_seconds_left(subscription.hold_until, call.relay.clock.now()) > 0:
        raise Conflict(
            "subscription_held", "The receiver has asked for no calls for a while: try again when it is over."
        )
    async with call.relay.turns.taking(f"probe:{subscription.id}") as turn:
        if turn is None:
            raise Conflict("probe_running", "Another probe of this subscription is under way: wait for its answer.")
        return answer(probe_view(await call.relay.probe.run(subscription)))
