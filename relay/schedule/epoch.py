"""Noticing that Redis forgot: it was flushed, replaced or restarted, and due times must be rebuilt from the facts."""

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from relay.clock import Clock
from relay.schedule.connection import Script, answering

SENTINEL = "relay:epoch"
REBUILDING = "rebuilding "


class Epoch:
    """
    A key that holds the run id of the server that the schedule was built on. `is_lost()` before rebuilding, `mark()`
    after it; a flush in between undoes the first, so the second has no effect and the loss is noticed again.
    """

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._mark = Script("mark", with_shared=False)
        self._seen_lost_at: float | None = None  # monotonic

    async def is_lost(self) -> bool:
        """True until somebody has called `mark()` on this run of the server."""
        run_id = await self._run_id()
        with answering():
            if await self._redis.get(SENTINEL) == run_id:
                return False
            await self._redis.set(SENTINEL, REBUILDING + run_id)
        return True

    async def mark(self) -> bool:
        """The schedule is whole. False when it was lost again since `is_lost()`."""
        run_id = await self._run_id()
        answers = await self._mark.run(self._redis, [(SENTINEL, (REBUILDING + run_id, run_id))])
        return answers == [1]

    async def lost_seconds(self) -> float:
        """For how long this process knows that the schedule is lost and not whole again; 0: it is. Changes nothing."""
        run_id = await self._run_id()
        with answering():
            is_whole = await self._redis.get(SENTINEL) == run_id
        now = self._clock.monotonic()
        if is_whole:
            self._seen_lost_at = None
            return 0.0
        if self._seen_lost_at is None:
            self._seen_lost_at = now
        return now - self._seen_lost_at

    async def _run_id(self) -> str:
        try:
            with answering():
                about: dict[str, Any] = await self._redis.info("server")
        except ResponseError:  # INFO is forbidden here: a flush is noticed all the same, a restart with old data is not
            return "unknown"
        return str(about.get("run_id", "unknown"))
