"""Brings a distant relay's events to a receiver on this machine, which no webhook could reach."""

import asyncio
from collections.abc import Callable

from relay.client import AsyncClient, ClientError, NoAnswer, ProblemError
from relay.client.shapes import Event, Page
from relay.clock import Clock
from relay.dev.sample_event import Receiver, event_bytes, signed
from relay.domain.errors import Invalid, Unreachable
from relay.egress import Answered, Egress

WAIT_SECONDS = 30
PAGE_SECONDS_MAX = 60.0  # the wait, and then the page
PAUSE_SECONDS = 1.0  # also between looks at a relay that does not hold its answer back
PAUSE_SECONDS_MAX = 30.0  # while the relay does not answer


class Listener:
    """
    Follows the feed of a relay's events and sends each to the receiver, signed anew. What was there before `start()`
    is not sent. `say` is told each event and what the receiver answered.
    """

    def __init__(
        self,
        relay: AsyncClient,
        egress: Egress,
        clock: Clock,
        receiver: Receiver,
        say: Callable[[str], None],
    ) -> None:
        self._relay = relay
        self._egress = egress
        self._clock = clock
        self._receiver = receiver
        self._say = say
        self._after = "now"

    async def start(self) -> None:
        """Takes note of what there is. Raises Invalid when the relay refuses, Unreachable when it does not answer."""
        await self._take(await self._page(wait_seconds=0))

    async def run(self) -> None:
        """Forwards until it is cancelled; a relay that is away is waited for."""
        pause_seconds = PAUSE_SECONDS
        while True:
            try:
                asked_at, before = self._clock.monotonic(), self._after
                await self._take(await self._page(wait_seconds=WAIT_SECONDS))
                pause_seconds = PAUSE_SECONDS
                if self._after == before:
                    await self._clock.sleep(asked_at + PAUSE_SECONDS - self._clock.monotonic())
            except Unreachable as error:
                self._say(f"{error}; trying again in {pause_seconds:.0f} s")
                await self._clock.sleep(pause_seconds)
                pause_seconds = min(PAUSE_SECONDS_MAX, pause_seconds * 2)

    async def _page(self, *, wait_seconds: int) -> Page[Event]:
        try:
            async with asyncio.timeout(PAGE_SECONDS_MAX):
                return await self._relay.events.page(self._after, wait_seconds=wait_seconds)
        except TimeoutError:
            raise Unreachable("the relay", f"no answer within {PAGE_SECONDS_MAX:.0f} s") from None
        except ClientError as error:
            raise _told(error) from error

    async def _take(self, page: Page[Event]) -> None:
        for event in page["data"]:
            await self._forward(event)
        self._after = page["next_cursor"] or self._after

    async def _forward(self, event: Event) -> None:
        body = event_bytes(event)
        said = await self._egress.send(signed(self._receiver, event["id"], body, self._clock.now()))
        answer = str(said.status_code) if isinstance(said, Answered) else f"{said.reason}: {said.detail}"
        self._say(f"{event['timestamp']}  {event['type']:<22} {event['id']}  → {answer}")


def _told(error: ClientError) -> Invalid | Unreachable:
    match error:
        case NoAnswer():
            return Unreachable("the relay", error.reason)
        case ProblemError() if error.status >= 500 or error.status == 429:
            return Unreachable("the relay", f"HTTP {error.status}")
        case ProblemError():
            why = error.detail if error.code else "it is no relay of this version"
            return Invalid("refused", f"the relay answers {error.status}: {why}")
        case _:
            return Unreachable("the relay", str(error))
