"""Where more is due than may be leased: what dies first comes first, and what cannot be saved gives way."""

import random

import pytest

from relay.schedule import Done, Item, Later, Lease, Limits, Schedule
from tests.schedule.ticks import MakeSchedule, Ticks, ids, lease_all

DAY_MS = 86_400_000


@pytest.fixture
def deadlines(make_schedule: MakeSchedule) -> Schedule:
    """A schedule of deadlines that gives each group one at a time."""
    return make_schedule("deliver", Limits(concurrency=1), has_deadlines=True)


def dying(ticks: Ticks, in_ms: int, name: str = "", delay_ms: int = 0) -> Item:
    return Item("g", name or str(in_ms), delay_ms, str(ticks.now + in_ms))


async def drained(schedule: Schedule) -> list[str]:
    """All that is due, in the order in which it is leased, one at a time."""
    order = []
    while leases := await lease_all(schedule):
        order += ids(leases)
        await schedule.settle([Done(lease) for lease in leases])
    return order


async def test_what_dies_first_comes_first_whenever_it_became_due(deadlines: Schedule, ticks: Ticks) -> None:
    """A4."""
    lives = random.Random(7).sample(range(60_000, 90_000), 300)
    await deadlines.put([dying(ticks, life, delay_ms=place) for place, life in enumerate(lives)])
    ticks.pass_ms(10_000)
    assert await drained(deadlines) == [str(life) for life in sorted(lives)]


async def test_a_long_queue_is_in_order_after_few_visits(deadlines: Schedule, ticks: Ticks) -> None:
    lives = random.Random(8).sample(range(100_000, 900_000), 5000)
    await deadlines.put([dying(ticks, life, delay_ms=place) for place, life in enumerate(lives)])
    ticks.pass_ms(10_000)
    first = [lease.id for _ in range(3) for lease in await one_visit(deadlines)]
    rest = sorted(life for life in lives if str(life) not in first)
    assert [lease.id for _ in range(20) for lease in await one_visit(deadlines)] == [str(life) for life in rest[:20]]


async def one_visit(schedule: Schedule) -> list[Lease]:
    leases, _ = await schedule.lease(1, 60_000)
    await schedule.settle([Done(lease) for lease in leases])
    return leases


async def test_what_never_dies_follows_and_what_has_died_comes_after_it(deadlines: Schedule, ticks: Ticks) -> None:
    await deadlines.put([dying(ticks, 500, "dead"), Item("g", "old"), Item("g", "young", 5), dying(ticks, DAY_MS)])
    ticks.pass_ms(1000)
    assert await drained(deadlines) == [str(DAY_MS), "dead", "old", "young"]


async def test_what_dies_in_the_queue_gives_way_to_what_can_be_saved(deadlines: Schedule, ticks: Ticks) -> None:
    await deadlines.put([dying(ticks, life) for life in (1000, 2000, 3000, 4000)])
    [lease] = await lease_all(deadlines)
    assert lease.id == "1000"
    ticks.pass_ms(2500)
    await deadlines.settle([Done(lease)])
    assert await drained(deadlines) == ["3000", "4000", "2000"]


async def test_what_never_dies_is_not_put_off_for_ever(deadlines: Schedule, ticks: Ticks) -> None:
    await deadlines.put([Item("g", "patient"), dying(ticks, 60 * DAY_MS), dying(ticks, 20 * DAY_MS)])
    assert await drained(deadlines) == [str(20 * DAY_MS), "patient", str(60 * DAY_MS)]


async def test_who_waits_in_rank_is_due_and_may_be_put_dropped_and_counted(deadlines: Schedule, ticks: Ticks) -> None:
    await deadlines.put([dying(ticks, life) for life in (5000, 6000, 7000)])
    ticks.pass_ms(100)
    [lease] = await lease_all(deadlines)
    assert (lease.id, lease.late_ms) == ("5000", 0)
    assert await deadlines.due_in_ms("g", ["6000", "7000"]) == [0, 0]
    assert await deadlines.missing([("g", "6000"), ("g", "7000")]) == []
    await deadlines.put([dying(ticks, 6900, "6000", delay_ms=50)])
    assert await deadlines.due_in_ms("g", ["6000"]) == [0]
    assert await deadlines.drop("g", ["7000"]) == 1
    assert (await deadlines.counts()).due == 1
    await deadlines.settle([Later(lease, 0)])
    assert await drained(deadlines) == ["5000", "6000"]


async def test_where_all_may_be_leased_the_order_is_that_of_due_times(
    make_schedule: MakeSchedule, ticks: Ticks
) -> None:
    schedule = make_schedule("deliver", Limits(concurrency=3), has_deadlines=True)
    await schedule.put([dying(ticks, life) for life in (3000, 2000, 1000)])
    leases = await lease_all(schedule)
    assert [lease.late_ms for lease in leases] == [0, 0, 0]
    assert sorted(ids(leases)) == ["1000", "2000", "3000"]
