"""Due times that are moved in bulk without a lease, for those whose news came another way."""

from relay.schedule import Done, Item, Schedule
from tests.schedule.ticks import LEASE_MS, Ticks, ids, lease_all


async def test_what_waits_takes_the_new_due_time_sooner_or_later(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "early", 100), Item("g", "late", 9000)])
    assert await schedule.shift([Item("g", "early", 5000), Item("g", "late", 200)]) == []
    assert await schedule.due_in_ms("g", ["early", "late"]) == [5000, 200]
    ticks.pass_ms(200)
    assert ids(await lease_all(schedule)) == ["late"]


async def test_only_later_leaves_what_is_due_later_already(schedule: Schedule) -> None:
    await schedule.put([Item("g", "a", 0), Item("g", "b", 9000)])
    await schedule.shift([Item("g", "a", 3000), Item("g", "b", 3000)], only_later=True)
    assert await schedule.due_in_ms("g", ["a", "b"]) == [3000, 9000]


async def test_a_memo_is_replaced_where_one_is_told(schedule: Schedule) -> None:
    await schedule.put([Item("g", "a", 0, "old"), Item("g", "b", 0, "old")])
    await schedule.shift([Item("g", "a", 10, "new"), Item("g", "b", 10)])
    assert await schedule.memos("g", ["a", "b"]) == ["new", "old"]


async def test_who_is_leased_or_unknown_is_left_alone_and_named(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "leased", 0, "memo"), Item("h", "waits", 50)])
    [lease] = await lease_all(schedule)
    items = [Item("g", "leased", 0, "other"), Item("h", "waits", 70), Item("g", "unknown", 0)]
    assert sorted(item.id for item in await schedule.shift(items)) == ["leased", "unknown"]
    assert await schedule.memos("g", ["leased", "unknown"]) == ["memo", ""]
    assert await schedule.settle([Done(lease)]) == 1
    ticks.pass_ms(LEASE_MS * 2)
    assert ids(await lease_all(schedule)) == ["waits"]


async def test_the_waiting_are_told_in_the_order_of_their_due_times(schedule: Schedule) -> None:
    await schedule.put([Item("g", name, delay) for name, delay in (("c", 30), ("a", -10), ("b", 20))])
    assert await schedule.waiting("g", 2) == ["a", "b"]
    await lease_all(schedule)
    assert await schedule.waiting("g", 10) == ["b", "c"]
    assert await schedule.waiting("h", 10) == []
