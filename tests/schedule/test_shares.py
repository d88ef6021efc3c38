"""How many of a group may be in flight follows what came of those that were."""

from relay.schedule import Done, Item, Later, Lease, Limits, Schedule, Share
from tests.schedule.ticks import LEASE_MS, MakeSchedule, Ticks, lease_all

SIXTEEN = Limits(concurrency=16)


async def at_once(schedule: Schedule, limits: Limits = SIXTEEN) -> list[Lease]:
    """As many of the group as may be leased, of a thousand."""
    await schedule.limit("g", limits, "v")
    await schedule.put([Item("g", str(number)) for number in range(1000)])
    return await lease_all(schedule)


async def settled(schedule: Schedule, leases: list[Lease], *shares: Share) -> int:
    """How many are in flight after as many leases as there are shares came back with these."""
    done = [Done(leases.pop(), share) for share in shares]
    assert await schedule.settle(done) == len(done)
    leases += await lease_all(schedule)
    return len(leases)


async def test_after_a_hold_one_is_tried_and_each_round_of_successes_doubles_that(
    schedule: Schedule, ticks: Ticks
) -> None:
    """D15: the ramp back."""
    leases = await at_once(schedule)
    assert len(leases) == 16
    await schedule.hold("g", 1000, then=1)
    await schedule.settle([Later(lease, 0) for lease in leases])
    assert await lease_all(schedule) == []
    ticks.pass_ms(1000)
    leases = await lease_all(schedule)
    counts = [len(leases), *[await settled(schedule, leases, *[Share.MORE] * len(leases)) for _ in range(5)]]
    assert counts == [1, 2, 4, 8, 16, 16]


async def test_a_new_group_begins_with_its_first_share_and_keeps_what_it_has_earned(schedule: Schedule) -> None:
    limits = Limits(concurrency=16, first=4)
    leases = await at_once(schedule, limits)
    assert len(leases) == 4
    assert await settled(schedule, leases, *[Share.MORE] * 4) == 8
    await schedule.limit("g", limits, "v2")
    assert await settled(schedule, leases, Share.SAME) == 8


async def test_what_was_under_way_when_a_hold_began_earns_nothing(schedule: Schedule, ticks: Ticks) -> None:
    leases = await at_once(schedule)
    await schedule.hold("g", 1000, then=1)
    await schedule.settle([Done(lease, Share.MORE) for lease in leases])
    ticks.pass_ms(1000)
    assert len(await lease_all(schedule)) == 1


async def test_halves_end_at_one_and_one_more_is_earned_again(schedule: Schedule) -> None:
    leases = await at_once(schedule)
    assert await settled(schedule, leases, *[Share.HALF] * 16) == 1
    assert await settled(schedule, leases, Share.HALF) == 1
    assert await settled(schedule, leases, Share.MORE) == 2


async def test_outcomes_of_one_batch_count_in_their_order(schedule: Schedule) -> None:
    leases = await at_once(schedule)
    assert await settled(schedule, leases, Share.HALF, Share.HALF, Share.HALF, Share.MORE, *[Share.SAME] * 12) == 3


async def test_new_limits_cap_the_share_and_let_it_grow(schedule: Schedule) -> None:
    leases = await at_once(schedule, Limits(concurrency=8, first=8))
    await schedule.limit("g", Limits(concurrency=3), "v")
    assert await settled(schedule, leases, *[Share.MORE] * 8) == 3
    await schedule.limit("g", Limits(concurrency=32), "v")
    assert await settled(schedule, leases, Share.MORE) == 9


async def test_only_who_still_has_its_lease_has_a_say(schedule: Schedule, ticks: Ticks) -> None:
    leases = await at_once(schedule)
    ticks.pass_ms(LEASE_MS)
    assert len(await lease_all(schedule)) == 16
    assert await schedule.settle([Done(lease, Share.HALF) for lease in leases]) == 0
    ticks.pass_ms(LEASE_MS)
    assert len(await lease_all(schedule)) == 16


async def test_a_group_without_a_concurrency_has_no_share(schedule: Schedule) -> None:
    leases = await at_once(schedule, Limits())
    assert len(leases) == 1000
    await schedule.settle([Later(leases.pop(), 0, share=share) for share in (Share.HALF, Share.MORE)])
    assert len(await lease_all(schedule)) == 2


async def test_a_share_holds_for_all_workers(make_schedule: MakeSchedule, ticks: Ticks) -> None:
    first, second = make_schedule(), make_schedule()
    await at_once(first)
    await first.hold("g", 5, then=2)
    ticks.pass_ms(LEASE_MS)
    assert len([*(await first.lease(1, LEASE_MS))[0], *await lease_all(second)]) == 2


async def test_what_joins_is_put_unless_it_is_under_way(schedule: Schedule) -> None:
    """M3."""
    await schedule.put([Item("g", "a"), Item("g", "b", 60_000)])
    [lease] = await lease_all(schedule)
    await schedule.put([Item("g", "a"), Item("g", "b"), Item("g", "c")], joins=True)
    leases = await lease_all(schedule)
    assert sorted(one.id for one in leases) == ["b", "c"]
    await schedule.settle([Done(lease), *map(Done, leases)])
    assert await lease_all(schedule) == []
