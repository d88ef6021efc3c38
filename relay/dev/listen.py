"""Brings a distant relay's events to a receiver on this machine, which no webhook could reach."""

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from relay.clock import Clock
from relay.dev.sample_event import Receiver, event_bytes, signed
from relay.domain.errors import Invalid, Unreachable
from relay.domain.moments import parse_rfc3339
from relay.egress import Answered, Egress, Outgoing

LOOK_SECONDS = 1.0
LOOK_SECONDS_MAX = 30.0  # while the relay does not answer
PAGE_LIMIT = 100
PAGES_MAX = 20
PAGE_BYTES_MAX = 64 * 1_048_576
REQUEST_SECONDS_MAX = 30.0
SEEN_MAX = 20_000
OVERLAP = timedelta(seconds=30)  # ids are made before they are committed: a later one can be seen first


@dataclass(frozen=True, slots=True)
class Source:
    """Whose events; `relay_url` without a slash at its end."""

    relay_url: str
    api_key: str = field(repr=False)


class Listener:
    """
    Follows the list of a relay's events and sends each to the receiver, signed anew. What was there before `start()`
    is not sent. `say` is told each event and what the receiver answered.
    """

    def __init__(
        self,
        egress: Egress,
        clock: Clock,
        source: Source,
        receiver: Receiver,
        say: Callable[[str], None],
    ) -> None:
        self._egress = egress
        self._clock = clock
        self._source = source
        self._receiver = receiver
        self._say = say
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._newest: str | None = None

    async def start(self) -> None:
        """Takes note of what there is. Raises Invalid when the relay refuses, Unreachable when it does not answer."""
        for event in (await self._page(None))["data"]:
            self._note(event)

    async def run(self) -> None:
        """Forwards until it is cancelled; a relay that is away is waited for."""
        pause_seconds = LOOK_SECONDS
        while True:
            try:
                for event in await self._news():
                    await self._forward(event)
                pause_seconds = LOOK_SECONDS
            except Unreachable as error:
                self._say(f"{error}; trying again in {pause_seconds:.0f} s")
                pause_seconds = min(LOOK_SECONDS_MAX, pause_seconds * 2)
            await self._clock.sleep(pause_seconds)

    async def _news(self) -> list[dict[str, Any]]:
        """What was not seen yet, oldest first."""
        unseen: list[dict[str, Any]] = []
        until = parse_rfc3339(self._newest) - OVERLAP if self._newest else None
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            page = await self._page(cursor)
            unseen += [event for event in page["data"] if event["id"] not in self._seen]
            cursor = page["next_cursor"]
            is_old = until is not None and page["data"] and parse_rfc3339(page["data"][-1]["timestamp"]) < until
            if cursor is None or is_old or not any(event["id"] not in self._seen for event in page["data"]):
                break
        return unseen[::-1]

    def _note(self, event: dict[str, Any]) -> None:
        self._seen[event["id"]] = None
        self._newest = max(self._newest or "", event["timestamp"])
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)

    async def _forward(self, event: dict[str, Any]) -> None:
        body = event_bytes(event)
        said = await self._egress.send(signed(self._receiver, event["id"], body, self._clock.now()))
        answer = str(said.status_code) if isinstance(said, Answered) else f"{said.reason}: {said.detail}"
        self._note(event)
        self._say(f"{event['timestamp']}  {event['type']:<22} {event['id']}  → {answer}")

    async def _page(self, cursor: str | None) -> dict[str, Any]:
        query = {"limit": str(PAGE_LIMIT), **({"cursor": cursor} if cursor else {})}
        said = await self._egress.send(
            Outgoing(
                method="GET",
                url=f"{self._source.relay_url}/v1/events?{urlencode(query)}",
                headers={"authorization": f"Bearer {self._source.api_key}", "accept": "application/json"},
                timeout_seconds=REQUEST_SECONDS_MAX,
                body_bytes_max=PAGE_BYTES_MAX,
            )
        )
        return _read(said.status_code, said.body) if isinstance(said, Answered) else _away(said.detail)


def _read(status_code: int, body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        told = {}
    if status_code == 200 and isinstance(told, dict) and "data" in told:
        return told
    if status_code >= 500 or not isinstance(told, dict):
        return _away(f"HTTP {status_code}")
    raise Invalid(
        "refused", f"the relay answers {status_code}: {told.get('detail') or 'it is no relay of this version'}"
    )


def _away(reason: str) -> dict[str, Any]:
    raise Unreachable("the relay", reason)
