"""The loop of a station: bounded, never stopped by a fault, and nothing it did is forgotten."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.schedule import Done, Item, Later, Lease, Schedule
from relay.stream import FLUSH_SECONDS, RENEW_SECONDS, UNFLUSHED_MAX, Stream

SOON_SECONDS = 10.0
LONG_SECONDS = 60.0
RENEWED_MS = round(RENEW_SECONDS * 1500)  # a lease that its holder renews before it runs out, while he lives


async def nothing(_what: object) -> None:
    await asyncio.sleep(0)


class Station:
    """Work that is a number, leased from a list; keeps a record of what was asked of it."""

    def __init__(self, waiting: int = 0, in_flight_max: int = 10) -> None:
        self.waiting = list(range(waiting))
        self.leased: list[int] = []
        self.wants: list[int] = []
        self.batches: list[list[int]] = []
        self.renewed: list[list[int]] = []
        self.in_flight = 0
        self.in_flight_peak = 0
        self.work_seconds = 0.0
        self.faults: dict[str, list[Exception]] = {"lease": [], "flush": [], "renew": [], "wait": []}
        self.poison: set[int] = set()
        self.at_work: Callable[[int], Awaitable[object]] = nothing
        self.at_flush: Callable[[list[int]], Awaitable[object]] = nothing
        self.news = asyncio.Event()
        self.stopping = asyncio.Event()
        self.stream: Stream[int, int] = Stream(
            in_flight_max=in_flight_max,
            lease=self.lease,
            work=self.work,
            flush=self.flush,
            renew=self.renew,
            wait=self.wait,
            clock=Clock(),
        )

    @property
    def flushed(self) -> list[int]:
        return [outcome for batch in self.batches for outcome in batch]

    def fail(self, verb: str) -> None:
        if self.faults[verb]:
            raise self.faults[verb].pop(0)

    async def lease(self, want: int) -> tuple[Sequence[int], float]:
        self.wants.append(want)
        self.fail("lease")
        await asyncio.sleep(0)
        self.news.clear()
        some, self.waiting = self.waiting[:want], self.waiting[want:]
        self.leased += some
        return some, 0.0 if self.waiting else LONG_SECONDS

    async def work(self, number: int) -> int:
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
        try:
            await self.at_work(number)
            await asyncio.sleep(self.work_seconds)
        finally:
            self.in_flight -= 1
        if number in self.poison:
            raise ValueError(f"{number} is poison")
        return number

    async def flush(self, outcomes: list[int]) -> None:
        self.fail("flush")
        await self.at_flush(outcomes)
        self.batches.append(outcomes)

    async def renew(self, leases: list[int]) -> None:
        self.renewed.append(leases)
        self.fail("renew")

    async def wait(self, seconds: float) -> None:
        self.fail("wait")
        try:
            async with asyncio.timeout(seconds):
                await self.news.wait()
        except TimeoutError:
            pass

    def add(self, *numbers: int) -> None:
        self.waiting += numbers
        self.news.set()

    async def run_until(self, condition: Callable[[], bool]) -> int:
        """Runs until the condition holds, then stops and returns what the run returned."""
        running = asyncio.create_task(self.stream.run(LONG_SECONDS, self.stopping))
        await until(condition)
        self.stopping.set()
        return await asyncio.wait_for(running, SOON_SECONDS)


async def until(condition: Callable[[], bool], seconds: float = SOON_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.005)


async def test_everything_is_worked_on_once_and_put_on_record() -> None:
    station = Station(waiting=3000, in_flight_max=100)
    assert await station.run_until(lambda: len(station.flushed) == 3000) == 3000
    assert sorted(station.flushed) == list(range(3000))


async def test_no_more_is_in_flight_than_allowed_and_free_slots_are_refilled() -> None:
    station = Station(waiting=400, in_flight_max=20)
    station.work_seconds = 0.01
    await station.run_until(lambda: len(station.flushed) == 400)
    assert station.in_flight_peak == 20
    assert max(station.wants) == 20
    assert len(station.wants) < 200  # not a lease for each slot that gets free


async def test_slow_work_does_not_hold_up_the_rest() -> None:
    station = Station(waiting=200, in_flight_max=10)
    blocker = asyncio.Event()

    async def block_the_first(number: int) -> None:
        if number == 0:
            await blocker.wait()

    station.at_work = block_the_first
    running = asyncio.create_task(station.stream.run(LONG_SECONDS, station.stopping))
    await until(lambda: len(station.flushed) == 199)
    assert station.stream.in_flight == 1
    blocker.set()
    await until(lambda: len(station.flushed) == 200)
    station.stopping.set()
    await running


async def test_outcomes_that_come_together_share_a_batch() -> None:
    station = Station(waiting=1000, in_flight_max=1000)
    await station.run_until(lambda: len(station.flushed) == 1000)
    assert len(station.batches) <= 20


async def test_outcomes_that_come_one_by_one_are_flushed_no_more_often_than_allowed() -> None:
    station = Station(waiting=10**6, in_flight_max=1)
    began = time.monotonic()
    await station.run_until(lambda: len(station.batches) >= 5)
    assert len(station.batches) <= (time.monotonic() - began) / FLUSH_SECONDS + 2


async def test_the_first_outcome_in_a_while_is_flushed_at_once() -> None:
    waits = []
    station = Station()
    running = asyncio.create_task(station.stream.run(LONG_SECONDS, station.stopping))

    async def note_end(_number: int) -> None:
        waits.append(-time.monotonic())

    async def note_flush(_outcomes: list[int]) -> None:
        waits[-1] += time.monotonic()

    station.at_work, station.at_flush = note_end, note_flush
    for number in range(10):
        await asyncio.sleep(FLUSH_SECONDS)  # a while
        station.add(number)
        await until(lambda number=number: len(station.flushed) == number + 1)
    assert sorted(waits)[5] < FLUSH_SECONDS / 2
    station.stopping.set()
    await running


async def test_news_ends_a_wait_at_once() -> None:
    station = Station()
    running = asyncio.create_task(station.stream.run(LONG_SECONDS, station.stopping))
    await until(lambda: len(station.wants) == 1)
    station.add(7)
    await until(lambda: station.flushed == [7])
    station.stopping.set()
    await running


async def test_after_a_flush_more_may_be_due_and_is_asked_for() -> None:
    station = Station(waiting=1)

    async def set_free(outcomes: list[int]) -> None:
        if outcomes == [0]:
            station.waiting.append(1)  # as when the settle of one makes room for another of its group

    station.at_flush = set_free
    await station.run_until(lambda: station.flushed == [0, 1])


async def test_a_bug_in_the_work_costs_that_piece_alone() -> None:
    station = Station(waiting=50, in_flight_max=5)
    station.poison = {3, 17, 49}
    assert await station.run_until(lambda: len(station.flushed) == 47) == 47
    assert set(range(50)) - set(station.flushed) == station.poison


@pytest.mark.parametrize("fault", [Unreachable("redis", "gone"), ValueError("our bug")])
@pytest.mark.parametrize("verb", ["lease", "wait"])
async def test_the_loop_goes_on_when_asking_for_work_fails(verb: str, fault: Exception) -> None:
    station = Station()
    station.faults[verb] = [fault, fault]
    running = asyncio.create_task(station.stream.run(LONG_SECONDS, station.stopping))
    await until(lambda: not station.faults[verb])
    station.add(1)
    await until(lambda: station.flushed == [1])
    station.stopping.set()
    await running


async def test_failures_to_lease_are_repeated_with_growing_pauses() -> None:
    station = Station()
    station.faults["lease"] = [Unreachable("redis", "gone")] * 1000
    await station.run_until(lambda: len(station.wants) == 4)
    assert len(station.wants) == 4


async def test_a_flush_is_repeated_until_the_record_can_be_reached() -> None:
    station = Station(waiting=5)
    station.faults["flush"] = [Unreachable("database", "restarting")] * 3
    assert await station.run_until(lambda: len(station.flushed) == 5) == 5
    assert sorted(station.flushed) == list(range(5))


async def test_nothing_new_is_begun_while_too_much_is_not_on_record() -> None:
    station = Station(waiting=UNFLUSHED_MAX * 2, in_flight_max=500)
    station.faults["flush"] = [Unreachable("database", "gone")] * 4
    await station.run_until(lambda: len(station.flushed) == UNFLUSHED_MAX * 2)
    assert sum(len(batch) for batch in station.batches) == UNFLUSHED_MAX * 2
    assert station.stream._begun == UNFLUSHED_MAX * 2


async def test_the_backlog_of_a_dead_record_is_bounded() -> None:
    station = Station(waiting=UNFLUSHED_MAX * 4, in_flight_max=500)
    station.faults["flush"] = [Unreachable("database", "gone")] * 10_000
    running = asyncio.create_task(station.stream.run(LONG_SECONDS, station.stopping))
    await until(lambda: len(station.stream._outcomes) >= UNFLUSHED_MAX)
    tried = len(station.faults["flush"])
    await until(lambda: len(station.faults["flush"]) <= tried - 2)  # time enough to take what must not be taken
    assert len(station.leased) <= UNFLUSHED_MAX + 500
    running.cancel()
    await asyncio.wait([running])


async def test_an_outcome_that_cannot_be_put_on_record_costs_no_other() -> None:
    station = Station(waiting=300, in_flight_max=300)

    async def refuse_poison(outcomes: list[int]) -> None:
        if 41 in outcomes or 200 in outcomes:
            raise ValueError("cannot write this")

    station.at_flush = refuse_poison
    assert await station.run_until(lambda: len(station.flushed) == 298) == 298
    assert set(range(300)) - set(station.flushed) == {41, 200}


async def test_leases_are_renewed_while_work_or_record_takes_long() -> None:
    station = Station(waiting=2)
    station.work_seconds = RENEW_SECONDS * 1.8
    station.faults["renew"] = [Unreachable("redis", "gone")]
    await station.run_until(lambda: len(station.flushed) == 2)
    assert len(station.renewed) >= 2  # the first failed and was made up for
    assert station.renewed[0] == [0, 1]


async def test_quick_work_is_never_renewed_nor_what_is_on_record() -> None:
    station = Station(waiting=100)
    running = asyncio.create_task(station.stream.run(RENEW_SECONDS * 1.6, station.stopping))
    assert await running == 100
    assert station.renewed == []


async def test_a_failed_piece_is_not_renewed() -> None:
    station = Station(waiting=1)
    station.poison = {0}
    assert await station.stream.run(RENEW_SECONDS * 1.6, station.stopping) == 0
    assert station.renewed == []


async def test_stopping_takes_nothing_new_and_lets_what_is_in_flight_come_back() -> None:
    station = Station(waiting=100, in_flight_max=10)
    station.work_seconds = 0.3
    running = asyncio.create_task(station.stream.run(LONG_SECONDS, station.stopping))
    await until(lambda: station.in_flight == 10)
    station.stopping.set()
    assert await asyncio.wait_for(running, SOON_SECONDS) == 10
    assert sorted(station.flushed) == list(range(10))
    assert len(station.waiting) == 90


async def test_stopping_ends_an_idle_wait_at_once() -> None:
    station = Station()
    before = time.monotonic()
    await station.run_until(lambda: len(station.wants) == 1)
    assert time.monotonic() - before < SOON_SECONDS


async def test_a_run_ends_with_its_time_and_the_next_goes_on() -> None:
    station = Station(waiting=10**6, in_flight_max=10)
    station.work_seconds = 0.01
    before = time.monotonic()
    first = await station.stream.run(0.3, station.stopping)
    assert 0.3 <= time.monotonic() - before < SOON_SECONDS
    second = await station.stream.run(0.3, station.stopping)
    assert first > 0
    assert second > 0
    assert len(station.flushed) == first + second == len(station.leased)


@pytest.mark.parametrize("fault", [None, Unreachable("redis", "gone"), ValueError("our bug")])
async def test_the_successor_is_called_before_the_rest_comes_back(fault: Exception | None) -> None:
    station = Station(waiting=3)
    station.work_seconds = 0.5
    seen: list[int] = []

    async def before_end() -> None:
        seen.append(station.in_flight)
        if fault:
            raise fault

    assert await station.stream.run(0.2, station.stopping, before_end) == 3
    assert seen == [3]


async def test_a_cancelled_run_drops_what_is_in_flight_and_keeps_what_came_back() -> None:
    station = Station(waiting=2)
    blocker = asyncio.Event()

    async def block_the_second(number: int) -> None:
        if number == 1:
            await blocker.wait()

    station.at_work = block_the_second
    running = asyncio.create_task(station.stream.run(LONG_SECONDS, station.stopping))
    await until(lambda: len(station.stream._outcomes) == 1 or len(station.flushed) == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert station.flushed == [0]
    assert station.stream.in_flight == 0


async def test_a_cancelled_run_does_not_wait_for_a_record_that_is_away() -> None:
    station = Station(waiting=1)
    station.faults["flush"] = [Unreachable("database", "gone")] * 1000
    running = asyncio.create_task(station.stream.run(LONG_SECONDS, station.stopping))
    await until(lambda: len(station.stream._outcomes) == 1)
    running.cancel()
    await asyncio.wait([running], timeout=SOON_SECONDS)
    assert running.cancelled()


@pytest.fixture
async def make_schedule(redis: Redis) -> AsyncIterator[Callable[[], Schedule]]:
    """Schedules of one station, as several workers have them."""
    made: list[Schedule] = []

    def make() -> Schedule:
        made.append(Schedule(redis, "poll", Clock()))
        return made[-1]

    yield make
    for schedule in made:
        await schedule.close()


def station_on(
    schedule: Schedule,
    work: Callable[[Lease], Coroutine[Any, Any, Done | Later]],
    lease_ms: int = 6000,
    wait: Callable[[float], Coroutine[Any, Any, object]] | None = None,
) -> Stream[Lease, Done | Later]:
    return Stream(
        in_flight_max=50,
        lease=lambda want: schedule.lease(want, lease_ms),
        work=work,
        flush=schedule.settle,
        renew=lambda leases: schedule.renew(leases, lease_ms),
        wait=wait or schedule.wait,
        clock=Clock(),
    )


async def run_all(streams: Sequence[Stream[Lease, Done | Later]], condition: Callable[[], Awaitable[bool]]) -> None:
    stopping = asyncio.Event()
    running = [asyncio.create_task(stream.run(LONG_SECONDS, stopping)) for stream in streams]
    deadline = time.monotonic() + LONG_SECONDS / 2
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    stopping.set()
    await asyncio.gather(*running)


async def test_streams_side_by_side_never_meet(make_schedule: Callable[[], Schedule]) -> None:
    schedules = [make_schedule() for _ in range(3)]
    seen: Counter[str] = Counter()

    async def work(lease: Lease) -> Done | Later:
        seen[lease.id] += 1
        await asyncio.sleep(0.001)
        return Done(lease) if lease.memo == "1" else Later(lease, 20, "1")

    async def is_through() -> bool:
        counts = await schedules[0].counts()
        return counts.due == counts.leased == 0

    await schedules[0].put([Item(f"group {number % 17}", str(number)) for number in range(2000)])
    await run_all([station_on(schedule, work) for schedule in schedules], is_through)
    assert seen == Counter({str(number): 2 for number in range(2000)})


async def test_what_a_dead_worker_held_is_done_by_another(make_schedule: Callable[[], Schedule]) -> None:
    schedule, other = make_schedule(), make_schedule()
    done: list[str] = []

    async def hang(_lease: Lease) -> Done | Later:
        await asyncio.Event().wait()
        raise AssertionError

    async def work(lease: Lease) -> Done | Later:
        done.append(lease.id)
        return Done(lease)

    async def is_through() -> bool:
        return len(done) == 20

    await schedule.put([Item("g", str(number)) for number in range(20)])
    dying = asyncio.create_task(station_on(schedule, hang, lease_ms=RENEWED_MS).run(LONG_SECONDS, asyncio.Event()))
    while (await other.counts()).leased < 20:
        await asyncio.sleep(0.01)
    dying.cancel()
    await asyncio.wait([dying])
    await run_all([station_on(other, work)], is_through)
    assert sorted(done, key=int) == [str(number) for number in range(20)]


async def test_a_put_is_begun_at_once_by_an_idle_stream(make_schedule: Callable[[], Schedule]) -> None:
    schedule, other = make_schedule(), make_schedule()
    late: list[float] = []
    put_at = 0.0

    async def work(lease: Lease) -> Done | Later:
        late.append(time.monotonic() - put_at)
        return Done(lease)

    async def wait(_seconds: float) -> None:
        await schedule.wait(LONG_SECONDS)  # it never asks by itself again: what it begins it has heard of

    stopping = asyncio.Event()
    running = asyncio.create_task(station_on(schedule, work, wait=wait).run(LONG_SECONDS, stopping))
    for number in range(10):
        await asyncio.sleep(0.12)  # so that it is idle again
        put_at = time.monotonic()
        await other.put([Item("g", str(number))])
        await until(lambda number=number: len(late) == number + 1)
    stopping.set()
    await running
    assert sorted(late)[5] < 0.1
