"""The one seam to the network: httpx's requests and errors above, aiohttp's far faster connection pool below."""

import errno
import functools
import io
import socket
import ssl
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, cast

import aiohttp
import certifi
import httpx
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from relay.clock import Clock
from relay.egress.exchange import CertificateFault, Stopwatch
from relay.egress.guard import Blocked, Guard, NameNotResolved, look_up
from relay.egress.reading import HEADERS_BYTES_MAX, HEADERS_MAX, AnswerReader, HungUp

CONNECTIONS_PER_HOST_MAX = 500  # in use at once; further requests wait, and their deadline runs
CONNECTIONS_MAX = 1000  # likewise, over all hosts
CONNECTIONS_OPEN_MAX = 1000  # in use and idle: with so many, new connections are not kept for a next request
KEEP_ALIVE_SECONDS = 15.0
ADDRESSES_TRIED_MAX = 8  # of each family, of a name that has many
READ_BUFFER_BYTES = 32_768
PLAIN_BODY_BYTES_MAX = 1_048_576  # aiohttp warns of larger ones, and sends them in pieces when they look like a file

NO_DEADLINE = aiohttp.ClientTimeout(total=None, sock_connect=None)  # the whole exchange has one, one floor up
NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # aiohttp's own, where the request has none
# Headers of the connection, not of the request: made below, and never a tenant's to choose.
MADE_BELOW = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

UNFORMED = "the request cannot be written as HTTP"

OUR_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
OUR_NETWORK = frozenset({errno.ENETUNREACH, errno.ENETDOWN})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
CERTIFICATE_FAULTS: dict[int, CertificateFault] = {  # https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
    9: "not_yet_valid",
    10: "expired",
    18: "self_signed",
    19: "untrusted",  # a chain that ends at an authority which nobody here knows
    20: "untrusted",  # the same, or its intermediate certificate was not sent
    21: "untrusted",
    62: "other_name",
    64: "other_name",  # an address
}
PROXY_WANTS_SIGN_IN = 407
PROXY_ERROR_HEADER = "X-Squid-Error"  # Squid's, with every page of its own
PROXY_DID_NOT_REACH = frozenset({502, 503, 504})  # RFC 9110, section 15.6: what a gateway says of the host behind it


class NotTried(httpx.ConnectError):
    """This machine could not even try: no route, or no socket, memory or port left."""


class NotReached(httpx.ConnectError):
    """The network between says that there is no way to the host."""


class TlsFailed(httpx.ConnectError):
    """The handshake failed; the message is the verifier's, when it was the certificate, and `fault` what that was."""

    def __init__(self, message: str, fault: CertificateFault | None = None) -> None:
        super().__init__(message)
        self.fault = fault


class Unformed(httpx.LocalProtocolError):
    """The request cannot be written as HTTP; nothing was sent. The message is a sentence that a tenant may read."""


_running: ContextVar[Stopwatch] = ContextVar("running")


class TimedHandshake(ssl.SSLObject):
    """Notes what a handshake failed of: of a name with several addresses aiohttp tells the last one's failure alone."""

    watch: Stopwatch | None = None

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self.watch is not None:
                self.watch.tls_error = error
            raise
        self.watch = None  # which holds this, and would be held as long as the connection


class TimedContext(ssl.SSLContext):
    """Notes when a handshake begins, and what will know the peer's certificate, which nothing else tells."""

    sslobject_class = TimedHandshake

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        wrapped = super().wrap_bio(*args, **kwargs)
        if (watch := _running.get(None)) is not None:
            watch.tls_started, watch.tls = watch.now(), wrapped
            if isinstance(wrapped, TimedHandshake):
                wrapped.watch = watch
        return wrapped


class Connector(aiohttp.TCPConnector):
    """Has its connections read in our own way."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._factory = functools.partial(cast(type[ResponseHandler], AnswerReader), loop=self._loop)


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Checks certificates against `ca_file`, or the system's authorities, or certifi's on a bare system."""
    context = TimedContext(ssl.PROTOCOL_TLS_CLIENT)  # checks names and certificates by default
    context.set_alpn_protocols(["http/1.1"])
    paths = ssl.get_default_verify_paths()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    elif paths.cafile or paths.capath:
        context.load_default_certs()
    else:
        context.load_verify_locations(certifi.where())
    return context


