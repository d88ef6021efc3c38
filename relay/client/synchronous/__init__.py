# Made by docs/generate.py from its twin in asynchronous/.
"""The client for programs without an event loop."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import httpx

from relay.client import calls
from relay.client.synchronous.accounts import Credentials, Keys, Providers
from relay.client.synchronous.caller import Caller
from relay.client.synchronous.jobs import Events, Jobs
from relay.client.synchronous.subscriptions import Deliveries, Subscriptions
from relay.client.calls import Ask
from relay.client.shapes import EventType, Stats
from relay.clock import Clock


class Client:
    """
    One relay, as the owner of that key sees it. Its parts make the calls, each for what its
    name says: `jobs`, `subscriptions`, `events`, `deliveries`, `credentials`, `keys`, `providers`; `help(client.jobs)`
    shows what can be asked. Each `list()` reads on, a page at a time, for as long as it is iterated.

    A call is tried up to `tries_max` times on 429, 502, 503, 504 and when the connection fails, and `Retry-After` is
    honoured up to a minute. `timeout_seconds` is for each step of a try (to connect, until the next bytes). Proxies are
    taken from the environment, as httpx does, unless `trust_env` is False or a `transport` is given. Raises ValueError
    for a `url` or an `api_key` with which no call could be made.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout_seconds: float = calls.TIMEOUT_SECONDS,
        tries_max: int = calls.TRIES_MAX,
        trust_env: bool = True,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        http = httpx.Client(
            base_url=calls.base_url_of(url),
            headers=calls.headers_for(api_key),
            limits=calls.LIMITS,
            trust_env=trust_env,
            transport=transport,
        )
        caller = Caller(http, timeout_seconds, tries_max, clock or Clock())
        self._http, self._caller = http, caller
        self.jobs = Jobs(caller)
        self.subscriptions = Subscriptions(caller)
        self.events = Events(caller)
        self.deliveries = Deliveries(caller)
        self.credentials = Credentials(caller)
        self.keys = Keys(caller)
        self.providers = Providers(caller)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def event_types(self) -> Iterator[EventType]:
        """All types of events."""
        return self._caller.items("/v1/event-types")

    def stats(self) -> Stats:
        """What there is, counted."""
        stats: Stats = self._caller.document(Ask("GET", "/v1/stats"))
        return stats

    def close(self) -> None:
        """Closes every connection."""
        self._http.close()
