"""What is said once, by whichever worker comes first."""

import asyncio

from redis.asyncio import Redis

from relay.schedule import Noticeboard, UnknownWord
from relay.schedule.noticeboard import WORDS_KEPT_MAX

HOUR_MS = 3_600_000


async def test_of_many_that_would_say_a_thing_one_is_first(redis: Redis) -> None:
    boards = [Noticeboard(redis) for _ in range(10)]
    firsts = await asyncio.gather(*(board.is_first("no money", 60) for board in boards))
    assert sum(firsts) == 1
    assert await boards[0].is_first("something else", 60)


async def test_what_was_said_may_be_said_again_after_its_time(redis: Redis) -> None:
    board = Noticeboard(redis)
    assert await board.is_first("no money", 0.02)
    async with asyncio.timeout(5):
        while not await board.is_first("no money", 0.02):
            await asyncio.sleep(0.01)


async def test_since_is_the_first_time_until_it_is_forgotten(redis: Redis) -> None:
    board, other = Noticeboard(redis), Noticeboard(redis)
    assert await board.since_ms("host", 1000, 60) == 1000
    assert await other.since_ms("host", 1000 + HOUR_MS, 60) == 1000
    await other.forget_since("host")
    assert await board.since_ms("host", 5000, 60) == 5000


async def test_since_ends_by_itself_when_it_is_not_said_again(redis: Redis) -> None:
    board = Noticeboard(redis)
    await board.since_ms("host", 1, 60)
    await board.since_ms("host", 2, 30)
    [key] = await redis.keys("relay:since:*")
    assert 0 < await redis.pttl(key) <= 30_000


async def test_the_first_sample_of_a_word_is_kept_and_so_many_words_at_most(redis: Redis) -> None:
    board = Noticeboard(redis)
    assert await board.note_word("p", "marinating", {"body": "first"}, 1, 1000)
    assert not await board.note_word("p", "marinating", {"body": "second"}, 3, 5000)
    kept = [await board.note_word("p", f"word {number}", {}, 1, 2000) for number in range(WORDS_KEPT_MAX + 5)]
    assert sum(kept) == WORDS_KEPT_MAX - 1
    words = await board.unknown_words("p")
    assert len(words) == WORDS_KEPT_MAX
    assert words[0] == UnknownWord("marinating", 4, 5000, {"body": "first"})
    assert {one.count for one in words[1:]} == {1}
    assert await board.unknown_words("q") == []


async def test_words_are_forgotten_when_none_comes_any_more(redis: Redis) -> None:
    await Noticeboard(redis).note_word("p", "marinating", {}, 1, 1000)
    assert len([key for key in await redis.keys("relay:unknown:p*") if await redis.ttl(key) > 0]) == 3
