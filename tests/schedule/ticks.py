"""Time as an argument, and ways to ask a schedule for everything."""

from collections.abc import Callable
from zlib import crc32

from relay.schedule import Lease, Schedule
from relay.schedule.timetable import SHARDS

LEASE_MS = 6000

MakeSchedule = Callable[..., Schedule]


class Ticks:
    """Milliseconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_ms(self, ms: int) -> None:
        self.now += ms


async def lease_all(schedule: Schedule, want: int = 1000, lease_ms: int = LEASE_MS) -> list[Lease]:
    """Everything that may be leased now."""
    leases: list[Lease] = []
    while True:
        some, wait_seconds = await schedule.lease(want, lease_ms)
        leases += some
        if wait_seconds > 0:
            return leases


def ids(leases: list[Lease]) -> list[str]:
    return [lease.id for lease in leases]


def groups_of_one_shard(count: int) -> list[str]:
    """Names that share a shard, so that they compete within one script."""
    names = (f"group_{number}" for number in range(100_000))
    return [name for name in names if crc32(name.encode()) % SHARDS == 0][:count]
