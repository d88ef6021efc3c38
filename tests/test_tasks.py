"""Tasks end when they are told to, also those that swallow what tells them."""

import asyncio

import pytest

from relay.tasks import end, is_cancelled


async def deaf(times: int) -> int:
    """Swallows so many cancellations, and gives how many it has heard of afterwards."""
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    return times


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_task_ends_however_often_it_swallows_the_cancellation(times: int) -> None:
    hearing, swallowing = asyncio.create_task(asyncio.Event().wait()), asyncio.create_task(deaf(times))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end([hearing, swallowing])
    assert hearing.cancelled()
    assert swallowing.result() == times


async def test_nothing_is_awaited_where_all_have_ended() -> None:
    await end([])
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await end([done])
    assert not done.cancelled()


async def test_a_swallowed_cancellation_is_still_known() -> None:
    is_told = []

    async def swallow() -> None:
        is_told.append(is_cancelled())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            is_told.append(is_cancelled())

    task = asyncio.create_task(swallow())
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert is_told == [False, True]
