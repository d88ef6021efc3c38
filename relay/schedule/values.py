"""The words the schedule is spoken to in: what is put, leased and settled, and the limits of a group."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

BURST_SECONDS = 0.1  # of a rate: what a worker that was busy for a moment may catch up with
SLACK = 1.02  # of an interval: requests may arrive a little closer together than they set out


@dataclass(frozen=True, slots=True)
class Item:
    """
    `id` of `group` shall be due in `delay_ms`. `memo` is a short note that comes back with the lease ("": none); on a
    schedule of deadlines it is the deadline, in milliseconds since 1970.
    """

    group: str
    id: str
    delay_ms: int = 0
    memo: str = ""


class Lease(NamedTuple):  # a tuple: thousands are made each second, and a frozen dataclass costs four times as much
    """
    The right to work on an id until the lease runs out. `version` is that of the group's limits ("": it has none
    and the default ones apply; who sees that should call `limit`). `due_ms` is when it was due on the shard's own
    clock, `late_ms` how long before the lease that was.
    """

    group: str
    id: str
    fence: int
    memo: str
    version: str
    due_ms: int
    late_ms: int


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What all workers together may lease of a group: one each `interval_ms` (0: no rate) after a first `burst`, and
    `concurrency` at once (0: any number). No window of w ms holds more than `w / interval_ms + burst` leases.
    With `first`, a group that is new here has so many at once, until its outcomes ask for a larger share.
    """

    interval_ms: float = 0
    burst: int = 1
    concurrency: int = 0
    first: int = 0

    @classmethod
    def per_second(cls, requests: float, concurrency: int = 0) -> Self:
        """A rate with so little burst that every 10 s are within 5 % of it, also where the requests arrive."""
        return cls(1000 / requests * SLACK, max(1, int(requests * BURST_SECONDS)), concurrency)


class Share(StrEnum):
    """What an outcome makes of how many its group may have at once: within its concurrency, and for all workers."""

    SAME = ""
    MORE = "+"  # by one: where all that were in flight ask for it, twice as many are next
    HALF = "-"  # but one at least


@dataclass(frozen=True, slots=True)
class Done:
    """The leased id needs no more work: it is forgotten, unless it was put again meanwhile."""

    lease: Lease
    share: Share = Share.SAME


@dataclass(frozen=True, slots=True)
class Later:
    """The leased id is due again in `delay_ms`. `memo` replaces its note; None lets it stand."""

    lease: Lease
    delay_ms: int
    memo: str | None = None
    share: Share = Share.SAME


@dataclass(frozen=True, slots=True)
class Counts:
    """How many ids a station holds: `due` now or some day, `leased` by somebody."""

    due: int
    leased: int
