"""Hearing at once that something became due, instead of at the next tick."""

import asyncio
from contextlib import suppress

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NoAnswer

from relay.clock import Clock

LISTEN_SECONDS = 5.0  # without a word; then the server is asked for one
RECONNECT_MIN_SECONDS = 0.1
RECONNECT_MAX_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Wakes:
    """
    One subscription to `channel`, shared by all that wait in this process and kept up by one task. While Redis is
    away it is silent: who waits then waits its whole time, which is short.
    """

    def __init__(self, redis: Redis, channel: str, clock: Clock) -> None:
        self._redis = redis
        self._channel = channel
        self._clock = clock
        self._heard = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """What was heard up to now is about to be looked at."""
        self._heard.clear()

    async def wait(self, seconds: float) -> None:
        """Returns when something was heard since `forget`, at the latest after `seconds`."""
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen(), name=f"wakes {self._channel}")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()

    async def close(self) -> None:
        """Ends the listener."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
            self._listener = None

    async def _listen(self) -> None:
        pause_seconds = RECONNECT_MIN_SECONDS
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    pause_seconds = RECONNECT_MIN_SECONDS
                    await self._listen_on(subscription)
            except (RedisError, OSError) as error:
                log.info("wakes_interrupted", channel=self._channel, reason=str(error))
            await self._clock.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, RECONNECT_MAX_SECONDS)

    async def _listen_on(self, subscription: PubSub) -> None:
        is_asked = False
        while True:
            message = await subscription.get_message(timeout=LISTEN_SECONDS)
            if message is not None:
                is_asked = False
                # Being subscribed, also again, is news: something may have been missed before it.
                if message["type"] != "pong":
                    self._heard.set()
            elif is_asked:
                raise NoAnswer("no answer to a PING")
            else:
                is_asked = True
                await subscription.ping()
