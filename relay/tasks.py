"""Tasks that end when they are told to, though a cancellation can be swallowed on its way."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 0.5  # long enough for who has heard it to put things away


def is_cancelled() -> bool:
    """
    True for a task that somebody wants ended, also where the cancellation itself was swallowed: `asyncio.wait_for`
    does so before Python 3.12 when what it waits for comes at the same moment, and redis-py uses it to write.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancels the tasks, and again until all have ended: what swallows a cancellation may wait for long afterwards."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
