"""A receiver to look at: it takes webhooks, judges each with the official library, and shows what came."""

import json
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from relay.clock import Clock
from relay.domain.moments import rfc3339

CALLS_KEPT_MAX = 300
IDS_KEPT_MAX = 10_000
BODY_BYTES_MAX = 2_000_000
PAGE = files(__package__) / "inbox.html"


@dataclass(frozen=True, slots=True)
class Received:
    """One call as it came in. What the body says stands here only when the signature holds."""

    received_at: str
    path: str
    webhook_id: str | None
    is_verified: bool
    is_duplicate: bool = False
    refusal: str | None = None
    type: str | None = None
    provider: str | None = None
    job: str | None = None
    files: tuple[str, ...] = ()
    body: Any = None


class Inbox:
    """
    `app` takes POST anywhere: 204 for what verifies (again for a repeated `webhook-id`, which is only marked), 401
    for what does not, 413 for more than 2 MB. Each path is a receiver of its own, which has seen only what came there.
    GET anywhere shows the last 300 calls, newest first: `{data: […]}`, or a page for a browser.
    """

    def __init__(self, secret: str, clock: Clock) -> None:
        self._webhook = Webhook(secret)
        self._clock = clock
        self._calls: deque[Received] = deque(maxlen=CALLS_KEPT_MAX)
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._page = Environment(autoescape=True).from_string(PAGE.read_text(encoding="utf-8"))
        self.app = Starlette(
            routes=[
                Route("/{path:path}", self._receive, methods=["POST"]),
                Route("/{path:path}", self._show, methods=["GET"]),
            ]
        )

    @property
    def calls(self) -> list[Received]:
        """Newest first."""
        return list(reversed(self._calls))

    async def _receive(self, request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                return Response(status_code=413)
        call = self._judge(request.url.path, dict(request.headers), bytes(body))
        self._calls.append(call)
        if call.is_verified:
            return Response(status_code=204)
        return JSONResponse({"refused": call.refusal}, status_code=401)

    def _judge(self, path: str, headers: Mapping[str, str], body: bytes) -> Received:
        now = rfc3339(self._clock.now()) or ""
        webhook_id = headers.get("webhook-id")
        try:
            event = self._webhook.verify(body, dict(headers))
        except (WebhookVerificationError, ValueError) as error:
            # ValueError: the library raises binascii.Error, and others below it, for entries that are malformed.
            return Received(now, path, webhook_id, is_verified=False, refusal=str(error) or type(error).__name__)
        call = Received(now, path, webhook_id, is_verified=True, is_duplicate=self._is_repeated(path, str(webhook_id)))
        return _described(call, event)

    def _is_repeated(self, path: str, webhook_id: str) -> bool:
        is_repeated = (path, webhook_id) in self._seen
        self._seen[path, webhook_id] = None
        if len(self._seen) > IDS_KEPT_MAX:
            self._seen.popitem(last=False)
        return is_repeated

    async def _show(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(self._page.render(calls=self.calls, url=str(request.base_url)))
        text = json.dumps({"data": [asdict(call) for call in self.calls]}, indent=2, ensure_ascii=False)
        return Response(text + "\n", media_type="application/json")


def _described(call: Received, event: Any) -> Received:
    event = event if isinstance(event, dict) else {}
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    result = data.get("result") or {}
    return replace(
        call,
        type=event.get("type"),
        provider=data.get("provider"),
        job=data.get("id" if str(event.get("type")).startswith("job.") else "job"),
        files=tuple(file["url"] for file in result.get("files", ())),
        body=event,
    )
