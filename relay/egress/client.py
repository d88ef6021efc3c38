"""The relay's only way out: one call that sends one request and gives back what became of it."""

import asyncio
import re
import ssl
from functools import lru_cache
from typing import NamedTuple, Self, cast

import httpx
import structlog

from relay.clock import Clock
from relay.domain.delivery import Blame
from relay.egress.exchange import Answered, Outgoing, Reason, Stopwatch, Unanswered
from relay.egress.guard import Blocked, Guard, NameNotResolved
from relay.egress.reading import HeadersTooLarge, HungUp
from relay.egress.transport import (
    CONNECTIONS_OPEN_MAX,
    CONNECTIONS_PER_HOST_MAX,
    UNFORMED,
    AiohttpTransport,
    NotReached,
    NotTried,
    TlsFailed,
    Unformed,
)

CAUSE_CHARS_MAX = 300
URLS_KEPT_MAX = 4096
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2: token
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")  # what all the world reads alike
NO_CONNECTION = "no connection could be made to the host"

log = structlog.get_logger(__name__)


class Meaning(NamedTuple):
    """What a failure is called, whose it is, and what a tenant may read; "" for the error's own words."""

    reason: Reason
    blame: Blame
    detail: str


# First match wins. What a tenant may read is the same for a refused and an unreachable address: an error that tells
# them apart maps the network behind the relay. See `_blocked` for the former, where the URL itself does not say it.
MEANINGS: tuple[tuple[type[httpx.TransportError], Meaning], ...] = (
    (Blocked, Meaning("blocked", "receiver", NO_CONNECTION)),
    (Unformed, Meaning("blocked", "receiver", "")),
    (NameNotResolved, Meaning("dns", "network", "the host's name could not be resolved")),
    (TlsFailed, Meaning("tls", "receiver", "")),
    (NotTried, Meaning("refused", "relay", NO_CONNECTION)),
    (NotReached, Meaning("refused", "network", NO_CONNECTION)),
    (httpx.ConnectError, Meaning("refused", "receiver", NO_CONNECTION)),
    (httpx.ConnectTimeout, Meaning("timeout", "network", NO_CONNECTION)),
    (httpx.ProxyError, Meaning("refused", "relay", NO_CONNECTION)),
    (HeadersTooLarge, Meaning("too_large", "receiver", "the answer's headers are too large")),
    (httpx.RemoteProtocolError, Meaning("reset", "receiver", "the answer could not be read as HTTP")),
    (httpx.TransportError, Meaning("reset", "receiver", "the connection was closed before the answer was complete")),
)


