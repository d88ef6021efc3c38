"""The schedule beside a plain Python model of it, taken through whatever hypothesis thinks of."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from relay.clock import Clock
from relay.schedule import Counts, Done, Item, Later, Lease, Limits, Schedule, Share, connect
from tests.schedule.ticks import Ticks, groups_of_one_shard, lease_all

LEASE_MS = 6000
DEFAULT = Limits(interval_ms=0, burst=1, concurrency=4)
GROUPS = [*groups_of_one_shard(2), "somewhere else"]
IDS = list("abcdef")
PHASES = [Phase.reuse, Phase.generate, Phase.shrink]

some_group = st.sampled_from(GROUPS)
some_id = st.sampled_from(IDS)
some_delay = st.sampled_from([0, 1, 40, 500, 3000, 10_000])
some_memo = st.sampled_from(["", "m", "n"])


@dataclass
class Group:
    """What the schedule should know of one group."""

    limits: Limits = DEFAULT
    version: str = ""
    hold: int = 0
    tat: float = 0
    allowance: int | None = None
    due: dict[str, int] = field(default_factory=dict)
    running: dict[str, tuple[int, int]] = field(default_factory=dict)  # id → (fence, when it runs out)
    again: dict[str, int] = field(default_factory=dict)
    memo: dict[str, str] = field(default_factory=dict)

    def forget_lease(self, name: str) -> None:
        del self.running[name]
        self.again.pop(name, None)

    def reclaim(self, now: int) -> None:
        for name, (_, until) in list(self.running.items()):
            if until <= now:
                self.forget_lease(name)
                self.due[name] = until

    def room(self, now: int) -> int:
        if self.hold > now:
            return 0
        room = len(self.due)
        if self.limits.concurrency:
            room = min(room, self.at_once - len(self.running))
        if self.limits.interval_ms:
            used = max(self.tat - now, 0) / self.limits.interval_ms
            room = min(room, int(self.limits.burst - used))
        return max(room, 0)

    def expected(self, now: int) -> set[str]:
        ripe = sorted((at, name) for name, at in self.due.items() if at <= now)
        return {name for _, name in ripe[: self.room(now)]}

    def take(self, lease: Lease, now: int) -> None:
        assert lease.due_ms == self.due.pop(lease.id)
        assert lease.memo == self.memo.get(lease.id, "")
        assert lease.version == self.version
        self.running[lease.id] = (lease.fence, now + LEASE_MS)
        if self.limits.interval_ms:
            self.tat = max(self.tat, now) + self.limits.interval_ms

    @property
    def is_empty(self) -> bool:
        return not self.due and not self.running

    @property
    def at_once(self) -> int:
        most = self.limits.concurrency
        return most if self.allowance is None else min(most, self.allowance)

    def divide(self, share: Share, now: int) -> None:
        before = self.at_once
        if share is Share.HALF:
            self.allowance = max(before // 2, min(before, 1))
        elif share is Share.MORE and self.hold <= now:
            self.allowance = min(before + 1, self.limits.concurrency)

    def retire(self, now: int) -> None:
        """Where nothing but its share is known of it, that is forgotten with it."""
        is_recovering = self.limits.interval_ms and self.tat > now
        if self.is_empty and not self.version and self.hold <= now and not is_recovering:
            self.allowance = None


class Comparison(RuleBasedStateMachine):
    """Each step is done to both; what they say must agree."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.ticks = Ticks()
        self.redis: Redis = connect(self.url)
        self.schedule = Schedule(self.redis, "model", Clock(), default_limits=DEFAULT, clock_ms=self.ticks)
        self.groups = {name: Group() for name in GROUPS}
        self.leases: list[Lease] = []
        self.run(self.redis.flushdb())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.runner.close()

    @rule(ms=st.sampled_from([1, 39, 100, 1000, 2999, 6000, 20_000]))
    def pass_time(self, ms: int) -> None:
        self.ticks.pass_ms(ms)

    @rule(
        wanted=st.lists(st.tuples(some_group, some_id, some_delay, some_memo), min_size=1, max_size=8),
        is_sooner=st.booleans(),
    )
    def put(self, wanted: list[tuple[str, str, int, str]], is_sooner: bool) -> None:
        self.run(self.schedule.put([Item(*one) for one in wanted], sooner=is_sooner))
        for group_name, name, delay, memo in wanted:
            group, at = self.groups[group_name], self.ticks.now + delay
            times = group.again if name in group.running else group.due
            times[name] = min(at, times.get(name, at)) if is_sooner else at
            if memo:
                group.memo[name] = memo

    @rule()
    def lease_everything(self) -> None:
        for group in self.groups.values():
            group.reclaim(self.ticks.now)
        expected = {name: group.expected(self.ticks.now) for name, group in self.groups.items()}
        leases = self.run(lease_all(self.schedule, want=100, lease_ms=LEASE_MS))
        assert len({(lease.group, lease.id) for lease in leases}) == len(leases)
        for name, group in self.groups.items():
            mine = [lease for lease in leases if lease.group == name]
            assert {lease.id for lease in mine} == expected[name] or same_times(group, mine, expected[name])
            for lease in mine:
                group.take(lease, self.ticks.now)
        self.leases += leases

    @rule(want=st.integers(1, 5))
    def lease_some(self, want: int) -> None:
        for group in self.groups.values():
            group.reclaim(self.ticks.now)
        rooms = {name: len(group.expected(self.ticks.now)) for name, group in self.groups.items()}
        leases, wait_seconds = self.run(self.schedule.lease(want, LEASE_MS))
        assert len(leases) <= want
        assert leases or wait_seconds > 0 or not sum(rooms.values())
        for name, room in rooms.items():
            assert sum(lease.group == name for lease in leases) <= room
        for lease in leases:
            self.groups[lease.group].take(lease, self.ticks.now)
        self.leases += leases

    @rule(
        data=st.data(),
        delay=st.one_of(st.none(), some_delay),
        memo=st.one_of(st.none(), some_memo),
        share=st.sampled_from(Share),
    )
    def settle(self, data: st.DataObject, delay: int | None, memo: str | None, share: Share) -> None:
        if not self.leases:
            return
        lease = data.draw(st.sampled_from(self.leases))  # also one that was settled, or that another holds
        outcome = Done(lease, share) if delay is None else Later(lease, delay, memo, share)
        effective = self.run(self.schedule.settle([outcome]))
        group = self.groups[lease.group]
        assert effective == (group.running.get(lease.id, (None,))[0] == lease.fence)
        if not effective:
            return
        times = [time for time in (group.again.get(lease.id), self.at(delay)) if time is not None]
        group.forget_lease(lease.id)
        group.divide(share, self.ticks.now)
        if not times:
            group.memo.pop(lease.id, None)
            group.retire(self.ticks.now)
            return
        group.due[lease.id] = min(times)
        if delay is not None and memo is not None:
            group.memo[lease.id] = memo

    def at(self, delay: int | None) -> int | None:
        return None if delay is None else self.ticks.now + delay

    @rule()
    def renew(self) -> None:
        held = [lease for lease in self.leases if self.is_held(lease)]
        lost = [lease for lease in self.leases if not self.is_held(lease)]
        assert sorted(self.run(self.schedule.renew(self.leases, LEASE_MS))) == sorted(lost)
        for lease in held:
            self.groups[lease.group].running[lease.id] = (lease.fence, self.ticks.now + LEASE_MS)
        self.leases = held

    def is_held(self, lease: Lease) -> bool:
        return self.groups[lease.group].running.get(lease.id, (None,))[0] == lease.fence

    @rule(name=some_group, ids=st.lists(some_id, max_size=3, unique=True))
    def drop(self, name: str, ids: list[str]) -> None:
        group = self.groups[name]
        known = [one for one in ids if one in group.due or one in group.running]
        assert self.run(self.schedule.drop(name, ids)) == len(known)
        for one in ids:
            group.due.pop(one, None)
            group.memo.pop(one, None)
            if one in group.running:
                group.forget_lease(one)
        group.retire(self.ticks.now)

    @rule(name=some_group, ms=st.sampled_from([10, 1000, 30_000]), then=st.integers(0, 2))
    def hold(self, name: str, ms: int, then: int) -> None:
        self.run(self.schedule.hold(name, ms, then=then))
        group = self.groups[name]
        group.hold = max(group.hold, self.ticks.now + ms)
        group.allowance = then or group.allowance

    @rule(name=some_group)
    def release(self, name: str) -> None:
        self.run(self.schedule.release(name))
        self.groups[name].hold = 0
        self.groups[name].retire(self.ticks.now)

    @rule(name=some_group)
    def restart_rate(self, name: str) -> None:
        self.run(self.schedule.restart_rate(name))
        self.groups[name].tat = 0
        self.groups[name].retire(self.ticks.now)

    @rule(
        name=some_group,
        limits=st.builds(
            Limits, st.sampled_from([0, 100, 1000]), st.integers(1, 3), st.integers(0, 3), st.integers(0, 2)
        ),
        version=st.sampled_from(["v1", "v2"]),
    )
    def limit(self, name: str, limits: Limits, version: str) -> None:
        self.run(self.schedule.limit(name, limits, version))
        group = self.groups[name]
        group.limits, group.version = limits, version
        if group.allowance is None and limits.first:
            group.allowance = limits.first

    @invariant()
    def both_hold_the_same(self) -> None:
        now = self.ticks.now
        for name, group in self.groups.items():
            waits = [
                0
                if one in group.running
                else max(max(group.due[one], group.hold) - now, 0)
                if one in group.due
                else None
                for one in IDS
            ]
            assert self.run(self.schedule.due_in_ms(name, IDS)) == waits
            assert self.run(self.schedule.memos(name, IDS)) == [group.memo.get(one, "") for one in IDS]
        pairs = [(name, one) for name in GROUPS for one in IDS]
        known = {(name, one) for name, group in self.groups.items() for one in (*group.due, *group.running)}
        assert set(self.run(self.schedule.missing(pairs))) == set(pairs) - known
        due = sum(len(group.due) for group in self.groups.values())
        leased = sum(len(group.running) for group in self.groups.values())
        assert self.run(self.schedule.counts()) == Counts(due, leased)

    @invariant()
    def a_group_without_work_leaves_no_keys(self) -> None:
        keys = [key for key in self.run(self.redis.keys("*")) if not key.endswith(":state")]
        for name, group in self.groups.items():
            if group.is_empty:
                assert [key for key in keys if key.endswith(f":{name}") and ":meta:" not in key] == []
        if all(group.is_empty for group in self.groups.values()):
            assert [key for key in keys if ":meta:" not in key] == []


def same_times(group: Group, leases: list[Lease], expected: set[str]) -> bool:
    """Of ids due at the same moment any may come first."""
    return sorted(lease.due_ms for lease in leases) == sorted(group.due[name] for name in expected)


def test_the_schedule_does_what_its_model_does(redis_url: str) -> None:
    machine = type("ComparisonHere", (Comparison,), {"url": redis_url})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=40, stateful_step_count=40, deadline=None, phases=PHASES)
    )
