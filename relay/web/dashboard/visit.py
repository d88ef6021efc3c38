"""One request of somebody who has signed in; what a page shows is what the API answers to the same key."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.errors import Refused, Unreachable
from relay.domain.key import Key
from relay.web import limits
from relay.web.calls import Call, Handler, OpenHandler
from relay.web.checks import check_query
from relay.web.dashboard import session
from relay.web.dashboard.frame import page
from relay.web.problems import TITLES, Problem, status_of
from relay.web.schemas import Query

Q = TypeVar("Q", bound=Query)
NOTICE = "notice"  # of the query: what the page before has done
NOTICES = {
    "redelivery": "The delivery is due now; its next attempt follows.",
    "refresh": "The job is due now; a look follows.",
    "activation": "The subscription is active; what was held for it is released.",
    "test": "A test event is on its way; it is the newest of the deliveries below.",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who has signed in."""

    relay: Relay
    key: Key
    request: Request

    async def asked(self, handler: Handler, query: Query | None = None) -> dict[str, Any]:
        """What the API answers this key; raises as the API does. An id is that of the request's own path."""
        response = await handler(self.call(query))
        told: dict[str, Any] = json.loads(bytes(response.body))
        return told

    def call(self, query: Query | None = None) -> Call:
        """The request as a handler of the API sees it."""
        return Call(self.relay, self.key, self.request, {}, query or Query())

    def query(self, model: type[Q]) -> Q:
        """The page's query as the API's model; Problem 400 with faults. A field that a form left empty is not told."""
        told = [(name, text) for name, text in self.request.query_params.multi_items() if text and name != NOTICE]
        return check_query(model, told)

    def page(self, template: str, **context: Any) -> Response:
        """The template as a page, with what every page of somebody who has signed in shows."""
        notice = NOTICES.get(self.request.query_params.get(NOTICE, ""))
        return page(self.request, template, notice=notice, **context)


Page = Callable[[Visit], Awaitable[Response]]


def shown(handler: Page) -> OpenHandler:
    """The endpoint of a page: whoever has not signed in is asked to, and every refusal is a page as well."""

    async def endpoint(request: Request) -> Response:
        try:
            return await _admitted(request, handler)
        except (Problem, Refused, Unreachable) as error:
            return refusal(request, error)

    return endpoint


async def _admitted(request: Request, handler: Page) -> Response:
    key = await session.key_of(request)
    if key is None:
        if request.method == "POST":
            raise Problem(401, "unauthorized", "The session has ended. Sign in again, and repeat what you did.")
        # At the front door nothing was asked for that could be refused.
        return sign_in_page(request, 200 if request.url.path == "/" else 401, request.url.path)
    request.state.key = key
    structlog.contextvars.bind_contextvars(tenant=key.tenant)
    await limits.admit(request, key.id)
    return await handler(Visit(request.app.state.relay, key, request))


def sign_in_page(request: Request, status_code: int, way: str, wrong: str | None = None) -> Response:
    """The form that asks for a key, and then leads on to `way`; `wrong` is what was the matter with the last one."""
    return page(request, "sign_in.html", status_code, wrong=wrong, way=way)


def refusal(request: Request, error: Problem | Refused | Unreachable) -> Response:
    """The page that says why there is no other."""
    headers = {}
    if isinstance(error, Problem):
        status_code, code, detail, faults = error.status_code, error.code, error.detail, error.faults
        headers = dict(error.headers or {})
    elif isinstance(error, Refused):
        status_code, code, detail, faults = status_of(error), error.code, error.detail, error.faults
    else:
        status_code, code, faults = 503, "unavailable", ()
        detail = f"The relay's {error.part} does not answer. Nothing is lost by it; try again in a moment."
    title = TITLES.get(code, code)
    return page(request, "refusal.html", status_code, headers, title=title, detail=detail, faults=faults)
