"""How many deliveries arrive while their links live, after an outage of 30 minutes, beside the best-known schedules."""

# The clock is simulated; ours is the very code of relay.domain and, for the second part, of the schedule in Redis:
#
#     python -m bench expiry > bench/results/expiry.txt

import asyncio
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relay.clock import Clock
from relay.domain.delivery import Answer, Delivery, DeliveryStatus, step
from relay.embedded import EmbeddedRedis
from relay.schedule import Done, Item, Limits, Schedule, connect
from relay.settings import RETRY_SCHEDULE_SECONDS

OUTAGE_SECONDS = 1800.0
EVENTS = 20_000
LIVES_SECONDS = (300.0, 600.0, 900.0, 1800.0, 2100.0, 3600.0, 6 * 3600.0)
MINUTE, HOUR = 60.0, 3600.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)

# Seconds between attempts, as they are documented; none of these senders knows when a payload dies.
OTHERS: dict[str, tuple[Sequence[float], str]] = {
    "Svix": ((5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR), "docs.svix.com/retries"),
    "Standard Webhooks": (
        (5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
        "the specification's example",
    ),
    "Stripe": (
        (5 * MINUTE, 25 * MINUTE, 90 * MINUTE, 2 * HOUR, 4 * HOUR, 8 * HOUR, 24 * HOUR, 24 * HOUR),
        "three days, as observed by its users",
    ),
    "Hookdeck Outpost": (tuple(30.0 * 2**n for n in range(10)), "30 s, doubled, 10 retries"),
    "Convoy": ((100.0,) * 10, "every 100 s, 10 times"),
}

Moments = Iterator[float]  # when attempts begin, in seconds after the event; each has failed when the next is asked for


@dataclass(frozen=True, slots=True)
class Event:
    """Decided `at` seconds after the outage began; its links die `life` seconds later."""

    at: float
    life: float


def fixed(gaps: Sequence[float]) -> Callable[[Event, random.Random], Moments]:
    """A schedule that is the same for everybody."""

    def moments(_: Event, __: random.Random) -> Moments:
        elapsed = 0.0
        yield elapsed
        for gap in gaps:
            elapsed += gap
            yield elapsed

    return moments


def ours(event: Event, dice: random.Random) -> Moments:
    """What `step` makes of a receiver that refuses every connection."""
    delivery = _delivery(event.life)
    elapsed = 0.0
    yield elapsed
    while True:
        moment = NOW + timedelta(seconds=elapsed)
        following = step(delivery, Answer("refused", "receiver"), moment, RETRY_SCHEDULE_SECONDS, dice.random())
        if following.delay_seconds is None:
            return
        delivery = following.delivery
        elapsed += following.delay_seconds
        yield elapsed


def _delivery(life_seconds: float) -> Delivery:
    expires_at = NOW + timedelta(seconds=life_seconds)
    return Delivery(
        id="dlv_1",
        tenant="default",
        event_id="evt_1",
        event_type="job.completed",
        job_id=None,
        subscription_id="sub_1",
        url="",
        status=DeliveryStatus.PENDING,
        attempts_made=0,
        steps=0,
        has_quick_retried=False,
        next_trigger="schedule",
        next_attempt_at=NOW,
        expires_at=expires_at,
        created_at=NOW,
        completed_at=None,
    )


@dataclass(frozen=True, slots=True)
class Fare:
    """How one event fared: whether and how long after the outage it arrived, and at how many calls."""

    is_in_time: bool
    is_lost: bool
    after_seconds: float
    calls: int


def fare(event: Event, moments: Moments) -> Fare:
    """Every attempt before the end of the outage fails, the first one after it succeeds."""
    calls = 0
    for moment in moments:
        calls += 1
        arrival = event.at + moment
        if arrival >= OUTAGE_SECONDS:
            return Fare(moment < event.life, False, arrival - OUTAGE_SECONDS, calls)
    return Fare(False, True, 0.0, calls)


def receiver_outage() -> None:
    """The receiver is down; events go on happening."""
    print(f"A receiver is down for {OUTAGE_SECONDS / MINUTE:.0f} minutes; {EVENTS:,} events happen evenly through it.")
    print("Delivered while the result's links live, of those whose links outlive the outage, by how long they live:\n")
    heads = [f"{life / MINUTE:.0f} min" if life < 2 * HOUR else f"{life / HOUR:.0f} h" for life in LIVES_SECONDS]
    print(
        f"{'':<20}" + "".join(f"{head:>9}" for head in heads) + f"{'all':>9}{'lost':>8}{'median wait':>13}{'calls':>7}"
    )
    senders = {"relay": ours, **{name: fixed(gaps) for name, (gaps, _) in OTHERS.items()}}
    for name, schedule in senders.items():
        dice = random.Random(1)
        row, every = [], []
        for life in LIVES_SECONDS:
            events = [Event(OUTAGE_SECONDS * n / EVENTS, life) for n in range(EVENTS)]
            fares = [fare(event, schedule(event, dice)) for event in events if event.at + life > OUTAGE_SECONDS]
            row.append(statistics.mean(one.is_in_time for one in fares))
            every += fares
        arrived = [one.after_seconds for one in every if not one.is_lost]
        print(
            f"{name:<20}"
            + "".join(f"{share:>9.1%}" for share in row)
            + f"{statistics.mean(one.is_in_time for one in every):>9.1%}"
            + f"{statistics.mean(one.is_lost for one in every):>8.1%}"
            + f"{statistics.median(arrived) / MINUTE:>9.1f} min"
            + f"{statistics.mean(one.calls for one in every):>7.1f}"
        )
    print("\nwait: from the receiver's return to the arrival; calls: attempts made for each delivery; schedules:")
    for name, (_, source) in OTHERS.items():
        print(f"  {name}: {source}")


async def our_outage(url: str) -> None:
    """No worker runs for 30 minutes, then one receiver takes four calls a second, one after the other."""
    count, per_second = 3600, 4
    minutes = OUTAGE_SECONDS / MINUTE
    print(f"\nNo worker runs for {minutes:.0f} minutes; {count:,} deliveries to one receiver become due in it, which")
    print(
        f"then takes {per_second} a second. Delivered while the links live (10 to 60 minutes, evenly mixed), of those"
    )
    print("whose links outlive the outage:\n")
    for name, has_deadlines in (("earliest expiry first", True), ("in order of due times", False)):
        in_time, savable = await _drained(url, count, per_second, has_deadlines=has_deadlines)
        print(f"{name:<24}{in_time:>6,} of {savable:,} {in_time / savable:>8.1%}")


async def _drained(url: str, count: int, per_second: int, *, has_deadlines: bool) -> tuple[int, int]:
    dice, start_ms = random.Random(2), 1_800_000_000_000
    now_ms = start_ms
    async with connect(url) as redis:
        await redis.flushall()
        limits = Limits(concurrency=1)
        schedule = Schedule(
            redis, "deliver", Clock(), default_limits=limits, clock_ms=lambda: now_ms, has_deadlines=has_deadlines
        )
        expiry: dict[str, int] = {}
        for number in range(count):
            at_ms = round(OUTAGE_SECONDS * 1000 * number / count)
            expiry[str(number)] = start_ms + at_ms + dice.randrange(600_000, 3_600_000)
            await schedule.put([Item("g", str(number), at_ms, str(expiry[str(number)]))])
        now_ms = start_ms + round(OUTAGE_SECONDS * 1000)
        savable = sum(moment > now_ms for moment in expiry.values())
        in_time = 0
        for _ in range(count):
            [lease] = (await schedule.lease(1, 60_000))[0]
            in_time += expiry[lease.id] > now_ms
            await schedule.settle([Done(lease)])
            now_ms += 1000 // per_second
    return in_time, savable


def main() -> None:
    receiver_outage()
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as redis:
        asyncio.run(our_outage(redis.url))


if __name__ == "__main__":
    main()
