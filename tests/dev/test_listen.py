"""Events of a distant relay, brought to a receiver here: each once, in order, signed with the local secret."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.client import AsyncClient
from relay.clock import Clock
from relay.dev.listen import Listener
from relay.dev.sample_event import Receiver as LocalReceiver
from relay.dev.sample_event import sample_event
from relay.domain.errors import Invalid, Unreachable
from relay.egress import AiohttpTransport, Egress, Guard
from tests.receivers import Call, Receiver, Wire, answering
from tests.trips import SECRET, until, verified


class QuickClock(Clock):
    """Waits a hundredth of what is asked."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


class Events:
    """A relay's feed: two events on a page, none held back."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.fault: tuple[int, bytes] | None = None
        self.keys: set[str | None] = set()

    def happen(self) -> str:
        """One more event; its id."""
        event_id, body = sample_event("job.completed", Clock())
        self.events.append({"object": "event", "job": None, **json.loads(body)})
        return event_id

    async def __call__(self, call: Call, wire: Wire) -> None:
        self.keys.add(call.header("authorization"))
        if self.fault:
            await wire.respond(self.fault[0], {}, self.fault[1])
            return
        (after,) = parse_qs(urlsplit(call.target).query)["after"]
        start = len(self.events) if after == "now" else int(after)
        data = self.events[start : start + 2]
        page = {"data": data, "next_cursor": str(start + len(data))}
        await wire.respond(200, {"content-type": "application/json"}, json.dumps(page).encode())


@asynccontextmanager
async def listening(events: Events, receiver: Receiver, lines: list[str]) -> AsyncIterator[Listener]:
    """A listener at work."""
    guard, clock = Guard(["127.0.0.0/8"], True), QuickClock()
    async with (
        Receiver(events) as server,
        Egress(guard, "test") as egress,
        AsyncClient(server.url(""), "a-key", tries_max=1, transport=AiohttpTransport(guard, clock)) as relay,
    ):
        local = LocalReceiver(receiver.url("/hooks"), SECRET)
        listener = Listener(relay, egress, clock, local, lines.append)
        await listener.start()
        task = asyncio.create_task(listener.run())
        yield listener
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_happens_is_forwarded_in_order_signed_anew_and_only_once() -> None:
    events, lines = Events(), list[str]()
    before = [events.happen() for _ in range(2)]
    async with Receiver(answering(204)) as receiver, listening(events, receiver, lines):
        after = [events.happen() for _ in range(5)]
        await receiver.heard(5)
        events.happen()
        calls = await receiver.heard(6)
    assert [verified(call)["id"] for call in calls[:5]] == after
    assert len(calls) == 6
    assert not {call.header("webhook-id") for call in calls} & set(before)
    assert events.keys == {"Bearer a-key"}
    assert any("→ 204" in line for line in lines)


async def test_a_relay_that_is_away_for_a_while_is_waited_for() -> None:
    events, lines = Events(), list[str]()
    async with Receiver(answering(500)) as receiver, listening(events, receiver, lines):
        events.fault = (503, b"")
        await until(lambda: any("trying again" in line for line in lines))
        events.fault = None
        expected = events.happen()
        (call,) = await receiver.heard(1)
    assert verified(call)["id"] == expected


async def test_a_receiver_that_is_away_is_said_to_be_so() -> None:
    events, lines = Events(), list[str]()
    async with Receiver(answering()) as gone:
        pass
    async with listening(events, gone, lines):
        events.happen()
        await until(lambda: any("→ refused" in line for line in lines))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ((401, b'{"detail": "The API key is not valid."}'), Invalid),
        ((404, b"<html>"), Invalid),
        ((200, b"[]"), Unreachable),
        ((502, b""), Unreachable),
    ],
)
async def test_a_relay_that_refuses_is_told_at_the_start(fault: tuple[int, bytes], kind: type[Exception]) -> None:
    events = Events()
    events.fault = fault
    async with Receiver(answering()) as receiver:
        with pytest.raises(kind):
            async with listening(events, receiver, []):
                pass