class Egress:
    """Sends requests. Belongs to one event loop; `tls` replaces the check of certificates, for tests."""

    def __init__(
        self,
        guard: Guard,
        user_agent: str,
        *,
        clock: Clock | None = None,
        proxy: str | None = None,
        connections_per_host: int = CONNECTIONS_PER_HOST_MAX,
        connections_open: int = CONNECTIONS_OPEN_MAX,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.guard = guard
        self._clock = clock or Clock()
        self._headers = {"user-agent": user_agent, "accept": "*/*"}
        self._has_proxy = proxy is not None
        self._transport = AiohttpTransport(
            guard,
            self._clock,
            proxy=proxy,
            connections_per_host=connections_per_host,
            connections_open=connections_open,
            tls=tls,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection."""
        await self._transport.aclose()

    async def send(self, request: Outgoing) -> Answered | Unanswered:
        """What came back, or why nothing did: neither trouble outside nor a request that cannot be written raises."""
        watch = Stopwatch(self._clock)
        try:
            async with asyncio.timeout(request.timeout_seconds):
                return await self._exchange(request, watch)
        except TimeoutError:
            return _too_late(request, watch)
        except Blocked as error:
            return self._blocked(request, error, watch)
        except httpx.TransportError as error:
            return _unanswered(error, watch)

    async def _exchange(self, request: Outgoing, watch: Stopwatch) -> Answered:
        response = await self._transport.handle_async_request(self._formed(request, watch))
        try:
            body, is_truncated = await _read(response, request.body_bytes_max)
        finally:
            await response.aclose()
        received, expires_at = response.headers.multi_items(), watch.certificate_expires_at()
        return Answered(response.status_code, received, body, is_truncated, watch.timing(), expires_at)

    def _formed(self, request: Outgoing, watch: Stopwatch) -> httpx.Request:
        target = self.guard.target(request.url)
        headers = self._headers | {name.lower(): value for name, value in request.headers.items()}
        for name, value in headers.items():
            if not (HEADER_NAME.fullmatch(name) and HEADER_VALUE.fullmatch(value)):
                raise Unformed("a header of the request has characters that cannot be sent")
        headers["accept-encoding"] = "identity"  # what is not decompressed should not come compressed
        headers["host"] = target.host  # made below; without it httpx would decode the name, which not all names bear
        try:
            return httpx.Request(
                request.method,
                _url_of(target.origin),
                headers=headers,
                content=request.body or None,
                extensions={
                    "target": target.path.encode("ascii"),
                    "stopwatch": watch,
                    "is_repeatable": request.is_repeatable,
                    "is_metered": request.is_metered,
                },
            )
        except (ValueError, httpx.InvalidURL) as error:
            raise Unformed(UNFORMED) from error

    def _blocked(self, request: Outgoing, error: Blocked, watch: Stopwatch) -> Unanswered:
        """Refused by the guard; of what only a lookup has told, the log alone says so."""
        if error.is_evident:
            return _unanswered(error, watch)
        log.warning("target_refused", host=self.guard.target(request.url).host, reason=str(error))
        if watch.connect_started is None:
            watch.connect_started = watch.now()  # as of a connection that was refused at once
        unreached = NotReached(str(error)) if self._has_proxy else httpx.ConnectError(str(error))
        return _unanswered(unreached, watch)


@lru_cache(maxsize=URLS_KEPT_MAX)
def _url_of(origin: str) -> httpx.URL:
    """httpx's parser takes as long as a tenth of a whole exchange."""
    return httpx.URL(origin)


async def _read(response: httpx.Response, bytes_max: int) -> tuple[bytes, bool]:
    body = bytearray()
    async for chunk in cast(httpx.AsyncByteStream, response.stream):
        body += chunk
        if len(body) > bytes_max:
            return bytes(body[:bytes_max]), True
    return bytes(body), False


def _too_late(request: Outgoing, watch: Stopwatch) -> Unanswered:
    within = f"within {request.timeout_seconds:g} s"
    blame: Blame = "receiver"
    match watch.phase:
        case "queue":
            blame, detail = "relay", f"the relay had no connection to spare {within}"
        case "dns" | "connect":
            blame, detail = "network", f"no connection could be made {within}"
        case "tls":
            blame, detail = "network", f"the TLS handshake was not complete {within}"
        case "wait":
            detail = f"no answer {within}"
        case "read":
            detail = f"the answer was not complete {within}"
    return Unanswered("timeout", detail, watch.timing(), blame, watch.was_sent, f"deadline in phase {watch.phase}")


def _unanswered(error: httpx.TransportError, watch: Stopwatch) -> Unanswered:
    meaning = next(meaning for kind, meaning in MEANINGS if isinstance(error, kind))
    if isinstance(error, NameNotResolved) and error.is_unknown:
        meaning = meaning._replace(blame="receiver")  # else it may be any name server's on the way, our own first
    cause = str(error)[:CAUSE_CHARS_MAX]
    fault = error.fault if isinstance(error, TlsFailed) else None
    detail = meaning.detail or cause
    return Unanswered(
        meaning.reason,
        detail,
        watch.timing(),
        meaning.blame,
        watch.was_sent,
        cause,
        fault,
        is_garbled=isinstance(error, httpx.RemoteProtocolError) and not isinstance(error, HeadersTooLarge),
        is_stale=isinstance(error, HungUp) and error.is_stale,
    )
