"""Slow and dead receivers cost only themselves: what they may hold of a worker is little, and shrinks."""

import asyncio
from collections import Counter
from collections.abc import Callable

from relay.bootstrap import Relay
from relay.deliver import IN_FLIGHT_MAX
from relay.domain.subscription import Subscription
from tests.deliver.posts import all_ended, delivering, post, subscribe
from tests.receivers import Behaviour, Call, Receiver, Wire, answering, hanging, slow
from tests.trips import living, until

HANGING = 40  # with their sixteen each they would fill the stream: 40 × 16 = 640


class Crowd:
    """Counts how many calls are with a receiver at once, by path."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.now: Counter[str] = Counter()
        self.peaks: Counter[str] = Counter()
        self._behaviour = behaviour

    async def answer(self, call: Call, wire: Wire) -> None:
        self.now[call.target] += 1
        self.peaks[call.target] = max(self.peaks[call.target], self.now[call.target])
        try:
            await self._behaviour(call, wire)
        finally:
            self.now[call.target] -= 1


async def busy(relay: Relay, receiver: Receiver, paths: int, count: int, **more: int) -> list[Subscription]:
    """So many subscriptions to paths of the receiver, with so many deliveries for each, all due."""
    subscriptions = [await subscribe(relay, receiver.url(f"/{number}"), **more) for number in range(paths)]
    for _ in range(count):
        await post(relay, *subscriptions)
    return subscriptions


async def leases(relay: Relay) -> int:
    """How many deliveries are in flight, over all workers."""
    return (await relay.deliveries.counts()).leased


async def test_receivers_that_hang_leave_the_stream_to_the_others(database_url: str, redis_url: str) -> None:
    """D9: they begin with few calls at once, and have fewer after each that hangs."""
    assert IN_FLIGHT_MAX <= HANGING * 16
    crowd = Crowd(hanging())
    more = {"RELAY_DELIVERY_TIMEOUT_SECONDS": "1.5", "RELAY_RETRY_SCHEDULE": "60"}
    async with (
        living(database_url, redis_url, **more) as relay,
        Receiver(crowd.answer) as dead,
        Receiver(answering(200)) as alive,
    ):
        await busy(relay, dead, HANGING, 20)
        subscriptions = await busy(relay, alive, 10, 10)
        async with delivering(relay, sweeps=False):
            await all_ended(relay, 100)
            assert len(alive.calls) == 100
            assert max(crowd.peaks.values()) <= 4
            await until(lambda: len(dead.calls) > HANGING * 4)
            await until(is_below(relay, HANGING * 2))
            await post(relay, *subscriptions)
            await alive.heard(110)
        calls = len(dead.calls)
    assert len(alive.calls) == 110
    assert calls < HANGING * 20


def is_below(relay: Relay, count: int) -> Callable[[], object]:
    async def check() -> bool:
        return await leases(relay) < count

    return check


async def test_a_prompt_receiver_earns_its_whole_share_and_never_more(database_url: str, redis_url: str) -> None:
    crowd = Crowd(slow(0.05, answering(200)))
    async with living(database_url, redis_url) as relay, Receiver(crowd.answer) as inbox:
        await busy(relay, inbox, 1, 150, max_in_flight=8)
        async with delivering(relay, relay):
            await all_ended(relay, 150)
    assert max(crowd.peaks.values()) == 8


async def test_a_slow_receiver_delays_nobody_else(database_url: str, redis_url: str) -> None:
    """D9."""
    go_on = asyncio.Event()

    async def sluggish(_: Call, wire: Wire) -> None:
        await go_on.wait()
        await wire.respond(200)

    async with (
        living(database_url, redis_url) as relay,
        Receiver(sluggish) as late,
        Receiver(answering(200)) as quick,
    ):
        await busy(relay, late, 5, 2)
        await busy(relay, quick, 5, 10)
        async with delivering(relay):
            await quick.heard(50)
            await all_ended(relay, 50)
            go_on.set()
            await all_ended(relay, 60)


async def test_a_receiver_is_not_held_back_by_its_own_slowest_call(database_url: str, redis_url: str) -> None:
    go_on = asyncio.Event()

    async def one_waits(call: Call, wire: Wire) -> None:
        if call.target == "/0" and not go_on.is_set() and b'"slow":true' in call.body:
            await go_on.wait()
        await wire.respond(200)

    async with living(database_url, redis_url) as relay, Receiver(one_waits) as inbox:
        (subscription,) = await busy(relay, inbox, 1, 0)
        await post(relay, subscription, slow=True)
        async with delivering(relay):
            for _ in range(20):
                await post(relay, subscription)
            await all_ended(relay, 20)
            go_on.set()
            await all_ended(relay, 21)
