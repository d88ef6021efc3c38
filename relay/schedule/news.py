"""What happened to whom, told to every process, so that a client can wait without anybody asking the database."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from relay.clock import Clock
from relay.schedule.listener import Listener

CHANNEL = "relay:news"
TOPICS_PER_MESSAGE = 500


class News:
    """Topics are ids and tenants; what is said while nobody listens is lost, and nothing depends on it."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._listener = Listener(redis, CHANNEL, clock, self._spread)
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def tell(self, topics: Collection[str]) -> None:
        """Tells of these; silent when Redis is away, for those who wait look again by themselves."""
        told = sorted(set(topics))
        for start in range(0, len(told), TOPICS_PER_MESSAGE):
            with suppress(RedisError, OSError):
                await self._redis.publish(CHANNEL, "\n".join(told[start : start + TOPICS_PER_MESSAGE]))

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

    async def close(self) -> None:
        """Ends the listener."""
        await self._listener.close()

    def _spread(self, message: str | None) -> None:
        self.wake(self.topics() if message is None else message.split("\n"))
