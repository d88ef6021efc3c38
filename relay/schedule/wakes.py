"""Hearing at once that something became due, instead of at the next tick."""

import asyncio
from contextlib import suppress

from redis.asyncio import Redis

from relay.clock import Clock
from relay.schedule.listener import Listener


class Wakes:
    """
    What a station's workers hear of each other, shared by all that wait in this process. While Redis is away it is
    silent: who waits then waits its whole time, which is short.
    """

    def __init__(self, redis: Redis, channel: str, clock: Clock) -> None:
        self._heard = asyncio.Event()
        self._listener = Listener(redis, channel, clock, lambda _message: self._heard.set())

    def forget(self) -> None:
        """What was heard up to now is about to be looked at."""
        self._heard.clear()

    async def wait(self, seconds: float) -> None:
        """Returns when something was heard since `forget`, at the latest after `seconds`."""
        self._listener.begin()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()

    async def close(self) -> None:
        """Ends the listener."""
        await self._listener.close()
