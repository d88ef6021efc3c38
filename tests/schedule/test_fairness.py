"""Ten thousand ids of one tenant starve nobody."""

from collections import Counter

import pytest

from relay.schedule import Done, Item, Schedule
from tests.schedule.ticks import LEASE_MS, Ticks, groups_of_one_shard, lease_all

STEP_MS = 10
SLOTS_PER_STEP = 8
ROUNDS = 20


async def test_groups_that_are_ready_take_turns(schedule: Schedule) -> None:
    a, b, c = groups_of_one_shard(3)
    await schedule.put([Item(group, str(number)) for group in (a, b, c) for number in range(10)])
    served = [(await schedule.lease(1, LEASE_MS))[0][0].group for _ in range(12)]
    assert set(served[:3]) == {a, b, c}
    assert served == served[:3] * 4


async def test_a_newcomer_is_served_after_one_turn_of_the_others(schedule: Schedule) -> None:
    a, b, late = groups_of_one_shard(3)
    await schedule.put([Item(group, str(number)) for group in (a, b) for number in range(1000)])
    for _ in range(7):
        await schedule.lease(1, LEASE_MS)
    await schedule.put([Item(late, "x")])
    served = [(await schedule.lease(1, LEASE_MS))[0][0].group for _ in range(3)]
    assert late in served


async def test_being_put_to_again_costs_no_place_in_the_queue(schedule: Schedule) -> None:
    busy, other = groups_of_one_shard(2)
    await schedule.put([Item(group, str(number)) for group in (busy, other) for number in range(100)])
    served = []
    for number in range(20):
        served.append((await schedule.lease(1, LEASE_MS))[0][0].group)
        await schedule.put([Item(busy, f"more {number}")])
    assert Counter(served) == {busy: 10, other: 10}


async def test_one_lease_is_shared_evenly(schedule: Schedule) -> None:
    groups = groups_of_one_shard(5)
    await schedule.put([Item(group, str(number)) for group in groups for number in range(100)])
    leases, _ = await schedule.lease(50, LEASE_MS)
    counts = [Counter(lease.group for lease in leases)[group] for group in groups]
    assert sum(counts) == 50
    assert max(counts) - min(counts) <= 3  # two rounds, each of which begins where the last one ended


async def test_what_small_groups_leave_goes_to_the_large(schedule: Schedule) -> None:
    large, *small = groups_of_one_shard(5)
    await schedule.put([Item(large, str(number)) for number in range(1000)])
    await schedule.put([Item(group, "only") for group in small])
    leases, _ = await schedule.lease(50, LEASE_MS)
    assert Counter(lease.group for lease in leases) == {large: 46, **dict.fromkeys(small, 1)}


async def test_groups_share_evenly_whichever_shard_they_live_in(schedule: Schedule) -> None:
    groups = [f"group {number}" for number in range(40)]
    await schedule.put([Item(group, str(number)) for group in groups for number in range(200)])
    served: Counter[str] = Counter()
    for _ in range(100):
        leases, _ = await schedule.lease(40, LEASE_MS)
        served.update(lease.group for lease in leases)
    assert sum(served.values()) == 4000
    assert min(served.values()) >= 80
    assert max(served.values()) <= 120


async def lateness_p95_ms(schedule: Schedule, ticks: Ticks, group: str) -> float:
    """Ten ids of the group become due, at odd moments, again and again; so many slots get free at each step."""
    late_ms: list[int] = []
    for turn in range(ROUNDS):
        await schedule.put([Item(group, f"{turn} {number}", number * 7) for number in range(10)])
        for _ in range(12):
            leases, _ = await schedule.lease(SLOTS_PER_STEP, LEASE_MS)
            late_ms += [lease.late_ms for lease in leases if lease.group == group]
            await schedule.settle([Done(lease) for lease in leases])
            ticks.pass_ms(STEP_MS)
    assert len(late_ms) == ROUNDS * 10
    return sorted(late_ms)[round(len(late_ms) * 0.95)]


@pytest.mark.parametrize("is_same_shard", [True, False])
async def test_ten_thousand_ids_of_one_group_leave_the_lateness_of_another_unchanged(
    schedule: Schedule, ticks: Ticks, is_same_shard: bool
) -> None:
    small, large = groups_of_one_shard(2)
    if not is_same_shard:
        large = f"{large} elsewhere"
    alone = await lateness_p95_ms(schedule, ticks, small)
    await schedule.put([Item(large, str(number)) for number in range(10_000)])
    beside = await lateness_p95_ms(schedule, ticks, small)
    assert beside <= alone + STEP_MS


async def test_a_thousand_groups_are_all_served_before_any_twice(schedule: Schedule) -> None:
    await schedule.put([Item(f"group {number}", name) for number in range(1000) for name in ("a", "b", "c")])
    leases = []
    while len(leases) < 1000:
        leases += (await schedule.lease(min(100, 1000 - len(leases)), LEASE_MS))[0]
    served = Counter(lease.group for lease in leases)
    # Shards are asked in proportion to what they last said they had, so the very last places may be uneven.
    assert len(served) >= 990
    assert len(await lease_all(schedule)) == 2000
