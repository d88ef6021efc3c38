"""The way of every request of the API: key, query, body, then its handler."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.bootstrap import Relay
from relay.domain.ids import NewId, Prefix, is_id
from relay.domain.key import Key
from relay.store import OpenCall
from relay.web import limits, once
from relay.web.access import admit
from relay.web.bodies import read_document
from relay.web.checks import check, check_query
from relay.web.problems import not_found
from relay.web.schemas import Document, Nothing, Query
from relay.web.versions import check_match, tagged

Q = TypeVar("Q", bound=Query)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as its handler sees it: the caller is known, the body is a JSON object, the query is checked."""

    relay: Relay
    key: Key
    request: Request
    document: dict[str, Any]
    query: Query
    mark: str | None = None  # what the same call would have again; None: it came without an Idempotency-Key
    held: OpenCall | None = None  # the call as it is written down, for the same reason

    @property
    def tenant(self) -> str:
        """Whose data this call may see."""
        return self.key.tenant

    @property
    def trace_id(self) -> str | None:
        """The W3C trace that the caller is in."""
        return getattr(self.request.state, "trace_id", None)

    def asked(self, model: type[Q]) -> Q:
        """The query as the model that the operation declares."""
        if not isinstance(self.query, model):
            raise TypeError(f"the operation does not declare {model.__name__}")
        return self.query

    def check_match(self, view: Mapping[str, Any]) -> None:
        """Problem 412 when the caller's `If-Match` speaks of another state than the view's."""
        check_match(self.request, view)

    def new_id(self, prefix: Prefix, of: str = "") -> str:
        """
        The id of what this call makes: the same when a call with an Idempotency-Key is made again because its process
        died. Where it makes several of a kind, `of` tells one from the others.
        """
        if self.held is None or self.mark is None:
            return self.relay.clock.new_id(prefix)
        return once.derived_id(prefix, self.mark + of, self.held.opened_at)

    def ids_of(self, of: str) -> NewId:
        """The ids of one of several."""
        return lambda prefix: self.new_id(prefix, of)

    def id(self, prefix: Prefix) -> str:
        """The id in the path; Problem 404 when it cannot be one, without a question to the database."""
        text: str = self.request.path_params["id"]
        if not is_id(prefix, text):
            raise not_found()
        return text


Handler = Callable[[Call], Awaitable[Response]]
InterruptedHandler = Callable[[Call], Awaitable[Response | None]]
OpenHandler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """
    One method of one route: all that the router and the reference need to know of it. `name` is what generated clients
    call it, `shows` the shape of the answer, `also` are further status codes of success, `problems` the codes of those
    problems that not every route has. `interrupted` answers for the same call before it that died on the way, where
    something can be said of it.
    """

    name: str
    method: str
    path: str
    scope: str
    handler: Handler
    summary: str
    returns: str
    status_code: int = 200
    body: type[Document] | None = None
    query: type[Query] = Query
    shows: type[BaseModel] | None = None
    also: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    interrupted: InterruptedHandler | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRoute:
    """
    A GET route without a key; `name` is what generated clients call it. `answers` are its good status codes and what
    they mean, `forms` the media types of their bodies, `shows` the shape of those that are JSON; `problems` are the
    codes of problems that not every address has.
    """

    name: str
    path: str
    handler: OpenHandler
    summary: str
    answers: Mapping[int, str] = field(default_factory=dict)
    query: type[Query] = Query
    forms: tuple[str, ...] = ()
    shows: type[BaseModel] | None = None
    problems: tuple[str, ...] = ()


def answer(view: Mapping[str, Any], status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The view as JSON."""
    return JSONResponse(view, status_code, headers)


def created(view: Mapping[str, Any], path: str) -> Response:
    """201, with where the new object is."""
    return answer(view, 201, {"location": f"{path}/{view['id']}"})


def dispatch(operations: Mapping[str, Operation]) -> OpenHandler:
    """The endpoint of one path, which has an operation for each of its methods."""

    async def endpoint(request: Request) -> Response:
        return await serve(operations["GET" if request.method == "HEAD" else request.method], request)

    return endpoint


async def serve(operation: Operation, request: Request) -> Response:
    """One request: refused with a problem at the first gate it does not pass, else handled."""
    relay: Relay = request.app.state.relay
    key = await admit(relay, request.headers.get("authorization"), operation.scope)
    structlog.contextvars.bind_contextvars(tenant=key.tenant)
    await limits.admit(request, key.id)
    query = check_query(operation.query, request.query_params.multi_items())
    document: dict[str, Any] = {}
    if operation.body is not None:
        limit = relay.settings.relay_max_body_bytes
        is_patch = operation.method == "PATCH"
        document = await read_document(request, limit, is_patch=is_patch, apart=operation.body.apart)
    if operation.body is Nothing:
        check(Nothing, document).accepted()
    call = Call(relay, key, request, document, query)
    if operation.method != "POST" or "idempotency-key" not in request.headers:
        return tagged(request, await operation.handler(call))
    told = json.dumps(document, sort_keys=True, default=repr)
    words = once.read_key(request.headers.getlist("idempotency-key"))
    fingerprint = once.fingerprint(operation.method, request.scope["path"], told)
    return tagged(request, await _once(operation, call, once.name(key.id, words), fingerprint))


async def _once(operation: Operation, call: Call, name: str, fingerprint: str) -> Response:
    call, interrupted = replace(call, mark=once.mark(call.tenant, name, fingerprint)), operation.interrupted
    return await once.handled(
        call.relay,
        call.tenant,
        name,
        fingerprint,
        lambda held: operation.handler(replace(call, held=held)),
        (lambda: interrupted(call)) if interrupted else None,
    )
