"""What ten thousand jobs on one credential cost ten jobs on another: how late their ends are seen, with and without."""

# Two workers on SQLite and a Redis beside them, in processes of their own; the provider is this one. The delay is from
# a job's end at the provider to the look that is told of it, so it holds the gap between looks (3 s, ±10 %):
#
#     python -m bench fairness > bench/results/fairness.txt

import asyncio
import json
import multiprocessing
import random
import statistics
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event as Stop
from pathlib import Path
from typing import Any

from relay.bootstrap import Relay, open_relay
from relay.embedded import EmbeddedRedis
from relay.logs import configure
from relay.register import JobRequest
from relay.store import migrate
from tests.account_stub import HuaweiAccount
from tests.provider_stub import CREDENTIALS, hex_id
from tests.receivers import Behaviour, Call, Receiver, Wire
from tests.trips import TENANT, make_credential, settings_for, working

CROWD = 10_000
FEW = 10
WAVES = 12
WAVE_SECONDS = 14.0
ENDS_WITHIN_SECONDS = (2.0, 9.0)
WORKERS = 2
PENDING = json.dumps({"id": "t", "status": "processing"}).encode()
DONE = json.dumps({"id": "t", "status": "completed", "audioUrl": "https://files.example/a"}).encode()


@dataclass
class Provider:
    """Answers looks; jobs with a moment in `ends` have ended from then on."""

    ends: dict[str, float] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)
    asked: int = 0

    async def __call__(self, call: Call, wire: Wire) -> None:
        """The behaviour of a `Receiver`."""
        self.asked += 1
        job, now = call.target.rpartition("/")[2], asyncio.get_running_loop().time()
        has_ended = job in self.ends and now >= self.ends[job]
        if has_ended:
            self.late.setdefault(job, now - self.ends[job])
        await wire.respond(200, {"content-type": "application/json"}, DONE if has_ended else PENDING)


def work(database_url: str, redis_url: str, stop: Stop) -> None:
    """One worker's process."""
    asyncio.run(_work(database_url, redis_url, stop))


async def _work(database_url: str, redis_url: str, stop: Stop) -> None:
    async with open_relay(settings_for(database_url, redis_url)) as relay, working(relay, drains=2):
        await asyncio.to_thread(stop.wait)


async def sign_in(
    relay: Relay, stack: AsyncExitStack, name: str, provider: str, behaviour: Behaviour, **more: Any
) -> str:
    """A credential at a server of its own; its id."""
    server = await stack.enter_async_context(Receiver(behaviour))
    told = {"name": name, "max_requests_per_second": None, "max_concurrency": None, **CREDENTIALS[provider], **more}
    made = make_credential(relay, provider, server.url(""), **told)
    await relay.steer.add_credential(made)
    return made.id


async def register(relay: Relay, provider: str, credential: str, jobs: list[str]) -> None:
    for start in range(0, len(jobs), 1000):
        some = jobs[start : start + 1000]
        await relay.register.jobs(TENANT, [JobRequest(provider, job, credential=credential) for job in some])


async def delays(relay: Relay, stack: AsyncExitStack, name: str) -> list[float]:
    """Ten jobs at a time, again and again; how late each end was seen, in seconds, ascending."""
    provider, dice = Provider(), random.Random(5)
    credential = await sign_in(relay, stack, name, "fishspeech", provider)
    for wave in range(WAVES):
        now = asyncio.get_running_loop().time()
        jobs = [f"{name}_{wave}_{number}" for number in range(FEW)]
        provider.ends |= {job: now + dice.uniform(*ENDS_WITHIN_SECONDS) for job in jobs}
        await register(relay, "fishspeech", credential, jobs)
        await asyncio.sleep(WAVE_SECONDS)
    if len(provider.late) < WAVES * FEW:
        raise RuntimeError(f"{WAVES * FEW - len(provider.late)} ends were not seen in time")
    return sorted(provider.late.values())


async def compare(
    relay: Relay, stack: AsyncExitStack, name: str, what: str, asked: Callable[[], int] = lambda: 0
) -> None:
    """One line of the result; `asked` counts the requests that the crowd's providers have had."""
    before = asked()
    late = await delays(relay, stack, name)
    told = f"median {statistics.median(late):.2f} s   p95 {late[round(len(late) * 0.95) - 1]:.2f} s"
    rate = (asked() - before) / (WAVES * WAVE_SECONDS)
    print(f"  {what:<52}{told}   longest {late[-1]:.2f} s   {rate:6.1f} requests/s for the crowd", flush=True)


async def measure(database_url: str, redis_url: str) -> None:
    async with open_relay(settings_for(database_url, redis_url)) as relay, AsyncExitStack() as stack:
        print(f"{FEW} jobs on one credential, {WAVES} times; {WORKERS} workers; how late an end is seen\n")
        await compare(relay, stack, "alone", "alone")
        crowd = Provider()
        told = {"max_requests_per_second": 200.0, "max_concurrency": 50}
        busy = await sign_in(relay, stack, "crowd", "fishspeech", crowd, **told)
        await register(relay, "fishspeech", busy, [f"crowd_{number}" for number in range(CROWD)])
        await compare(relay, stack, "beside", f"beside {CROWD:,} jobs looked at singly", lambda: crowd.asked)
        account = HuaweiAccount({hex_id(number): {"state": "PROCESSING"} for number in range(CROWD)})
        listed = await sign_in(relay, stack, "listed", "huawei_metastudio", account, max_requests_per_second=50.0)
        await register(relay, "huawei_metastudio", listed, list(account.jobs))
        what = f"beside those and {CROWD:,} jobs asked for by the page"
        await compare(relay, stack, "beside_both", what, lambda: crowd.asked + len(account.asked))


def main() -> None:
    """Prints the result."""
    configure("ERROR")
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as server:
        database_url = f"sqlite:///{folder}/relay.db"
        asyncio.run(migrate(database_url))
        context = multiprocessing.get_context("fork")
        stop = context.Event()
        workers = [context.Process(target=work, args=(database_url, server.url, stop)) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        try:
            asyncio.run(measure(database_url, server.url))
        finally:
            stop.set()
            for worker in workers:
                worker.join(60)


if __name__ == "__main__":
    main()
