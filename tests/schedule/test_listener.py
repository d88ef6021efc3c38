"""One ear for many: it ends when it is told to, at whatever moment that is."""

import asyncio

from redis.asyncio import Redis

from relay.clock import Clock
from relay.schedule.listener import LISTEN_SECONDS, Listener
from tests.trips import until

LISTENERS = 200


async def test_a_listener_ends_when_it_is_cancelled_once_whatever_it_does_at_that_moment(own_redis: Redis) -> None:
    # While they connect again the cancellation meets `wait_for`, which swallows it in Python 3.11.
    listeners = [Listener(own_redis, f"channel {number}", Clock(), lambda _: None) for number in range(LISTENERS)]
    for some in [listeners[start : start + 20] for start in range(0, LISTENERS, 20)]:
        for one in some:
            one.begin()
        await until(lambda some=some: all(one.is_hearing for one in some))
        await own_redis.client_kill_filter(_type="pubsub")
        for one in some:
            await asyncio.sleep(0.0002)
            assert one._task is not None
            one._task.cancel()
    tasks = [one._task for one in listeners if one._task is not None]
    _, left = await asyncio.wait(tasks, timeout=LISTEN_SECONDS * 2)
    assert not left
