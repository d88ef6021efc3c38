"""What wraps every request: an id, a log line, numbers, and a last answer when our own code breaks."""

import re
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.clock import Clock
from relay.domain.ids import Prefix, is_id
from relay.metrics import HTTP_DURATION, HTTP_REQUESTS
from relay.web.problems import problem_response

REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
# W3C Trace Context: version, trace id, parent id, flags; ff is no version, and an id of zeros is none.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
# What a log line calls an object, by the head of its id; other lines about it use the same names.
KINDS: dict[Prefix, str] = {
    "job": "job",
    "sub": "subscription",
    "evt": "event_id",
    "dlv": "delivery",
    "crd": "credential",
    "key": "key_id",
    "rcv": "recovery",
}
PROBED = frozenset({"/healthz", "/readyz", "/metrics"})  # every few seconds, by machines
CLIENT_CLOSED = 499  # nginx' number for a client that did not wait; seen in logs and metrics only

log = structlog.get_logger(__name__)


class Edge:
    """The outermost middleware, in plain ASGI: no task and no queue between the server and the handlers."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        sender = Sender(send, scope["state"])
        started = self._clock.monotonic()
        trace = self._trace(scope)
        scope["state"] |= trace
        with structlog.contextvars.bound_contextvars(request_id=request_id, **trace):
            try:
                await self._guarded(scope, receive, sender)
            finally:
                self._record(scope, sender, self._clock.monotonic() - started)
                structlog.contextvars.unbind_contextvars("tenant")  # a server may serve the next one in this context

    async def _guarded(self, scope: Scope, receive: Receive, sender: "Sender") -> None:
        try:
            await self._app(scope, receive, sender)
        except ClientDisconnect:
            sender.status_code = CLIENT_CLOSED
        except Exception:
            log.exception("request_failed", path=scope["path"])
            if sender.has_started:
                raise
            detail = "The fault is on the relay's side, and has been logged under this request's id."
            response = problem_response(Request(scope), 500, "internal_error", detail)
            await response(scope, receive, sender)

    def _request_id(self, scope: Scope) -> str:
        told = Headers(scope=scope).get("x-request-id", "")
        return told if REQUEST_ID.fullmatch(told) else self._clock.new_id("req")

    def _trace(self, scope: Scope) -> dict[str, str]:
        told = TRACEPARENT.fullmatch(Headers(scope=scope).get("traceparent", ""))
        return {"trace_id": told[1]} if told else {}

    def _record(self, scope: Scope, sender: "Sender", duration_seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "other"
        HTTP_REQUESTS.labels(method, route, str(sender.status_code)).inc()
        HTTP_DURATION.labels(route).observe(duration_seconds)
        named = _named(scope.get("path_params", {}).get("id", "")) | _named(sender.location.rpartition("/")[2])
        is_routine = route in PROBED and sender.status_code < 400
        (log.debug if is_routine else log.info)(
            "request",
            method=method,
            route=route,
            status=sender.status_code,
            duration_ms=round(duration_seconds * 1000, 1),
            **named,
        )


def _named(text: str) -> dict[str, str]:
    """The id under the name of what it names; nothing for a text that is no id, whoever sent it."""
    return {name: text for head, name in KINDS.items() if is_id(head, text)}


class Sender:
    """The server's `send`, remembering the status and adding what every answer carries."""

    def __init__(self, send: Send, state: dict[str, Any]) -> None:
        self._send = send
        self._state = state
        self.status_code = 500
        self.has_started = False
        self.location = ""  # of what the request has made

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            self.status_code = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._state["request_id"]
            headers.update(self._state.get("limits", {}))
            headers.setdefault("cache-control", "no-store")
            self.location = headers.get("location", "")
            headers.setdefault("x-content-type-options", "nosniff")
        await self._send(message)
