"""What goes out beyond the paid request waits for its credential's budget, and stays here where that takes too long."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from relay.clock import Clock
from relay.egress import Answered, Egress, Guard, Outgoing, Unanswered
from relay.looking.meter import PATIENCE_SECONDS, UNMETERED_SECONDS, Meter
from relay.schedule import Limits, Schedule, connect
from tests.receivers import Receiver, answering, hanging_up, in_turn


@dataclass
class Waiting(Clock):
    """Notes how long it was asked to wait, and does not."""

    waited: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(Guard(["127.0.0.0/8"], allow_http=True), "relay/test (tests)") as made:
        yield made


def meter(egress: Egress, redis: Redis, clock: Clock, paid: int = 1) -> tuple[Meter, Schedule]:
    schedule = Schedule(redis, "poll", clock)
    return Meter(egress, schedule, clock, "crd_1", "acme", "look", "fetch", paid=paid), schedule


async def test_the_paid_request_goes_out_at_once_and_each_further_one_waits_for_its_turn(
    egress: Egress, redis: Redis
) -> None:
    clock = Waiting()
    sending, schedule = meter(egress, redis, clock)
    await schedule.limit("crd_1", Limits(interval_ms=2000, burst=1), "v")
    async with Receiver(answering(204)) as server:
        for _ in range(4):
            assert isinstance(await sending.send(Outgoing("GET", server.url())), Answered)
    assert len(server.calls) == 4
    assert len(clock.waited) == 2  # the first unpaid one is the rate's first
    assert 1.5 <= clock.waited[0] <= 2.0
    assert 3.5 <= clock.waited[1] <= 4.0


async def test_what_would_have_to_wait_too_long_is_not_sent(egress: Egress, redis: Redis) -> None:
    sending, schedule = meter(egress, redis, Waiting())
    await schedule.hold("crd_1", round(PATIENCE_SECONDS * 1000) + 5000)
    async with Receiver(answering(204)) as server:
        assert isinstance(await sending.send(Outgoing("GET", server.url())), Answered)
        assert not sending.is_spent
        refused = await sending.send(Outgoing("GET", server.url()))
    assert isinstance(refused, Unanswered)
    assert (refused.blame, refused.was_sent) == ("relay", False)
    assert sending.is_spent
    assert len(server.calls) == 1


async def test_what_a_kept_connection_has_lost_is_paid_for_before_it_goes_out_again(
    egress: Egress, redis: Redis
) -> None:
    clock = Waiting()
    sending, schedule = meter(egress, redis, clock, paid=2)
    await schedule.limit("crd_1", Limits(interval_ms=2000, burst=1), "v")
    await schedule.reserve("crd_1", 0)  # the rate's first, so that whatever else is asked for must wait
    async with Receiver(in_turn(answering(204), hanging_up(), answering(201))) as server:
        await sending.send(Outgoing("GET", server.url()))
        said = await sending.send(Outgoing("GET", server.url()))
    assert isinstance(said, Answered)
    assert (said.status_code, [call.connection for call in server.calls]) == (201, [1, 1, 2])
    (waited,) = clock.waited
    assert 1.5 <= waited <= 2.0


async def test_what_a_kept_connection_has_lost_stays_here_where_the_budget_is_used_up(
    egress: Egress, redis: Redis
) -> None:
    sending, schedule = meter(egress, redis, Waiting(), paid=2)
    await schedule.hold("crd_1", round(PATIENCE_SECONDS * 1000) + 5000)
    async with Receiver(in_turn(answering(204), hanging_up(), answering(201))) as server:
        await sending.send(Outgoing("GET", server.url()))
        said = await sending.send(Outgoing("GET", server.url()))
    assert isinstance(said, Unanswered)
    assert (said.reason, said.was_sent, sending.is_spent, len(server.calls)) == ("reset", True, True, 2)


async def test_a_connection_that_is_closed_over_and_over_costs_one_more_request_and_no_third(
    egress: Egress, redis: Redis
) -> None:
    sending, _ = meter(egress, redis, Waiting(), paid=9)
    async with Receiver(in_turn(answering(204), hanging_up())) as server:
        await sending.send(Outgoing("GET", server.url()))
        said = await sending.send(Outgoing("GET", server.url()))
    assert isinstance(said, Unanswered)
    assert (said.reason, len(server.calls)) == ("reset", 3)


async def test_while_redis_is_away_requests_go_out_slowly(egress: Egress) -> None:
    clock, nowhere = Waiting(), connect("redis://127.0.0.1:1/0")
    sending, _ = meter(egress, nowhere, clock, paid=0)
    async with Receiver(answering(204)) as server:
        assert isinstance(await sending.send(Outgoing("GET", server.url())), Answered)
    assert clock.waited == [UNMETERED_SECONDS]
    await nowhere.aclose()
