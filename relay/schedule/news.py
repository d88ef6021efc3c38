"""What happened to whom, told to every process, so that a client can wait without anybody asking the database."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from relay.clock import Clock
from relay.schedule.listener import Listener

CHANNEL = "relay:news"
TOPICS_PER_MESSAGE = 500

T = TypeVar("T")


class News:
    """Topics are ids and tenants; what is said while nobody listens is lost, and nothing depends on it."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._listener = Listener(redis, CHANNEL, clock, self._spread)
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._to_ask: dict[Hashable, asyncio.Task[Any]] = {}
        self._asking: dict[Hashable, asyncio.Task[Any]] = {}

    @property
    def is_hearing(self) -> bool:
        """False while news may be missed: Redis is away or hangs, or nobody has waited yet."""
        return self._listener.is_hearing

    async def tell(self, topics: Collection[str]) -> None:
        """
        Tells of these. While Redis is away only this process hears of it; those who wait in others look again by
        themselves.
        """
        told = sorted(set(topics))
        for start in range(0, len(told), TOPICS_PER_MESSAGE):
            some = told[start : start + TOPICS_PER_MESSAGE]
            try:
                await self._redis.publish(CHANNEL, "\n".join(some))
            except (RedisError, OSError):
                self.wake(some)

    @contextmanager
    def watching(self, topic: str) -> Iterator[asyncio.Event]:
        """
        An event that is set as soon as there is news of the topic, or may have been. Look at the facts inside, not
        before: what happens between a look and the wait is then not missed.
        """
        heard = asyncio.Event()
        self._waiting[topic].add(heard)
        self._listener.begin()
        try:
            yield heard
        finally:
            self._waiting[topic].discard(heard)
            if not self._waiting[topic]:
                del self._waiting[topic]

    def topics(self) -> list[str]:
        """What somebody in this process waits for at present."""
        return list(self._waiting)

    def wake(self, topics: Collection[str]) -> None:
        """Wakes those who wait for these in this process."""
        for topic in topics:
            for heard in self._waiting.get(topic, ()):
                heard.set()

    async def ask_together(self, question: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """
        The answer to a question that all who heard the same news have at once, asked for all of them together. Nobody
        gets an answer that was asked for before he came: who comes while it is being asked waits for the next one.
        """
        task: asyncio.Task[T] | None = self._to_ask.get(question)
        if task is None:
            task = asyncio.create_task(self._ask_in_turn(question, ask, self._asking.get(question)))
            self._to_ask[question] = task
            task.add_done_callback(_note_failure)
        # Shielded: who goes away must not take the answer from those who stay.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends the listener."""
        await self._listener.close()

    def _spread(self, message: str | None) -> None:
        self.wake(self.topics() if message is None else message.split("\n"))

    async def _ask_in_turn(
        self, question: Hashable, ask: Callable[[], Awaitable[T]], before: asyncio.Task[Any] | None
    ) -> T:
        if before is not None:
            await asyncio.wait([before])
        own = self._asking[question] = self._to_ask.pop(question)
        try:
            return await ask()
        finally:
            if self._asking[question] is own:
                del self._asking[question]


def _note_failure(task: asyncio.Task[Any]) -> None:
    # Told to those who still wait; when nobody does, asyncio would call it lost.
    if not task.cancelled():
        task.exception()
