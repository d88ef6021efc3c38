"""What 20 receivers that hang cost 200 that answer: the lateness of deliveries with them and without them."""

# One worker's delivering station on SQLite and a Redis beside it; the receivers are another process:
#
#     python -m bench isolation > bench/results/isolation.txt

import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from relay.bootstrap import Relay, open_relay
from relay.domain.event import Event, event_body
from relay.domain.subscription import Subscription
from relay.embedded import EmbeddedRedis
from relay.logs import configure
from relay.store import Announcement, migrate
from tests.receivers import Call, Receiver, Wire
from tests.trips import TENANT, make_subscription, settings_for

ANSWERING = 200
HANGING = 20
EVENTS_PER_SECOND = 100  # each to one receiver that answers, in turn
SECONDS = 30.0
BACKLOG = 40  # deliveries due at once at each receiver that hangs; more of them come all the time
ANSWER_SECONDS = 0.02
ROUNDS = 3


def receive(to_parent: Connection) -> None:
    """The receivers' process: tells its port, then, when asked, how late each call was."""
    asyncio.run(_receive(to_parent))


async def _receive(to_parent: Connection) -> None:
    late_ms: deque[float] = deque()

    async def answer(call: Call, wire: Wire) -> None:
        if call.target.startswith("/hang"):
            await wire.reader.read()
            wire.close()
            return
        posted = json.loads(call.body)["data"]["posted"]
        late_ms.append((time.time() - posted) * 1000)
        await asyncio.sleep(ANSWER_SECONDS)
        await wire.respond(204)

    async with Receiver(answer) as inbox:
        to_parent.send(inbox.port)
        await asyncio.to_thread(to_parent.recv)
        to_parent.send(list(late_ms))


def announced(relay: Relay, subscription: Subscription) -> Announcement:
    """An event of this moment for that subscription."""
    event_id, now = relay.clock.new_id("evt"), relay.clock.now()
    body = event_body(event_id, "job.completed", now, {"posted": time.time()})
    event = Event(event_id, TENANT, "job.completed", body, None, None, now)
    return relay.announcer._announcement(event, [subscription], None)  # noqa: SLF001  as an ending does


async def post(relay: Relay, subscription: Subscription) -> None:
    announcement = announced(relay, subscription)
    await relay.store.add_announcement(announcement)
    await relay.announcer.put([announcement])


async def measure(database_url: str, redis_url: str, port: int, hanging: int) -> int:
    """Posts for so long, and returns how many leases there were at the end that hang."""
    await migrate(database_url)
    async with open_relay(settings_for(database_url, redis_url)) as relay:
        await relay.redis.flushall()
        answering = [make_subscription(relay, f"http://127.0.0.1:{port}/{n}") for n in range(ANSWERING)]
        stuck = [make_subscription(relay, f"http://127.0.0.1:{port}/hang/{n}") for n in range(hanging)]
        for subscription in (*answering, *stuck):
            await relay.steer.add_subscription(subscription)
        stopping = asyncio.Event()
        drain = asyncio.create_task(relay.deliver.drain(600, stopping))
        for subscription in stuck:
            for _ in range(BACKLOG):
                await post(relay, subscription)
        began = time.monotonic()
        for number in range(round(SECONDS * EVENTS_PER_SECOND)):
            await asyncio.sleep(max(0.0, began + number / EVENTS_PER_SECOND - time.monotonic()))
            await post(relay, answering[number % ANSWERING])
            if stuck and number % 20 == 0:
                await post(relay, stuck[number // 20 % hanging])
        await asyncio.sleep(1.0)
        leased = (await relay.deliveries.counts()).leased
        stopping.set()
        drain.cancel()
        with suppress(asyncio.CancelledError):
            await drain
        return leased


def lateness(hanging: int) -> tuple[list[float], int]:
    """Milliseconds from the event to the receiver, sorted, and the leases that were left hanging."""
    ours, theirs = multiprocessing.Pipe()
    receivers = multiprocessing.get_context("fork").Process(target=receive, args=(theirs,))
    receivers.start()
    port = ours.recv()
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as redis:
        leased = asyncio.run(measure(f"sqlite:///{folder}/relay.db", redis.url, port, hanging))
    ours.send("done")
    late_ms = sorted(ours.recv())
    receivers.join()
    return late_ms, leased


def main() -> None:
    configure("error")
    print(f"{ANSWERING} receivers answer after {ANSWER_SECONDS * 1000:.0f} ms.")
    print(f"{EVENTS_PER_SECOND} events a second for {SECONDS:.0f} s, each to one of them in turn.")
    print("Milliseconds from the event, before its commit, to the receiver; those that hang time out after 15 s:\n")
    tails: dict[int, list[float]] = {0: [], HANGING: []}
    for _ in range(ROUNDS):
        for hanging in (0, HANGING):
            late_ms, leased = lateness(hanging)
            p99 = late_ms[int(len(late_ms) * 0.99) - 1]
            tails[hanging].append(p99)
            print(
                f"  {hanging:>2} that hang: {len(late_ms):>5} delivered   p50 {statistics.median(late_ms):6.1f}   "
                f"p99 {p99:6.1f}   max {late_ms[-1]:7.1f}   hanging at the end {leased:>3}",
                flush=True,
            )
    without, beside = (statistics.median(tails[hanging]) for hanging in (0, HANGING))
    print(
        f"\np99, medians of the rounds: {without:.1f} without, {beside:.1f} beside them: {beside / without:.2f} times"
    )


if __name__ == "__main__":
    main()
