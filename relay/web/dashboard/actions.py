"""What can be done from a page: operations of the API, by the same handlers and for the same scopes."""

from starlette.responses import RedirectResponse, Response

from relay.web.calls import Operation
from relay.web.dashboard import session
from relay.web.dashboard.visit import NOTICE, Page, Visit
from relay.web.problems import Problem
from relay.web.routes import OPERATIONS

PATHS = (
    "/v1/deliveries/{id}/redelivery",
    "/v1/jobs/{id}/refresh",
    "/v1/subscriptions/{id}/activation",
    "/v1/subscriptions/{id}/test",
)
# By the last word of their paths.
ACTIONS: dict[str, Operation] = {
    one.path.rpartition("/")[2]: one for one in OPERATIONS if one.method == "POST" and one.path in PATHS
}


def scope_of(name: str) -> str:
    """What a key needs for the action."""
    return ACTIONS[name].scope


def done(name: str) -> Page:
    """The handler of an action's form: it is done, and leads back to the page of what it was done to."""
    operation = ACTIONS[name]

    async def handler(visit: Visit) -> Response:
        session.check_origin(visit.request)
        if not visit.key.may(operation.scope):
            raise Problem(403, "forbidden", f"This key lacks the scope `{operation.scope}`.")
        await operation.handler(visit.call())
        page = visit.request.url.path.rpartition("/")[0]
        return RedirectResponse(f"{page}?{NOTICE}={name}", 303)

    return handler
