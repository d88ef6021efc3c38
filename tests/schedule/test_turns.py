"""Turns: one at a time over all processes, heard of by those who come second, and no longer than their holder lives."""

import asyncio

import pytest
from redis.asyncio import Redis

from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.schedule import Turns, connect
from relay.schedule.turns import KEEP_MS, KEY_PREFIX

NOWHERE = "unix:///nowhere/redis.sock"


@pytest.fixture
def turns(redis: Redis) -> Turns:
    return Turns(redis, Clock())


class HastyClock(Clock):
    """Waits a hundredth of what it is asked to."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


async def test_a_turn_is_taken_by_one_at_a_time_and_free_again_after_it(turns: Turns, redis: Redis) -> None:
    other = Turns(redis, Clock())
    async with turns.taking("a") as turn:
        assert turn is not None
        assert await other.is_taken("a")
        async with other.taking("a") as second, other.taking("b") as unrelated:
            assert second is None
            assert unrelated is not None
        assert await other.is_taken("a")
    assert not await other.is_taken("a")
    async with other.taking("a") as turn:
        assert turn is not None
    assert await redis.keys("relay:turn:*") == []


async def test_what_the_holder_says_is_heard_for_a_while_in_which_the_turn_is_not_given_again(turns: Turns) -> None:
    async with turns.taking("a") as turn:
        assert turn is not None
        turn.word, turn.word_ms = "taken as read", 150
        assert await turns.word("a") == ""
    assert await turns.word("a") == "taken as read"
    assert not await turns.is_taken("a")
    async with turns.taking("a") as turn:
        assert turn is None
    async with asyncio.timeout(5):
        while await turns.word("a"):
            await asyncio.sleep(0.01)
    async with turns.taking("a") as turn:
        assert turn is not None


async def test_a_turn_is_kept_while_its_holder_lives_and_runs_out_when_it_died(redis: Redis) -> None:
    turns = Turns(redis, HastyClock())
    async with turns.taking("a"):
        await redis.pexpire(KEY_PREFIX + "a", 40)
        await asyncio.sleep(0.15)
        assert await turns.is_taken("a")
        assert 0 < await redis.pttl(KEY_PREFIX + "a") <= KEEP_MS


async def test_a_turn_that_ran_out_and_was_taken_by_another_is_left_alone(turns: Turns, redis: Redis) -> None:
    async with turns.taking("a") as turn:
        assert turn is not None
        turn.word, turn.word_ms = "too late", 1000
        await redis.delete(KEY_PREFIX + "a")
        other = Turns(redis, Clock()).taking("a")
        assert await other.__aenter__() is not None
    assert await turns.is_taken("a")
    assert await turns.word("a") == ""
    await other.__aexit__(None, None, None)


async def test_an_error_in_the_turn_ends_it_and_is_not_hidden(turns: Turns) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with turns.taking("a"):
            raise ValueError("mine")
    assert not await turns.is_taken("a")


async def test_while_redis_is_away_everybody_has_the_turn() -> None:
    away = connect(NOWHERE)
    turns = Turns(away, Clock())
    async with turns.taking("a") as first, turns.taking("a") as second:
        assert first is not None
        assert second is not None
    with pytest.raises(Unreachable):
        await turns.is_taken("a")
    with pytest.raises(Unreachable):
        await turns.word("a")
    await away.aclose()
