"""What a group may have: so many at once, so many a second, nothing while it is held; whoever asks."""

from math import ceil

import pytest
from redis.asyncio import Redis

from relay.schedule import Done, Item, Later, Limits, Schedule
from tests.schedule.ticks import LEASE_MS, MakeSchedule, Ticks, ids, lease_all

STEP_MS = 20
WINDOW_MS = 10_000


def many(group: str, count: int = 1000) -> list[Item]:
    return [Item(group, str(number)) for number in range(count)]


async def test_no_more_than_its_concurrency_is_in_flight(make_schedule: MakeSchedule, ticks: Ticks) -> None:
    first, second = make_schedule(), make_schedule()
    await first.limit("g", Limits(concurrency=3), "v")
    await first.put(many("g"))
    held = [*(await first.lease(2, LEASE_MS))[0], *await lease_all(second)]
    assert len(held) == 3
    assert await first.lease(10, LEASE_MS) == ([], 1.0)
    assert await first.settle([Done(held[0]), Later(held[1], 60_000)]) == 2
    assert len(await lease_all(second)) == 2
    ticks.pass_ms(LEASE_MS)
    assert len(await lease_all(first)) == 3  # what ran out is in flight no more


async def test_a_group_that_has_all_it_may_have_is_not_said_to_have_more(schedule: Schedule) -> None:
    await schedule.limit("g", Limits(concurrency=1), "v")
    await schedule.put(many("g", 2))
    leases, wait_seconds = await schedule.lease(1, LEASE_MS)
    assert len(leases) == 1
    assert wait_seconds == 1.0


async def test_a_dropped_lease_makes_room(schedule: Schedule) -> None:
    await schedule.limit("g", Limits(concurrency=1), "v")
    await schedule.put(many("g", 3))
    [lease] = await lease_all(schedule)
    await schedule.drop("g", [lease.id])
    assert len(await lease_all(schedule)) == 1


