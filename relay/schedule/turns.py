"""One at a time, over all processes: it is known who has a turn, and who comes second hears what the first has said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis

from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.schedule.connection import Script, answering

KEY_PREFIX = "relay:turn:"
TAKEN = "taken "
SAID = "said "
KEEP_MS = 5_000  # a turn whose holder died ends after this
KEEP_EVERY_SECONDS = 1.5


class Turn:
    """A turn that is ours; `word`, when set, is what others hear for `word_ms` after it has ended."""

    def __init__(self) -> None:
        self.word = ""
        self.word_ms = 0


class Turns:
    """
    Turns by name, kept in Redis alone: while it is away, and after a flush, two may have the same one. So nothing may
    depend on them but effort, and what is told to whoever waits.
    """

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._end = Script("end_turn", with_shared=False)

    @asynccontextmanager
    async def taking(self, name: str) -> AsyncIterator[Turn | None]:
        """The turn, ours until the block ends; None while somebody else has it, or has just said something."""
        key, mark, turn = KEY_PREFIX + name, TAKEN + self._clock.new_id("req"), Turn()
        try:
            with answering():
                is_ours = await self._redis.set(key, mark, nx=True, px=KEEP_MS)
        except Unreachable:
            yield turn
            return
        if not is_ours:
            yield None
            return
        keeping = asyncio.create_task(self._keep(key))
        try:
            yield turn
        finally:
            keeping.cancel()
            with suppress(Unreachable):  # then it runs out by itself
                await self._end.run(self._redis, [(key, (mark, SAID + turn.word if turn.word else "", turn.word_ms))])

    async def is_taken(self, name: str) -> bool:
        """True while somebody who lives has the turn. Raises Unreachable."""
        return (await self._told(name)).startswith(TAKEN)

    async def word(self, name: str) -> str:
        """What the last holder of the turn has said; "" for nothing, or when it is too long ago. Raises Unreachable."""
        told = await self._told(name)
        return told.removeprefix(SAID) if told.startswith(SAID) else ""

    async def _told(self, name: str) -> str:
        with answering():
            told: str | None = await self._redis.get(KEY_PREFIX + name)
        return told or ""

    async def _keep(self, key: str) -> None:
        while True:
            await self._clock.sleep(KEEP_EVERY_SECONDS)
            with suppress(Unreachable), answering():
                await self._redis.pexpire(key, KEEP_MS)
