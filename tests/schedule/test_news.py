"""What those who heard the same ask together: one question for all, and never an answer of before the news."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from relay.clock import Clock
from relay.schedule import News


@pytest.fixture
async def news(redis: Redis) -> AsyncIterator[News]:
    news = News(redis, Clock())
    yield news
    await news.close()


class Oracle:
    """Answers with how often it was asked before, once it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def ask(self) -> int:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        return number


async def test_those_who_ask_the_same_at_once_ask_once(news: News) -> None:
    oracle, other = Oracle(), Oracle()
    oracle.may_answer.set()
    other.may_answer.set()
    same = [news.ask_together("a", oracle.ask) for _ in range(100)]
    assert set(await asyncio.gather(*same, news.ask_together("b", other.ask))) == {1}
    assert (oracle.asked, other.asked) == (1, 1)
    assert await news.ask_together("a", oracle.ask) == 2


async def test_who_comes_while_it_is_asked_gets_the_answer_of_the_next_question(news: News) -> None:
    oracle = Oracle()
    first = asyncio.create_task(news.ask_together("a", oracle.ask))
    while not oracle.asked:
        await asyncio.sleep(0)
    later = [asyncio.create_task(news.ask_together("a", oracle.ask)) for _ in range(100)]
    await asyncio.sleep(0)
    assert oracle.asked == 1
    oracle.may_answer.set()
    assert await first == 1
    assert set(await asyncio.gather(*later)) == {2}


async def test_who_goes_away_takes_the_answer_from_nobody(news: News) -> None:
    oracle = Oracle()
    first, second = (asyncio.create_task(news.ask_together("a", oracle.ask)) for _ in range(2))
    while not oracle.asked:
        await asyncio.sleep(0)
    first.cancel()
    oracle.may_answer.set()
    assert await second == 1


async def test_a_failure_is_everybodys_and_the_next_question_is_asked_all_the_same(news: News) -> None:
    async def fail() -> int:
        raise LookupError

    told = await asyncio.gather(*(news.ask_together("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [LookupError] * 3
    oracle = Oracle()
    oracle.may_answer.set()
    assert await news.ask_together("a", oracle.ask) == 1