@pytest.mark.parametrize("rate", [0.7, 5, 50, 333])
async def test_two_workers_together_keep_to_one_budget(make_schedule: MakeSchedule, ticks: Ticks, rate: float) -> None:
    workers = [make_schedule(), make_schedule()]
    await workers[0].limit("g", Limits.per_second(rate), "v")
    await workers[0].put(many("g", ceil(rate * 40)))
    moments: list[int] = []
    for _ in range(30_000 // STEP_MS):
        for worker in workers:
            leases = await lease_all(worker, want=40)
            moments += [ticks.now] * len(leases)
            await worker.settle([Done(lease) for lease in leases])
        ticks.pass_ms(STEP_MS)
    for start in range(moments[0], moments[0] + 20_000, 100):
        count = sum(start <= moment < start + WINDOW_MS for moment in moments)
        assert rate * 10 * 0.9 - 1 <= count <= max(rate * 10 * 1.05, ceil(rate * 10))


async def test_a_burst_comes_at_once_and_the_rest_at_its_rate(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.limit("g", Limits(interval_ms=100, burst=5), "v")
    await schedule.put(many("g"))
    leases, wait_seconds = await schedule.lease(100, LEASE_MS)
    assert len(leases) == 5
    assert wait_seconds == 0.1
    for _ in range(5):
        ticks.pass_ms(100)
        assert len(await lease_all(schedule)) == 1
    ticks.pass_ms(250)
    assert len(await lease_all(schedule)) == 2


async def test_a_restarted_rate_allows_its_burst_again(schedule: Schedule) -> None:
    await schedule.limit("g", Limits(interval_ms=1000, burst=2), "v")
    await schedule.put(many("g"))
    assert len(await lease_all(schedule)) == 2
    await schedule.restart_rate("g")
    assert len(await lease_all(schedule)) == 2


async def test_new_limits_hold_from_now_on(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.limit("g", Limits(concurrency=1), "v1")
    await schedule.put(many("g"))
    assert [lease.version for lease in await lease_all(schedule)] == ["v1"]
    await schedule.limit("g", Limits(concurrency=4), "v2")
    assert [lease.version for lease in await lease_all(schedule)] == ["v2"] * 3


async def test_who_was_given_no_limits_has_the_default_ones(make_schedule: MakeSchedule) -> None:
    schedule = make_schedule(limits=Limits(concurrency=7))
    await schedule.put([*many("g"), *many("h")])
    await schedule.limit("h", Limits(), "v")
    leases = await lease_all(schedule)
    assert sum(lease.group == "g" for lease in leases) == 7
    assert sum(lease.group == "h" for lease in leases) == 1000
    assert {lease.version for lease in leases if lease.group == "g"} == {""}


async def test_a_held_group_is_never_leased(make_schedule: MakeSchedule, ticks: Ticks) -> None:
    first, second = make_schedule(), make_schedule()
    await first.put([*many("g", 10), Item("h", "a")])
    await first.hold("g", 700)
    leases, wait_seconds = await second.lease(100, LEASE_MS)
    assert ids(leases) == ["a"]
    assert wait_seconds == 0.7
    await second.put(many("g", 20))
    ticks.pass_ms(699)
    assert await lease_all(first) == []
    ticks.pass_ms(1)
    assert len(await lease_all(first)) == 20


async def test_a_hold_only_ever_lengthens(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put(many("g", 1))
    await schedule.hold("g", 1000)
    await schedule.hold("g", 200)
    ticks.pass_ms(999)
    assert await lease_all(schedule) == []
    await schedule.hold("g", 500)
    ticks.pass_ms(499)
    assert await lease_all(schedule) == []
    ticks.pass_ms(1)
    assert len(await lease_all(schedule)) == 1


async def test_a_released_group_goes_on_with_what_it_had(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.limit("g", Limits(concurrency=2), "v")
    await schedule.put([*many("g", 5), Item("g", "not yet", 5000)])
    await schedule.hold("g", 3_600_000)
    ticks.pass_ms(1000)
    await schedule.release("g")
    assert len(await lease_all(schedule)) == 2
    assert await schedule.due_in_ms("g", ["not yet"]) == [4000]


async def test_a_hold_and_limits_outlive_the_last_id_of_a_group(schedule: Schedule, redis: Redis) -> None:
    await schedule.limit("g", Limits(concurrency=1), "v")
    await schedule.put(many("g", 1))
    [lease] = await lease_all(schedule)
    await schedule.hold("g", 5000)
    await schedule.settle([Done(lease)])
    await schedule.put(many("g", 3))
    assert await lease_all(schedule) == []
    await schedule.release("g")
    assert [lease.version for lease in await lease_all(schedule)] == ["v"]
    [kept] = await redis.keys("*:meta:g")
    assert await redis.pttl(kept) == -1


async def test_limits_of_a_group_without_work_are_kept_for_a_day(schedule: Schedule, redis: Redis) -> None:
    await schedule.limit("g", Limits(concurrency=1), "v")
    [kept] = await redis.keys("*:meta:g")
    assert 86_000_000 < await redis.pttl(kept) < 87_000_000


async def test_a_hold_of_a_group_without_work_is_kept_as_long_as_it_lasts(schedule: Schedule, redis: Redis) -> None:
    await schedule.hold("g", 40_000)
    [kept] = await redis.keys("*:meta:g")
    assert 40_000 < await redis.pttl(kept) < 120_000
    await schedule.release("g")
    assert await redis.keys("*:meta:g") == []


async def test_at_most_so_many_of_each_group_when_asked(schedule: Schedule) -> None:
    await schedule.put([*many("g", 50), *many("h", 2)])
    leases, wait_seconds = await schedule.lease(40, LEASE_MS, per_group=3)
    assert sorted(lease.group for lease in leases)[-2:] == ["h", "h"]
    assert wait_seconds == 0
    assert 5 <= len(leases) <= 8  # a second round may ask the same shard once more


async def test_who_makes_several_requests_under_one_lease_waits_for_each_further_one(
    schedule: Schedule, ticks: Ticks
) -> None:
    await schedule.limit("g", Limits(interval_ms=100, burst=2), "v")
    await schedule.put(many("g"))
    assert len((await schedule.lease(1, LEASE_MS))[0]) == 1
    assert [await schedule.reserve("g", 1000) for _ in range(4)] == [0, 100, 200, 300]
    assert await lease_all(schedule) == []
    ticks.pass_ms(400)
    assert len(await lease_all(schedule)) == 1


async def test_what_would_take_too_long_is_not_reserved(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.limit("g", Limits(interval_ms=1000, burst=1), "v")
    assert await schedule.reserve("g", 999) == 0
    assert await schedule.reserve("g", 999) is None
    ticks.pass_ms(1)
    assert await schedule.reserve("g", 999) == 999
    await schedule.hold("g", 30_000)
    assert await schedule.reserve("g", 29_999) is None
    assert await schedule.reserve("g", 30_000) == 30_000


async def test_where_there_is_no_rate_only_a_hold_makes_anybody_wait(schedule: Schedule) -> None:
    assert [await schedule.reserve("g", 0) for _ in range(3)] == [0, 0, 0]
    await schedule.hold("g", 500)
    assert await schedule.reserve("g", 499) is None


@pytest.mark.parametrize("rate", [2, 40])
async def test_leases_and_further_requests_share_one_budget(
    make_schedule: MakeSchedule, ticks: Ticks, rate: float
) -> None:
    workers = [make_schedule(), make_schedule()]
    await workers[0].limit("g", Limits.per_second(rate), "v")
    await workers[0].put(many("g", ceil(rate * 40)))
    moments: list[int] = []
    for step in range(30_000 // STEP_MS):
        for worker in workers:
            if step % 7 == 0 and (wait_ms := await worker.reserve("g", 2000)) is not None:
                moments.append(ticks.now + wait_ms)
            leases = await lease_all(worker, want=40)
            moments += [ticks.now] * len(leases)
            await worker.settle([Done(lease) for lease in leases])
        ticks.pass_ms(STEP_MS)
    for start in range(min(moments), min(moments) + 20_000, 100):
        count = sum(start <= moment < start + WINDOW_MS for moment in moments)
        assert rate * 10 * 0.9 - 1 <= count <= max(rate * 10 * 1.05, ceil(rate * 10))


async def test_what_was_used_under_a_slow_rate_does_not_outlast_it(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.limit("g", Limits(interval_ms=600_000, burst=1), "probing")
    await schedule.put(many("g"))
    assert len(await lease_all(schedule)) == 1
    await schedule.limit("g", Limits(interval_ms=100, burst=2), "back")
    assert await lease_all(schedule) == []
    ticks.pass_ms(100)
    assert len(await lease_all(schedule)) == 1


async def test_limits_that_are_set_again_forgive_nothing(schedule: Schedule) -> None:
    limits = Limits(interval_ms=100, burst=2)
    await schedule.limit("g", limits, "v1")
    await schedule.put(many("g"))
    assert [await schedule.reserve("g", 5000) for _ in range(5)] == [0, 0, 100, 200, 300]
    await schedule.limit("g", limits, "v2")
    assert await schedule.reserve("g", 5000) == 400
