"""A station's timetable: puts, leases and settles ids in batches, spread over shards, within the limits of groups."""

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from redis.asyncio import Redis

from relay.clock import Clock
from relay.schedule.connection import Arguments, Script, answering
from relay.schedule.values import Counts, Done, Item, Later, Lease, Limits
from relay.schedule.wakes import Wakes

SHARDS = 8  # a group lives in one of them; in a cluster each may live on another node
IDLE_SECONDS = 1.0  # who has nothing to do asks again after this, heard or not; shared.lua counts on it
ENTRIES_PER_CALL = 500  # a script keeps Redis from everybody else for about 2 ms then
LEASE_ROUNDS = 2  # one by what the shards last said, one more where they have more than that
FIELDS_PER_LEASE = 6

Entry = tuple[str | int, ...]


class Schedule:
    """
    When each id of one station is due and who works on it. Times are those of Redis, told in delays, so no clock of
    ours matters. Every method raises Unreachable when Redis is away; what a flush loses, the caller puts again.

    `clock_ms` replaces the time of Redis in tests. `default_limits` hold for groups that were given none. With
    `has_deadlines` memos are deadlines: of a group with more due than it may have, the earliest is leased first.
    """

    def __init__(
        self,
        redis: Redis,
        station: str,
        clock: Clock,
        *,
        default_limits: Limits | None = None,
        clock_ms: Callable[[], int] | None = None,
        has_deadlines: bool = False,
    ) -> None:
        self._redis = redis
        self._station = station
        self._channel = f"relay:wake:{station}"
        self._default = default_limits or Limits()
        self._clock_ms = clock_ms
        self._has_deadlines = has_deadlines
        self._wakes = Wakes(redis, self._channel, clock)
        self._ready = [0] * SHARDS  # groups each shard said it could still serve
        self._next_shard = 0
        self._scripts = {
            name: Script(name)
            for name in (
                *("put", "shift", "lease", "settle", "renew", "drop"),
                *("tune", "reserve", "due", "missing", "overdue"),
            )
        }

    async def put(self, items: Sequence[Item], *, sooner: bool = True, joins: bool = False) -> None:
        """
        Schedules each item; one that is due earlier stays so, unless `sooner` is False. One that is leased is marked
        instead, and due again as soon as this asks once that lease is settled; with `joins` it is left alone, as
        what is under way is what is wanted. An item's memo, if any, is kept.
        """
        entries = [(item.group, item.id, item.delay_ms, item.memo) for item in items]
        await self._spread("put", ("join" if joins else int(sooner), self._channel), entries)

    async def shift(self, items: Sequence[Item], *, only_later: bool = False) -> list[Item]:
        """
        Gives ids that wait another due time, and another memo where one is told; with `only_later` one that is due
        later stays so. Returns those that do not wait (leased, or not scheduled), which are left alone.
        """
        entries = [(item.group, item.id, item.delay_ms, item.memo) for item in items]
        answers, places = await self._spread("shift", (int(only_later), self._channel), entries)
        return [items[of[place]] for answer, of in zip(answers, places, strict=True) for place in answer]

    async def waiting(self, group: str, most: int) -> list[str]:
        """Up to so many ids of the group that nobody has leased, due now or some day, the earliest first."""
        with answering():
            ids: list[str] = await self._redis.zrange(f"{self._shard_of(group)}:due:{group}", 0, most - 1)
        return ids

    async def drop(self, group: str, ids: Sequence[str]) -> int:
        """Forgets the ids, also leased ones (their settles then have no effect); returns how many were known."""
        return sum(await self._of_group("drop", group, ids))

    async def due_in_ms(self, group: str, ids: Sequence[str]) -> list[int | None]:
        """How long until each id may be leased (0: it is, or is overdue), holds included; None: not scheduled."""
        answers = await self._of_group("due", group, ids)
        return [None if wait < 0 else wait for answer in answers for wait in answer]

    async def memos(self, group: str, ids: Sequence[str]) -> list[str]:
        """The memo of each id, "" for none."""
        key = f"{self._shard_of(group)}:memo:{group}"
        pipeline = self._redis.pipeline(transaction=False)
        for start in range(0, len(ids), ENTRIES_PER_CALL):
            pipeline.execute_command("HMGET", key, *ids[start : start + ENTRIES_PER_CALL])
        with answering():
            answers: list[list[str | None]] = await pipeline.execute()
        return [memo or "" for answer in answers for memo in answer]

    async def missing(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of the (group, id) pairs that are neither due nor leased: somebody must put them again."""
        answers, places = await self._spread("missing", (), pairs)
        return [pairs[of[place]] for answer, of in zip(answers, places, strict=True) for place in answer]

    async def lease(self, want: int, lease_ms: int, *, per_group: int = 0) -> tuple[list[Lease], float]:
        """
        Leases up to `want` ids that are due, at most `per_group` of each group (0: any number), and says in how many
        seconds there may be more: 0 when there is more now, never above IDLE_SECONDS. Groups take turns; what a
        group's limits or hold forbid stays. Leases that ran out are taken back first and are due at once.
        """
        self._wakes.forget()
        leases: list[Lease] = []
        waits_ms = [-1] * SHARDS
        shards = list(range(SHARDS))
        shares = self._shares(want)
        has_deadlines = int(self._has_deadlines)
        for _ in range(LEASE_ROUNDS):
            calls = [self._call(shard, (shares[shard], lease_ms, per_group, has_deadlines)) for shard in shards]
            answers = await self._scripts["lease"].run(self._redis, calls)
            for shard, answer in zip(shards, answers, strict=True):
                self._ready[shard], waits_ms[shard] = answer[0], answer[1]
                leases += _read_leases(answer)
            if len(leases) >= want or not any(self._ready):
                break
            shares = self._shares(want - len(leases))
            shards = [shard for shard in range(SHARDS) if shares[shard]]
        return leases, min([IDLE_SECONDS, *(wait_ms / 1000 for wait_ms in waits_ms if wait_ms >= 0)])

    async def settle(self, outcomes: Sequence[Done | Later]) -> int:
        """Ends leases; returns how many were still held, for only those are changed."""
        entries: list[Entry] = []
        for outcome in outcomes:
            lease = outcome.lease
            match outcome:
                case Later(delay_ms=delay_ms, memo=memo):
                    note = "" if memo is None else f"={memo}"
                    entries.append((lease.group, lease.id, lease.fence, delay_ms, note, outcome.share))
                case Done():
                    entries.append((lease.group, lease.id, lease.fence, "", "", outcome.share))
        answers, _ = await self._spread("settle", (), entries)
        return sum(answers)

    async def renew(self, leases: Sequence[Lease], lease_ms: int) -> list[Lease]:
        """Lets the leases run for `lease_ms` from now; returns those that are no longer held."""
        entries = [(lease.group, lease.id, lease.fence) for lease in leases]
        answers, places = await self._spread("renew", (lease_ms,), entries)
        return [leases[of[place]] for answer, of in zip(answers, places, strict=True) for place in answer]

    async def limit(self, group: str, limits: Limits, version: str) -> None:
        """Sets the group's limits for all workers. `version`, not empty, comes back with each lease."""
        await self._tune(group, "limit", limits.interval_ms, limits.burst, limits.concurrency, version, limits.first)

    async def hold(self, group: str, ms: int, *, then: int = 0) -> None:
        """
        Nothing of the group is leased for so long; an earlier hold that lasts longer stands. With `then` it may have
        so many at once afterwards, until its outcomes ask for a larger share.
        """
        await self._tune(group, "hold", ms, then)

    async def release(self, group: str) -> None:
        """Ends the group's hold; due times, limits and rate stand as they are."""
        await self._tune(group, "release")

    async def reserve(self, group: str, patience_ms: int) -> int | None:
        """
        Takes one request out of the group's rate for the holder of a lease that makes more than one. Returns in how
        many ms it may be made, holds included; None, and nothing is taken, when that is longer than `patience_ms`.
        """
        [wait_ms] = await self._scripts["reserve"].run(
            self._redis, [self._call(self._shard_of(group), (group, patience_ms))]
        )
        return wait_ms if wait_ms >= 0 else None

    async def restart_rate(self, group: str) -> None:
        """Forgets what the group has used of its rate."""
        await self._tune(group, "restart_rate")

    async def overdue(self) -> tuple[int, float]:
        """
        How many ids could be leased now, and for how many seconds the group that waits longest has gone unserved
        although it could be: 0 while there are workers enough, however long a backlog its own limits make.
        """
        answers = await self._scripts["overdue"].run(self._redis, [self._call(shard, ()) for shard in range(SHARDS)])
        return sum(answer[0] for answer in answers), max(answer[1] for answer in answers) / 1000

    async def counts(self) -> Counts:
        """How many ids the station holds."""
        pipeline = self._redis.pipeline(transaction=False)
        for shard in range(SHARDS):
            pipeline.execute_command("HMGET", f"{self._shard(shard)}:state", "due", "leased")
        with answering():
            answers: list[list[str | None]] = await pipeline.execute()
        return Counts(*(sum(int(answer[field] or 0) for answer in answers) for field in (0, 1)))

    async def wait(self, seconds: float) -> None:
        """Returns as soon as this station has something new since the last `lease`, at the latest after `seconds`."""
        await self._wakes.wait(seconds)

    async def close(self) -> None:
        """Stops listening for wakes. The client belongs to whoever made it."""
        await self._wakes.close()

    def _shard(self, number: int) -> str:
        return f"relay:{{{self._station}:{number}}}"

    def _shard_of(self, group: str) -> str:
        return self._shard(crc32(group.encode()) % SHARDS)

    def _shares(self, want: int) -> list[int]:
        """`want` divided by the groups each shard can serve, or evenly when none is known; odd ones take turns."""
        weights = self._ready if any(self._ready) else [1] * SHARDS
        shares = [want * weight // sum(weights) for weight in weights]
        takers = [shard for shard, weight in enumerate(weights) if weight]
        rest = want - sum(shares)
        for turn in range(rest):
            shares[takers[(self._next_shard + turn) % len(takers)]] += 1
        self._next_shard += rest
        return shares

    def _call(self, shard: int | str, arguments: Arguments) -> tuple[str, Arguments]:
        key = self._shard(shard) if isinstance(shard, int) else shard
        now = self._clock_ms() if self._clock_ms else ""
        default = self._default
        return key, (now, default.interval_ms, default.burst, default.concurrency, *arguments)

    async def _spread(
        self, script: str, head: Arguments, entries: Sequence[Entry]
    ) -> tuple[list[Any], list[list[int]]]:
        """Runs the script with the entries, whose first part is the group; each answer with its entries' places."""
        by_shard: dict[str, list[int]] = {}
        for place, entry in enumerate(entries):
            by_shard.setdefault(self._shard_of(str(entry[0])), []).append(place)
        calls, places = [], []
        for shard, of_shard in by_shard.items():
            for start in range(0, len(of_shard), ENTRIES_PER_CALL):
                some = of_shard[start : start + ENTRIES_PER_CALL]
                calls.append(self._call(shard, (*head, *(part for place in some for part in entries[place]))))
                places.append(some)
        return await self._scripts[script].run(self._redis, calls), places

    async def _of_group(self, script: str, group: str, ids: Sequence[str]) -> list[Any]:
        calls = [
            self._call(self._shard_of(group), (group, *ids[start : start + ENTRIES_PER_CALL]))
            for start in range(0, len(ids), ENTRIES_PER_CALL)
        ]
        return await self._scripts[script].run(self._redis, calls)

    async def _tune(self, group: str, verb: str, *arguments: str | int | float) -> None:
        call = self._call(self._shard_of(group), (group, self._channel, verb, *arguments))
        await self._scripts["tune"].run(self._redis, [call])


def _read_leases(answer: list[Any]) -> list[Lease]:
    now_ms = answer[2]
    leases = []
    for at in range(3, len(answer), FIELDS_PER_LEASE):
        group, name, fence, memo, version, due = answer[at : at + FIELDS_PER_LEASE]
        due_ms = int(due)
        leases.append(Lease(group, name, int(fence), memo, version, due_ms, now_ms - due_ms))
    return leases
