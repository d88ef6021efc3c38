"""The one place that asks what time it is, waits, and rolls dice; everything else is given the answers."""

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime

from relay.domain.ids import RANDOM_BYTES, Prefix, make_id
from relay.domain.moments import to_ms, whole_ms


class Clock:
    """The real one. Tests hand in their own with the same methods."""

    def now(self) -> datetime:
        """The present moment, aware, UTC, to the millisecond."""
        return whole_ms(datetime.now(UTC))

    def monotonic(self) -> float:
        """Seconds on a clock that never steps, for durations."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(max(0.0, seconds))

    def pause(self, seconds: float) -> None:
        """Wait that long, and the thread with it: for programs without an event loop."""
        time.sleep(max(0.0, seconds))

    def dice(self) -> float:
        """A uniform number in [0, 1), for jitter."""
        return random.random()

    def entropy(self, size_bytes: int) -> bytes:
        """Bytes that nobody can guess, for secrets."""
        return secrets.token_bytes(size_bytes)

    def new_id(self, prefix: Prefix) -> str:
        """A fresh id, sortable by the present moment."""
        return make_id(prefix, to_ms(self.now()), self.entropy(RANDOM_BYTES))
