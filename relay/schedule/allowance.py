"""How often somebody may ask, over all processes together; a courtesy that stands aside while Redis is away."""

import asyncio
from typing import NamedTuple

from redis.asyncio import Redis

from relay.domain.errors import Unreachable
from relay.schedule.connection import Script

KEY_PREFIX = "relay:allowance:"
ANSWER_SECONDS_MAX = 0.25  # then whoever asked goes on; what was asked for is counted all the same, only late


class Verdict(NamedTuple):
    """Whether this one is allowed, how many more are at once, and the milliseconds until there is room (again)."""

    is_allowed: bool
    remaining: int
    wait_ms: int


class Allowance:
    """`per_second` requests of each name, `burst` of them at once."""

    def __init__(self, redis: Redis, per_second: float, burst: int) -> None:
        self._redis = redis
        self._interval_ms = 1000 / per_second
        self.per_second = per_second
        self.burst = burst
        self._allow = Script("allow", with_shared=False)
        self._asking: set[asyncio.Task[Verdict]] = set()

    async def take(self, name: str) -> Verdict:
        """One request of that name."""
        # Not broken off when it takes too long: that would cost its connection, and a busy process more of them.
        asking = asyncio.create_task(self._ask(name))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        await asyncio.wait([asking], timeout=ANSWER_SECONDS_MAX)
        return asking.result() if asking.done() else self._all()

    async def _ask(self, name: str) -> Verdict:
        try:
            (told,) = await self._allow.run(self._redis, [(KEY_PREFIX + name, (self._interval_ms, self.burst))])
        except Unreachable:
            return self._all()
        return Verdict(bool(told[0]), told[1], told[2])

    def _all(self) -> Verdict:
        return Verdict(True, self.burst, 0)
