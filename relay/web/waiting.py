"""Long polling: a request that waits for news without asking the database while there is none."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from relay.bootstrap import Relay
from relay.domain.errors import Unreachable

RECHECK_SECONDS = 5.0  # how late news that Redis did not bring is found, by one query for all who wait
FEED_PAUSES_SECONDS = (0.05, 0.2, 0.5)  # an event is told of when it is committed, and shown once none can overtake it
JOB_PREFIX = "job_"

T = TypeVar("T")


async def until(
    relay: Relay, topic: str, seconds: float, look: Callable[[], Awaitable[T]], is_enough: Callable[[T], bool]
) -> T:
    """
    What `look` finds, as soon as that is enough, at the latest after `seconds`; looks again only at news, and once more
    at the end when there may have been some that nobody heard.
    """
    ends = relay.clock.monotonic() + seconds
    with relay.news.watching(topic) as heard:
        found = await look()
        while not is_enough(found) and (left := ends - relay.clock.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await heard.wait()
            if not heard.is_set():
                break
            heard.clear()
            found = await _patiently(relay, look, is_enough, ends)
        if not is_enough(found) and not relay.news.is_hearing:
            found = await look()
    return found


async def _patiently(relay: Relay, look: Callable[[], Awaitable[T]], is_enough: Callable[[T], bool], ends: float) -> T:
    found = await look()
    for pause_seconds in FEED_PAUSES_SECONDS:
        if is_enough(found) or relay.clock.monotonic() + pause_seconds > ends:
            break
        await relay.clock.sleep(pause_seconds)
        found = await look()
    return found


async def recheck(relay: Relay) -> None:
    """
    Finds what Redis could not tell: one query for all the jobs that somebody here waits for; and while nothing can be
    heard, whoever waits for another thing is sent to look.
    """
    while True:
        await relay.clock.sleep(RECHECK_SECONDS)
        topics = relay.news.topics()
        waited_for = [topic for topic in topics if topic.startswith(JOB_PREFIX)]
        if not relay.news.is_hearing:
            relay.news.wake([topic for topic in topics if not topic.startswith(JOB_PREFIX)])
        if not waited_for:
            continue
        try:
            jobs = await relay.store.load_jobs(waited_for)
        except Unreachable:
            continue  # the next round asks again
        relay.news.wake([topic for topic in waited_for if topic not in jobs or jobs[topic].has_ended])
