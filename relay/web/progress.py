"""What is due and lies idle, for all who tell of it: none of them may say that all is well where another does not."""

import asyncio
from datetime import datetime
from typing import NamedTuple

from relay.bootstrap import Relay


class Idle(NamedTuple):
    """How many things of a station are due now, and for how many seconds the oldest has been."""

    due: int
    oldest_seconds: float


class Progress(NamedTuple):
    """
    What lies idle at each station. `is_lost`: Redis has forgotten the schedule and no worker has rebuilt it yet, so
    what nobody has put there again is overdue for as long as this process knows of that.
    """

    polls: Idle
    deliveries: Idle
    is_lost: bool


async def progress(relay: Relay) -> Progress:
    """Asks Redis, and the database where Redis cannot know. Raises Unreachable when one of them does not answer."""
    polls, deliveries, lost_seconds = await asyncio.gather(
        relay.polls.overdue(), relay.deliveries.overdue(), relay.epoch.lost_seconds()
    )
    if not lost_seconds:
        return Progress(Idle(*polls), Idle(*deliveries), is_lost=False)
    oldest, now = await relay.store.oldest_pending(), relay.clock.now()
    return Progress(
        _forgotten(Idle(*polls), oldest.job, now, lost_seconds),
        _forgotten(Idle(*deliveries), oldest.delivery, now, lost_seconds),
        is_lost=True,
    )


def _forgotten(told: Idle, created_at: datetime | None, now: datetime, lost_seconds: float) -> Idle:
    """What Redis told, and beside it what it has forgotten; nothing is idle for longer than there was something."""
    if created_at is None:
        return told
    idle_seconds = min(lost_seconds, (now - created_at).total_seconds())
    return told._replace(oldest_seconds=max(told.oldest_seconds, idle_seconds))