class AiohttpTransport(httpx.AsyncBaseTransport):
    """
    Sends an `httpx.Request` as it is: no redirects, cookies, decompression, or proxies of the environment. Four
    extensions of the request are read: `target` (bytes of the request line's path, sent untouched), `stopwatch`,
    `is_repeatable` and `is_metered` (both as `relay.egress.exchange.Outgoing` has them).
    Raises `httpx.TransportError`s, those of this module and `relay.egress.guard` among them. Literal addresses and
    names are vetted whenever a connection is made, unless it is made to `proxy`: then the target is vetted each time.
    """

    def __init__(
        self,
        guard: Guard,
        clock: Clock,
        *,
        proxy: str | None = None,
        connections_per_host: int = CONNECTIONS_PER_HOST_MAX,
        connections_open: int = CONNECTIONS_OPEN_MAX,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = guard
        self._clock = clock
        self._proxy = yarl.URL(proxy) if proxy else None
        self._connections_per_host = connections_per_host
        self._connections_open = connections_open
        self._tls = tls or tls_context()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        watch: Stopwatch = request.extensions.get("stopwatch") or Stopwatch(self._clock)
        _running.set(watch)
        pooled, fresh = self._open()
        if len(self._sockets) >= self._connections_open or not request.extensions.get("is_repeatable", True):
            pooled = fresh
        if self._proxy is not None:
            await self._vet(request, watch)
        try:
            return await self._send(pooled, request, watch)
        except HungUp as error:
            # A kept connection may be closed by the peer just as we write to it, and nearly always that means that
            # the request was never read. Should it have been: looks are GETs, and receivers know a delivery by its
            # webhook-id. A connection made for this request proves the peer's mind, and is not asked twice.
            if not error.is_stale or request.extensions.get("is_metered"):
                raise
        watch.start_over()
        return await self._send(fresh, request, watch)

    async def aclose(self) -> None:
        sessions, self._sessions = self._sessions or (), None
        for session in sessions:
            await session.close()

    def _open(self) -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
        """One session that keeps connections and one that never does; made here because they belong to a loop."""
        if self._sessions is None:
            self._sessions = (
                self._session(keepalive_timeout=KEEP_ALIVE_SECONDS),
                self._session(force_close=True),
            )
        return self._sessions

    def _session(self, **keeping: Any) -> aiohttp.ClientSession:
        connector = Connector(
            limit=CONNECTIONS_MAX,
            limit_per_host=self._connections_per_host,
            resolver=VettingResolver(self._guard) if self._proxy is None else ProxyResolver(),
            use_dns_cache=False,  # the guard has one
            ssl=self._tls,
            socket_factory=self._socket,
            **keeping,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=NOT_ADDED,
            timeout=NO_DEADLINE,
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=HEADERS_BYTES_MAX,
            max_field_size=HEADERS_BYTES_MAX,
            max_headers=HEADERS_MAX,
            trace_configs=[_traces()],
            middlewares=[_in_our_words],
            proxy=self._proxy,
        )

    async def _vet(self, request: httpx.Request, watch: Stopwatch) -> None:
        """
        The proxy looks the name up again, so that only it can refuse what the name has become by then; and in many
        a private network only it can look up anything, so that a name unknown here is for it to judge.
        """
        watch.dns_started = watch.now()
        with suppress(NameNotResolved):
            await self._guard.resolve(request.url.raw_host.decode("ascii"), request.url.port or 0)
        watch.dns_ended = watch.now()

    async def _send(self, session: aiohttp.ClientSession, request: httpx.Request, watch: Stopwatch) -> httpx.Response:
        body = await request.aread()
        try:
            response = await session.request(
                request.method,
                _exact_url(request),
                headers=[
                    (name.decode("ascii"), value.decode("latin-1"))
                    for name, value in request.headers.raw
                    if name.lower() not in MADE_BELOW
                ],
                data=io.BytesIO(body) if len(body) > PLAIN_BODY_BYTES_MAX else body or None,
                allow_redirects=False,
            )
        except ValueError as error:
            if watch.was_sent:
                raise
            raise Unformed(UNFORMED) from error
        if self._proxy is not None and request.url.scheme == "http" and _is_of_proxy(response):
            response.close()
            raise _proxy_refused(response.status, f"the proxy answered {response.status} itself")
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=_Body(response, watch), request=request
        )

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Every connection begins here, literal address or name: what the guard has not passed is never dialled."""
        family, kind, protocol, _, address = info
        if self._proxy is None and not self._guard.may_dial(address[0]):
            raise PermissionError(errno.EACCES, "the address is not public")
        watch = _running.get()
        if watch.connect_started is None:
            watch.connect_started = watch.now()
        opened = socket.socket(family, kind, protocol)
        self._sockets.add(opened)
        return opened


class VettingResolver(AbstractResolver):
    """What aiohttp asks for the addresses of a name; it does not ask for those of a literal address."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        watch = _running.get()
        watch.dns_started = watch.now()
        addresses = await self._guard.resolve(host, port)
        watch.dns_ended = watch.now()
        tried = [
            address
            for version in (6, 4)
            for address in [each for each in addresses if each.version == version][:ADDRESSES_TRIED_MAX]
        ]
        return [_result(host, port, str(address)) for address in sorted(tried, key=addresses.index)]

    async def close(self) -> None:
        """Nothing is held."""


