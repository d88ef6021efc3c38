"""`Retry-After`: honoured in full, for all of a subscription where it speaks for all, and followed by a gentle ramp."""

import asyncio
from datetime import timedelta
from email.utils import format_datetime

import pytest
from redis.asyncio import Redis

from relay.domain.delivery import DeliveryStatus
from tests.deliver.posts import all_ended, attempts, delivering, ended, found, post, standing, subscribe
from tests.receivers import Call, Receiver, Wire, answering, in_turn
from tests.trips import living, until


@pytest.mark.parametrize("status_code", [429, 503])
async def test_it_holds_all_of_the_subscription_and_nobody_else(
    status_code: int, database_url: str, redis_url: str
) -> None:
    """D15."""
    behaviour = in_turn(answering(status_code, {"retry-after": "1"}), answering(200))
    async with (
        living(database_url, redis_url, RELAY_RETRY_SCHEDULE="0.1,0.1") as relay,
        Receiver(behaviour) as busy,
        Receiver(answering(200)) as idle,
    ):
        held, free = await subscribe(relay, busy), await subscribe(relay, idle)
        async with delivering(relay):
            first = await post(relay, held)
            (throttled,) = await attempts(relay, first)
            for _ in range(10):
                await post(relay, held)
                await post(relay, free)
            await idle.heard(10)
            assert len(busy.calls) == 1
            await all_ended(relay, 21)
        since = (await attempts(relay, first, 2))[1].started_at - throttled.started_at
        assert since.total_seconds() >= 1.0
        until_moment = (await standing(relay, held)).hold_until
        assert until_moment is not None


async def test_the_ramp_back_begins_with_one_call_and_doubles(database_url: str, redis_url: str) -> None:
    """D15."""
    ramp = Ramp()
    async with living(database_url, redis_url, RELAY_RETRY_SCHEDULE="0.1") as relay, Receiver(ramp.answer) as inbox:
        subscription = await subscribe(relay, inbox)
        async with delivering(relay):
            await attempts(relay, await post(relay, subscription))
            for _ in range(40):
                await post(relay, subscription)
            await all_ended(relay, 41)
    assert ramp.peaks[:3] == [1, 2, 4]
    assert max(ramp.peaks) > 4


class Ramp:
    """Throttles the first call, and then counts how many calls wait at once before it answers them all."""

    def __init__(self) -> None:
        self.peaks: list[int] = []
        self._waiting = 0
        self._is_throttled = False
        self._go = asyncio.Event()

    async def answer(self, _: Call, wire: Wire) -> None:
        if not self._is_throttled:
            self._is_throttled = True
            await wire.respond(429, {"retry-after": "0.5"})
            return
        self._waiting += 1
        go = self._go
        if self._waiting == 1:
            asyncio.get_running_loop().call_later(0.25, self._let_go)
        await go.wait()
        await wire.respond(200)

    def _let_go(self) -> None:
        self.peaks.append(self._waiting)
        self._waiting = 0
        self._go.set()
        self._go = asyncio.Event()


async def test_a_hold_outlives_a_flush_of_redis(database_url: str, redis_url: str, redis: Redis) -> None:
    """D15 and D19."""
    behaviour = in_turn(answering(429, {"retry-after": "2"}), answering(200))
    async with living(database_url, redis_url, RELAY_RETRY_SCHEDULE="0.1") as relay, Receiver(behaviour) as inbox:
        subscription = await subscribe(relay, inbox)
        first = await post(relay, subscription)
        async with delivering(relay):
            (throttled,) = await attempts(relay, first)
            await redis.flushall()
            await post(relay, subscription)  # at once, before anybody has noticed
            await all_ended(relay, 2)
        made = await attempts(relay, first, 2)
        assert len(inbox.calls) == 3
        assert (made[1].started_at - throttled.started_at).total_seconds() >= 2.0


@pytest.mark.parametrize(
    ("said", "least_seconds", "most_seconds"),
    [
        ("600", 600, 601),
        ("90.5", 90.5, 91.5),
        ("date", 298, 301),
        ("past", 5 * 0.8, 5 * 1.2),
        ("-3", 5 * 0.8, 5 * 1.2),
        ("soon", 5 * 0.8, 5 * 1.2),
        ("999999999", 3600, 3601),
    ],
)
async def test_every_spelling_of_it_is_understood_or_passed_over(
    said: str, least_seconds: float, most_seconds: float, database_url: str, redis_url: str
) -> None:
    """D14."""
    async with living(database_url, redis_url, RELAY_RETRY_SCHEDULE="5,5") as relay:
        now = relay.clock.now()
        dates = {"date": format_datetime(now + timedelta(seconds=300), usegmt=True)}
        dates["past"] = format_datetime(now - timedelta(days=1), usegmt=True)
        async with Receiver(answering(500, {"retry-after": dates.get(said, said)})) as inbox:
            delivery = await post(relay, await subscribe(relay, inbox))
            async with delivering(relay):
                (attempt,) = await attempts(relay, delivery)
            after = await found(relay, delivery)
            assert after.next_attempt_at is not None
            wait = (after.next_attempt_at - attempt.started_at).total_seconds()
            assert least_seconds <= wait <= most_seconds + 2  # the call itself, on a busy machine
            [due_ms] = await relay.deliveries.due_in_ms(delivery.subscription_id, [delivery.id])
            assert due_ms is not None
            assert due_ms > (least_seconds - 5) * 1000


async def test_on_other_failures_it_holds_the_one_delivery_alone(database_url: str, redis_url: str) -> None:
    """D14."""
    behaviour = in_turn(answering(500, {"retry-after": "3600"}), answering(200))
    async with living(database_url, redis_url, RELAY_RETRY_SCHEDULE="0.1") as relay, Receiver(behaviour) as inbox:
        subscription = await subscribe(relay, inbox, max_in_flight=1)
        first = await post(relay, subscription)
        async with delivering(relay):
            await attempts(relay, first)
            await ended(relay, await post(relay, subscription))
        assert (await found(relay, first)).status is DeliveryStatus.PENDING
        assert (await standing(relay, subscription)).hold_until is None
        await until(lambda: len(inbox.calls) == 2)
