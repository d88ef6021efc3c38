"""A clock that waits a thousandth of what is asked, and remembers what that was."""

import asyncio
import time

from relay.clock import Clock


class Patience(Clock):
    """`pauses` in seconds, as they were asked for."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(max(0.0, seconds / 1000))

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        time.sleep(max(0.0, seconds / 1000))

    def dice(self) -> float:
        return 0.5
