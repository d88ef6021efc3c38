"""One subscription to a channel of Redis, kept up through everything, for whoever wants to hear and not to ask."""

import asyncio
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NoAnswer

from relay.clock import Clock
from relay.tasks import end, is_cancelled

LISTEN_SECONDS = 5.0  # without a word; then the server is asked for one
RECONNECT_MIN_SECONDS = 0.1
RECONNECT_MAX_SECONDS = 2.0
LATE_SECONDS = 1.0  # a PING answered later than this: the server hung, and what others told it meanwhile is lost

log = structlog.get_logger(__name__)


class Listener:
    """
    Calls `heard` with each message, and with None when something may have been missed: at the start and after every
    time that Redis was away or hung.
    """

    def __init__(self, redis: Redis, channel: str, clock: Clock, heard: Callable[[str | None], None]) -> None:
        self._redis = redis
        self._channel = channel
        self._clock = clock
        self._heard = heard
        self._task: asyncio.Task[None] | None = None
        self._is_subscribed = False
        self._asked_at: float | None = None

    @property
    def is_hearing(self) -> bool:
        """False while something may be missed."""
        return self._is_subscribed and not self._is_late

    @property
    def _is_late(self) -> bool:
        return self._asked_at is not None and self._clock.monotonic() - self._asked_at > LATE_SECONDS

    def begin(self) -> None:
        """Listens from now on, if it does not already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name=f"listening on {self._channel}")

    async def close(self) -> None:
        """Listens no more."""
        if self._task is not None:
            await end([self._task])
        self._task = None

    async def _listen(self) -> None:
        pause_seconds = RECONNECT_MIN_SECONDS
        while not is_cancelled():
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    pause_seconds = RECONNECT_MIN_SECONDS
                    await self._listen_on(subscription)
            except (RedisError, OSError) as error:
                log.info("listening_interrupted", channel=self._channel, reason=str(error))
            finally:
                self._is_subscribed, self._asked_at = False, None
            await self._clock.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, RECONNECT_MAX_SECONDS)

    async def _listen_on(self, subscription: PubSub) -> None:
        while not is_cancelled():
            message = await subscription.get_message(timeout=LISTEN_SECONDS)
            if message is not None:
                has_missed = self._is_late or message["type"] == "subscribe"
                self._is_subscribed, self._asked_at = True, None
                if has_missed:
                    self._heard(None)
                if message["type"] == "message":
                    self._heard(message["data"])
            elif self._asked_at is not None:
                raise NoAnswer("no answer to a PING")
            else:
                self._asked_at = self._clock.monotonic()
                await subscription.ping()
