"""Decides what may be reached, so that no URL of a tenant's can point the relay at its own house."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from relay.clock import Clock
from relay.domain.addresses import Address, AllowList, is_public
from relay.egress.forms import BadForm, Target, read_url

DNS_TIMEOUT_SECONDS = 3.0
DNS_CACHE_SECONDS = 10.0
DNS_FAILURE_CACHE_SECONDS = 1.0
DNS_CACHE_ENTRIES_MAX = 10_000
DNS_LOOKUPS_MAX = 64  # at once; one that hangs holds its thread until the system's resolver gives up

LOOPBACK = (ip_address("127.0.0.1"), ip_address("::1"))
LOCAL_SUFFIXES = (".localhost", ".internal", ".local")  # RFC 6761, ICANN 2024, RFC 6762
NOT_PUBLIC = "the URL's host must be public"
UNKNOWN_NAME = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
)

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class Blocked(httpx.ConnectError):
    """The guard forbids the target; nothing was sent. `is_evident` when the URL's own text says so to anybody."""

    def __init__(self, message: str, *, is_evident: bool = False) -> None:
        super().__init__(message)
        self.is_evident = is_evident


class NameNotResolved(httpx.ConnectError):
    """No address was found for the name; `is_unknown` when the name has none, else the lookup itself failed."""

    def __init__(self, message: str, *, is_unknown: bool = False) -> None:
        super().__init__(message)
        self.is_unknown = is_unknown


@dataclass(frozen=True, slots=True)
class _Answer:
    expires: float
    addresses: tuple[Address, ...] = ()
    fault: str = ""
    is_unknown: bool = False