class ProxyResolver(AbstractResolver):
    """Looks up the proxy itself, which the operator chose, and which is nearly always private."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [_result(host, port, address) for address in await look_up(host, port)]

    async def close(self) -> None:
        """Nothing is held."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


def _exact_url(request: httpx.Request) -> yarl.URL:
    """As the tenant wrote it: httpx would resolve dots and quote again, and so may sign for or ask another thing."""
    target = request.extensions.get("target", request.url.raw_path).decode("ascii")
    return yarl.URL(f"{request.url.scheme}://{request.url.netloc.decode('ascii')}{target}", encoded=True)


def _is_of_proxy(response: aiohttp.ClientResponse) -> bool:
    """What a proxy says itself reads like the receiver's answer; of those that can be told, the usual proxy's can."""
    return response.status == PROXY_WANTS_SIGN_IN or PROXY_ERROR_HEADER in response.headers


class _Body(httpx.AsyncByteStream):
    """The bytes as they come; closing before the end closes the connection, and what was not read never is."""

    def __init__(self, response: aiohttp.ClientResponse, watch: Stopwatch) -> None:
        self._response = response
        self._watch = watch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise as_httpx(error, self._watch) from error

    async def aclose(self) -> None:
        self._response.close()


async def _in_our_words(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware, so that aiohttp does not see its own errors: it would send every GET again, reused or not."""
    watch = _running.get()
    try:
        response = await handler(request)
    except (aiohttp.ClientError, OSError) as error:
        raise as_httpx(error, watch) from error
    watch.answered = watch.now()
    return response


def as_httpx(error: Exception, watch: Stopwatch) -> httpx.TransportError:
    """The one place where aiohttp's errors are given httpx's names, or ours below them."""
    text = str(error) or type(error).__name__
    if watch.connected is None:
        return _not_connected(error, text, watch)
    match error:
        case aiohttp.ServerDisconnectedError() | OSError():
            return HungUp(text, is_stale=watch.is_reused and watch.answered is None)
        case aiohttp.ClientPayloadError():
            return HungUp(text, is_stale=False)
    return httpx.RemoteProtocolError(text)


def _not_connected(error: Exception, text: str, watch: Stopwatch) -> httpx.TransportError:
    if watch.tls_error is not None:
        return TlsFailed(_tls_words(watch.tls_error), _certificate_fault(watch.tls_error))
    match error:
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientConnectorDNSError():
            return httpx.ProxyError(text)  # no name but the proxy's is looked up with an error of this kind
        case aiohttp.ClientConnectorError() if watch.tls_started is None:
            return _not_dialled(error.os_error.errno, text)
        case aiohttp.ClientConnectorError():
            return TlsFailed("the connection was lost in the TLS handshake")
    # An exchange before the connection stands is the one about CONNECT.
    return _proxy_refused(error.status if isinstance(error, aiohttp.ClientHttpProxyError) else 0, text)


def _proxy_refused(status: int, text: str) -> httpx.TransportError:
    return NotReached(text) if status in PROXY_DID_NOT_REACH else httpx.ProxyError(text)


def _not_dialled(number: int | None, text: str) -> httpx.TransportError:
    if number in FORBIDDEN:
        return Blocked(text)
    if number in OUR_SHORTAGE or number in OUR_NETWORK:
        return NotTried(text)
    if number == errno.EHOSTUNREACH:
        return NotReached(text)
    return httpx.ConnectTimeout(text) if number == errno.ETIMEDOUT else httpx.ConnectError(text)


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {error.verify_message}"
    return f"the TLS handshake failed: {(error.reason or 'no common protocol').replace('_', ' ').lower()}"


def _certificate_fault(error: ssl.SSLError) -> CertificateFault | None:
    return CERTIFICATE_FAULTS.get(error.verify_code) if isinstance(error, ssl.SSLCertVerificationError) else None


def _traces() -> aiohttp.TraceConfig:
    """aiohttp tells what it does with connections; the stopwatch of the running exchange writes it down."""

    async def queue_started(*_: object) -> None:
        watch = _running.get()
        watch.queue_started = watch.now()

    async def queue_ended(*_: object) -> None:
        watch = _running.get()
        watch.queue_ended = watch.now()

    async def connected(*_: object) -> None:
        watch = _running.get()
        watch.connected = watch.now()
        watch.was_sent = True

    traces = aiohttp.TraceConfig()
    traces.on_connection_queued_start.append(queue_started)
    traces.on_connection_queued_end.append(queue_ended)
    traces.on_connection_create_end.append(connected)
    traces.on_connection_reuseconn.append(connected)
    return traces
