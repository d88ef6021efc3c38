"""What is due when, who holds it, and what becomes of it."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from relay.schedule import Counts, Done, Item, Later, Limits, Schedule
from tests.schedule.ticks import LEASE_MS, MakeSchedule, Ticks, ids, lease_all

MANY = 5000


async def test_an_id_is_leased_when_it_is_due_and_not_before(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a", 500), Item("g", "b", 0)])
    leases, wait_seconds = await schedule.lease(10, LEASE_MS)
    assert ids(leases) == ["b"]
    assert wait_seconds == 0.5
    ticks.pass_ms(499)
    assert (await schedule.lease(10, LEASE_MS))[0] == []
    ticks.pass_ms(1)
    assert ids((await schedule.lease(10, LEASE_MS))[0]) == ["a"]


async def test_who_has_nothing_to_wait_for_asks_again_after_a_second(schedule: Schedule) -> None:
    assert await schedule.lease(10, LEASE_MS) == ([], 1.0)
    await schedule.put([Item("g", "a", 60_000)])
    assert await schedule.lease(10, LEASE_MS) == ([], 1.0)


async def test_a_lease_says_what_was_due_when(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a", 100, memo="3 looks")])
    await schedule.limit("g", Limits(concurrency=5), "v7")
    ticks.pass_ms(350)
    [lease] = await lease_all(schedule)
    assert (lease.group, lease.id, lease.memo, lease.version) == ("g", "a", "3 looks", "v7")
    assert lease.due_ms == ticks.now - 250
    assert lease.late_ms == 250


async def test_the_earliest_due_of_a_group_comes_first(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", name, delay) for name, delay in (("c", 30), ("a", 10), ("b", 20))])
    ticks.pass_ms(100)
    assert [ids((await schedule.lease(1, LEASE_MS))[0]) for _ in range(3)] == [["a"], ["b"], ["c"]]


async def test_never_more_than_wanted_over_all_shards(schedule: Schedule) -> None:
    await schedule.put([Item(f"group {number}", "id") for number in range(200)])
    for want in (1, 3, 7, 50):
        leases, wait_seconds = await schedule.lease(want, LEASE_MS)
        assert len(leases) == want
        assert wait_seconds == 0
    assert len(await lease_all(schedule)) == 200 - 61


async def test_one_group_alone_fills_a_lease_of_any_size(schedule: Schedule) -> None:
    await schedule.put([Item("g", str(number)) for number in range(MANY)])
    leases, _ = await schedule.lease(3000, LEASE_MS)
    assert len(leases) == 3000
    assert len(await lease_all(schedule)) == MANY - 3000


async def test_thousands_are_each_leased_once_by_competing_workers(make_schedule: MakeSchedule) -> None:
    workers = [make_schedule(is_real=True) for _ in range(5)]
    await workers[0].put([Item(f"group {number % 97}", str(number)) for number in range(MANY)])
    found: list[str] = []

    async def work(schedule: Schedule) -> None:
        while leases := (await schedule.lease(37, 60_000))[0]:
            found.extend(ids(leases))
            assert await schedule.settle([Done(lease) for lease in leases]) == len(leases)

    await asyncio.gather(*(work(schedule) for schedule in workers))
    assert sorted(found, key=int) == [str(number) for number in range(MANY)]
    assert await workers[0].counts() == Counts(0, 0)


async def test_putting_keeps_the_earlier_time(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a", 1000)])
    await schedule.put([Item("g", "a", 5000)])
    assert await schedule.due_in_ms("g", ["a"]) == [1000]
    await schedule.put([Item("g", "a", 10)])
    assert await schedule.due_in_ms("g", ["a"]) == [10]


async def test_putting_not_sooner_replaces_the_time(schedule: Schedule) -> None:
    await schedule.put([Item("g", "a", 1000)])
    await schedule.put([Item("g", "a", 5000)], sooner=False)
    assert await schedule.due_in_ms("g", ["a"]) == [5000]


async def test_the_same_id_in_two_groups_is_two_ids(schedule: Schedule) -> None:
    await schedule.put([Item("g", "a"), Item("h", "a")])
    leases = await lease_all(schedule)
    assert sorted(lease.group for lease in leases) == ["g", "h"]


async def test_stations_do_not_meet(make_schedule: MakeSchedule) -> None:
    poll, deliver = make_schedule("poll"), make_schedule("deliver")
    await poll.put([Item("g", "a")])
    assert await lease_all(deliver) == []
    assert ids(await lease_all(poll)) == ["a"]


async def test_done_is_forgotten_and_later_comes_again(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a"), Item("g", "b")])
    a, b = await lease_all(schedule)
    assert await schedule.settle([Done(a), Later(b, 2000)]) == 2
    assert await schedule.due_in_ms("g", ["a", "b"]) == [None, 2000]
    ticks.pass_ms(2000)
    assert ids(await lease_all(schedule)) == ["b"]


async def test_an_outcome_settles_once(schedule: Schedule) -> None:
    await schedule.put([Item("g", "a")])
    [lease] = await lease_all(schedule)
    assert await schedule.settle([Later(lease, 100)]) == 1
    assert await schedule.settle([Done(lease)]) == 0
    assert await schedule.due_in_ms("g", ["a"]) == [100]


async def test_a_lease_that_ran_out_is_taken_back_and_leased_again(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a", memo="m")])
    [first] = await lease_all(schedule)
    ticks.pass_ms(LEASE_MS - 1)
    assert await lease_all(schedule) == []
    ticks.pass_ms(1)
    [second] = await lease_all(schedule)
    assert second.id == "a"
    assert second.memo == "m"
    assert second.fence > first.fence


async def test_an_old_holder_cannot_move_what_another_holds(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a")])
    [old] = await lease_all(schedule)
    ticks.pass_ms(LEASE_MS)
    [new] = await lease_all(schedule)
    assert await schedule.settle([Done(old)]) == 0
    assert await schedule.settle([Later(old, 5)]) == 0
    assert await schedule.renew([old, new], LEASE_MS) == [old]
    assert await schedule.settle([Later(new, 70)]) == 1
    assert await schedule.due_in_ms("g", ["a"]) == [70]


async def test_an_old_holder_may_settle_while_nobody_else_took_it(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a")])
    [lease] = await lease_all(schedule)
    ticks.pass_ms(LEASE_MS * 2)
    assert await schedule.settle([Done(lease)]) == 1
    assert await lease_all(schedule) == []


async def test_a_renewed_lease_lasts_longer(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a"), Item("g", "b")])
    a, _b = await lease_all(schedule)
    for _ in range(5):
        ticks.pass_ms(2000)
        assert await schedule.renew([a], LEASE_MS) == []
    assert ids(await lease_all(schedule)) == ["b"]
    assert await schedule.settle([Done(a)]) == 1


async def test_leases_of_different_lengths_run_out_each_in_its_time(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "long")])
    await lease_all(schedule, lease_ms=60_000)
    await schedule.put([Item("g", "short")])
    await lease_all(schedule, lease_ms=1000)
    ticks.pass_ms(1000)
    assert ids(await lease_all(schedule)) == ["short"]


async def test_thousands_of_leases_of_a_dead_worker_come_back(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item(f"group {number % 300}", str(number)) for number in range(MANY)])
    assert len(await lease_all(schedule)) == MANY
    ticks.pass_ms(LEASE_MS)
    again = await lease_all(schedule)
    assert sorted(ids(again), key=int) == [str(number) for number in range(MANY)]


async def test_what_is_put_while_leased_comes_again_after_it(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a"), Item("g", "b"), Item("g", "c")])
    a, b, c = await lease_all(schedule)
    await schedule.put([Item("g", "a", 300), Item("g", "b", 300), Item("g", "c", 300)])
    assert await lease_all(schedule) == []
    await schedule.settle([Done(a), Later(b, 900), Later(c, 100)])
    assert await schedule.due_in_ms("g", ["a", "b", "c"]) == [300, 300, 100]


async def test_what_is_put_while_leased_is_asked_for_once(schedule: Schedule) -> None:
    await schedule.put([Item("g", "a")])
    [lease] = await lease_all(schedule)
    await schedule.put([Item("g", "a")])
    await schedule.settle([Done(lease)])
    [lease] = await lease_all(schedule)
    await schedule.settle([Done(lease)])
    assert await lease_all(schedule) == []


async def test_a_memo_stays_until_it_is_replaced_or_the_id_is_done(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a", memo="one")])
    await schedule.put([Item("g", "a")])
    [lease] = await lease_all(schedule)
    assert lease.memo == "one"
    await schedule.settle([Later(lease, 0)])
    [lease] = await lease_all(schedule)
    assert lease.memo == "one"
    await schedule.settle([Later(lease, 0, "two = 2")])
    assert await schedule.memos("g", ["a", "unknown"]) == ["two = 2", ""]
    [lease] = await lease_all(schedule)
    await schedule.settle([Later(lease, 0, "")])
    [lease] = await lease_all(schedule)
    assert lease.memo == ""
    await schedule.put([Item("g", "a", memo="while leased")])
    await schedule.settle([Done(lease)])
    [lease] = await lease_all(schedule)
    assert lease.memo == "while leased"
    await schedule.settle([Done(lease)])
    assert await schedule.memos("g", ["a"]) == [""]


async def test_a_dropped_id_is_gone_leased_or_not(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a", memo="m"), Item("g", "b", 1000), Item("g", "c", 1000)])
    [a] = await lease_all(schedule)
    assert await schedule.drop("g", ["a", "b", "unknown"]) == 2
    assert await schedule.settle([Later(a, 0)]) == 0
    ticks.pass_ms(LEASE_MS)
    assert ids(await lease_all(schedule)) == ["c"]
    assert await schedule.memos("g", ["a"]) == [""]


async def test_a_schedule_tells_what_it_misses(schedule: Schedule) -> None:
    await schedule.put([Item(f"group {number}", "due", 1000) for number in range(50)])
    await schedule.put([Item(f"group {number}", "leased") for number in range(50)])
    await lease_all(schedule)
    lost = [(f"group {number}", "lost") for number in range(1200)]
    known = [(f"group {number}", name) for number in range(50) for name in ("due", "leased")]
    assert sorted(await schedule.missing(known + lost)) == sorted(lost)
    assert await schedule.missing([]) == []


async def test_due_in_ms_counts_holds_and_leases(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "leased"), Item("g", "due", 500)])
    await lease_all(schedule)
    await schedule.put([Item("g", "overdue")])
    ticks.pass_ms(100)
    assert await schedule.due_in_ms("g", ["leased", "due", "overdue", "unknown"]) == [0, 400, 0, None]
    await schedule.hold("g", 900)
    assert await schedule.due_in_ms("g", ["leased", "due", "overdue"]) == [0, 900, 900]


async def test_the_oldest_overdue_is_what_could_be_served_and_is_not(schedule: Schedule, ticks: Ticks) -> None:
    assert await schedule.overdue() == (0, 0.0)
    await schedule.put([Item("g", str(number), 1000) for number in range(20)])
    await schedule.put([Item("held", "a")])
    await schedule.hold("held", 3_600_000)
    ticks.pass_ms(4000)
    assert await schedule.overdue() == (20, 3.0)
    leases = await lease_all(schedule)
    assert await schedule.overdue() == (0, 0.0)
    ticks.pass_ms(LEASE_MS + 5000)  # nobody takes back what the dead worker held
    assert (await schedule.overdue())[1] == 5.0
    await schedule.settle([Done(lease) for lease in leases])
    assert await schedule.overdue() == (0, 0.0)


async def test_a_backlog_of_a_limited_group_is_not_overdue(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.limit("g", Limits(interval_ms=1000, burst=1), "v")
    await schedule.put([Item("g", str(number)) for number in range(1000)])
    for _ in range(10):
        await schedule.settle([Done(lease) for lease in await lease_all(schedule)])
        ticks.pass_ms(1000)
    count, seconds = await schedule.overdue()
    assert count == 990
    assert seconds <= 1.0


async def test_counts_say_what_is_held(schedule: Schedule) -> None:
    await schedule.put([Item(f"group {number}", "a", number % 2 * 1000) for number in range(100)])
    await lease_all(schedule)
    assert await schedule.counts() == Counts(due=50, leased=50)


async def test_a_server_clock_set_back_holds_nothing_up(schedule: Schedule, ticks: Ticks) -> None:
    await schedule.put([Item("g", "a", 1000), Item("g", "b")])
    [b] = await lease_all(schedule)
    ticks.pass_ms(-3_600_000)
    assert await schedule.settle([Later(b, 500)]) == 1
    assert await schedule.due_in_ms("g", ["a", "b"]) == [1000, 500]
    ticks.pass_ms(1000)
    assert ids(await lease_all(schedule)) == ["b", "a"]


async def test_groups_without_work_leave_no_keys(schedule: Schedule, redis: Redis, ticks: Ticks) -> None:
    await schedule.put([Item(f"group {number % 50}", str(number), memo="m") for number in range(500)])
    leases = await lease_all(schedule)
    await schedule.put([Item(lease.group, lease.id) for lease in leases])
    await schedule.settle([Done(lease) for lease in leases])
    leases = await lease_all(schedule)
    await schedule.settle([Later(lease, 1000) for lease in leases])
    for number in range(50):
        await schedule.drop(f"group {number}", [str(other) for other in range(number, 500, 50)])
    left: list[Any] = await redis.keys("*")
    assert [key for key in left if not key.endswith(":state")] == []


@pytest.mark.parametrize("name", ["with space", "with:colon", "ünïcode", "{braces}", "new\nline", "x" * 300])
async def test_any_text_may_name_a_group_and_an_id(schedule: Schedule, name: str) -> None:
    await schedule.put([Item(name, name, memo=name)])
    [lease] = await lease_all(schedule)
    assert (lease.group, lease.id, lease.memo) == (name, name, name)
    assert await schedule.settle([Done(lease)]) == 1


async def test_nothing_to_do_is_done(schedule: Schedule) -> None:
    await schedule.put([])
    assert await schedule.settle([]) == 0
    assert await schedule.renew([], LEASE_MS) == []
    assert await schedule.drop("g", []) == 0
    assert await schedule.due_in_ms("g", []) == []
    assert await schedule.memos("g", []) == []
    assert await schedule.lease(0, LEASE_MS) == ([], 1.0)