class Guard:
    """
    The one judge of targets, at registration (`check_url`) and at every connection (`resolve`, `may_dial`).
    `allow` lists networks that may be reached although they are not public; `resolver` gives the addresses of a name
    as text, or raises OSError. Belongs to one event loop.
    """

    def __init__(
        self,
        allow: Sequence[str] = (),
        allow_http: bool = False,
        *,
        resolver: Resolver | None = None,
        clock: Clock | None = None,
        dns_timeout_seconds: float = DNS_TIMEOUT_SECONDS,
    ) -> None:
        self._allow = AllowList(allow)
        self._allow_http = allow_http
        self._resolver = resolver or look_up
        self._clock = clock or Clock()
        self._dns_timeout_seconds = dns_timeout_seconds
        self._known: dict[str, _Answer] = {}
        self._asking: dict[str, asyncio.Task[_Answer]] = {}
        self._lookups = asyncio.Semaphore(DNS_LOOKUPS_MAX)

    def check_url(self, url: str) -> list[str]:
        """What is wrong with a URL, as can be said without asking anybody: sentences that name no address."""
        try:
            return self._faults(read_url(url))
        except BadForm as fault:
            return [str(fault)]

    def target(self, url: str) -> Target:
        """Where the URL points; Blocked when `check_url` has something to say."""
        try:
            target = read_url(url)
        except BadForm as fault:
            raise Blocked(str(fault), is_evident=True) from None
        if faults := self._faults(target):
            raise Blocked("; ".join(faults), is_evident=True)
        return target

    def may_dial(self, address: str | Address) -> bool:
        """True for an address that is public or allowed."""
        return is_public(address) or self._allow.covers(address)

    async def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        """
        Every address of the host, each of which may be dialled. Blocked when one of them may not: a name that mixes
        public and private answers is up to something. NameNotResolved when there are none, or not in time.
        """
        if is_local_name(host):
            return self._allowed_loopback()
        if (literal := _literal(host)) is not None:
            return self._vetted((literal,))
        answer = self._known.get(host)
        if answer is None or answer.expires <= self._clock.monotonic():
            answer = await self._ask(host, port)
        if answer.fault:
            raise NameNotResolved(answer.fault, is_unknown=answer.is_unknown)
        return self._vetted(answer.addresses)

    def _vetted(self, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
        if not all(map(self.may_dial, addresses)):
            raise Blocked("the host has an address that is not public")
        return addresses

    def _faults(self, target: Target) -> list[str]:
        faults = []
        if target.scheme != "https" and not self._allow_http:
            faults.append("the URL's scheme must be https")
        if target.literal is not None:
            if not self.may_dial(target.literal):
                faults.append(NOT_PUBLIC)
        elif not self._may_name(target.host):
            faults.append(NOT_PUBLIC)
        return faults

    def _may_name(self, host: str) -> bool:
        """Names that are private by definition are fine only where something private is allowed."""
        if is_local_name(host):
            return any(map(self._allow.covers, LOOPBACK))
        return bool(self._allow) or not host.rstrip(".").endswith(LOCAL_SUFFIXES)

    def _allowed_loopback(self) -> tuple[Address, ...]:
        """RFC 6761: these names are loopback's, whatever a name server says; unlike others they may be half allowed."""
        allowed = tuple(address for address in LOOPBACK if self._allow.covers(address))
        if not allowed:
            raise Blocked("the name is this machine's own")
        return allowed

    async def _ask(self, host: str, port: int) -> _Answer:
        """Lookups of one name are joined, and go on when those who asked have given up: the next one will ask too."""
        task = self._asking.get(host)
        if task is None:
            task = self._asking[host] = asyncio.create_task(self._look_up(host, port))
            task.add_done_callback(lambda _: self._asking.pop(host, None))
        try:
            async with asyncio.timeout(self._dns_timeout_seconds):
                return await asyncio.shield(task)
        except TimeoutError:
            # The lookup goes on, and its answer will take this one's place; until then nobody else waits for it.
            late = _Answer(
                self._clock.monotonic() + DNS_CACHE_SECONDS, (), f"no answer within {self._dns_timeout_seconds:g} s"
            )
            if not task.done():
                self._remember(host, late)
            return late

    async def _look_up(self, host: str, port: int) -> _Answer:
        async with self._lookups:
            try:
                found = await self._resolver(host, port)
            except OSError as error:
                is_unknown = isinstance(error, socket.gaierror) and error.errno in UNKNOWN_NAME
                answer = self._failure(str(error), is_unknown)
            else:
                answer = self._success(found) if found else self._failure("no address", is_unknown=True)
        self._remember(host, answer)
        return answer

    def _remember(self, host: str, answer: _Answer) -> None:
        self._known.pop(host, None)
        self._known[host] = answer
        if len(self._known) > DNS_CACHE_ENTRIES_MAX:
            del self._known[next(iter(self._known))]  # the oldest: answers go in in order of asking

    def _success(self, found: Sequence[str]) -> _Answer:
        addresses = tuple(dict.fromkeys(ip_address(text) for text in found))
        return _Answer(self._clock.monotonic() + DNS_CACHE_SECONDS, addresses)

    def _failure(self, fault: str, is_unknown: bool) -> _Answer:
        return _Answer(self._clock.monotonic() + DNS_FAILURE_CACHE_SECONDS, (), fault, is_unknown)


def is_local_name(host: str) -> bool:
    """True for localhost and what is below it."""
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


async def look_up(host: str, port: int) -> Sequence[str]:
    """
    The system's addresses of a name, as text; raises OSError. A thread of its own, and a daemon, because the loop's
    pool has few threads, a dead name server holds one for half a minute, and a pool's threads are waited for at exit.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Sequence[str]] = loop.create_future()

    def settle(found: Sequence[str], error: OSError | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)

    def ask() -> None:
        found, fault = _system_addresses(host, port)
        with suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(settle, found, fault)

    threading.Thread(target=ask, name="relay-dns", daemon=True).start()
    return await future


def _system_addresses(host: str, port: int) -> tuple[Sequence[str], OSError | None]:
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # what the codec of names says to a label that is empty or too long
        return (), socket.gaierror(socket.EAI_NONAME, "not a valid name")
    except OSError as error:
        return (), error
    return [str(info[4][0]) for info in infos], None
