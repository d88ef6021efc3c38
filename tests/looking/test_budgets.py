"""What a credential may ask is what all workers together ask, counted where the requests arrive."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.bootstrap import Relay, open_relay
from relay.domain.credential import Credential
from relay.register import JobRequest
from tests.account_stub import HuaweiAccount, most_within
from tests.provider_stub import CREDENTIALS, hex_id
from tests.receivers import Behaviour, Call, Receiver, Wire
from tests.swift import swift
from tests.trips import TENANT, living, make_credential, settings_for, until, working

SECONDS = 12.5
WINDOW_SECONDS = 10.0
OVER = 1.05
INTERVAL_SECONDS = 1.0
FASTEST_SECONDS = INTERVAL_SECONDS * 1.1 + 0.3  # a gap with its jitter, and what this machine needs for a round trip


@dataclass
class Counter:
    """Answers looks and second steps with the same bodies for ever; notes when, and how many at once."""

    look: bytes
    fetch: bytes = b""
    seconds: float = 0.0
    moments: list[float] = field(default_factory=list)
    now: int = 0
    most: int = 0

    async def __call__(self, call: Call, wire: Wire) -> None:
        """The behaviour of a `Receiver`."""
        self.moments.append(asyncio.get_running_loop().time())
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        body = self.fetch if "-result/" in call.target else self.look
        await wire.respond(200, {"content-type": "application/json"}, body)


PENDING = json.dumps({"id": "t", "status": "processing"}).encode()
ENDED = json.dumps({"status": "SUCCESS", "run_id": 5}).encode()
LINK = json.dumps({"output_url": "https://files.example/a"}).encode()


@asynccontextmanager
async def two_workers(database_url: str, redis_url: str, folder: Path) -> AsyncIterator[tuple[Relay, AsyncExitStack]]:
    """Two relays on one database and one Redis, both at work."""
    more = swift(folder, "fishspeech", "camb", "huawei_metastudio", interval_seconds=INTERVAL_SECONDS)
    settings = settings_for(database_url, redis_url, **more)
    async with (
        living(database_url, redis_url, **more) as first,
        open_relay(settings) as second,
        working(first, drains=2),
        working(second),
        AsyncExitStack() as stack,
    ):
        yield first, stack


async def busy(
    relay: Relay, stack: AsyncExitStack, provider: str, behaviour: Behaviour, rate: float, at_once: int = 50
) -> Credential:
    """A credential with that budget and more jobs than it can look at."""
    server = await stack.enter_async_context(Receiver(behaviour))
    made = make_credential(
        relay,
        f"swift_{provider}",
        server.url(""),
        **CREDENTIALS[provider],
        name=f"{provider} {rate}",
        max_requests_per_second=rate,
        max_concurrency=at_once,
    )
    assert await relay.steer.add_credential(made)
    count = math.ceil(rate * SECONDS * 2)
    jobs = [JobRequest(made.provider, hex_id(number), credential=made.id) for number in range(count)]
    await relay.register.jobs(TENANT, jobs)
    return made


async def test_two_workers_never_ask_more_than_the_budget_in_any_ten_seconds(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    looks = {rate: Counter(PENDING) for rate in (1.0, 5.0, 40.0)}
    steps = Counter(ENDED, LINK)
    account = HuaweiAccount({hex_id(number): {"state": "PROCESSING"} for number in range(1000)})
    async with two_workers(database_url, redis_url, tmp_path) as (relay, stack):
        for rate, counter in looks.items():
            await busy(relay, stack, "fishspeech", counter, rate)
        await busy(relay, stack, "camb", steps, 10.0)
        await busy(relay, stack, "huawei_metastudio", account, 4.0)
        began = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() - began >= SECONDS)
    counted = [*((rate, counter.moments) for rate, counter in looks.items()), (10.0, steps.moments)]
    counted.append((4.0, [one.at for one in account.asked]))
    for rate, moments in counted:
        most = most_within(moments, WINDOW_SECONDS)
        assert most <= max(rate * WINDOW_SECONDS * OVER, math.ceil(rate * WINDOW_SECONDS)), (rate, most)
        assert most >= rate * WINDOW_SECONDS * 0.85 - 1, (rate, most)


@pytest.mark.parametrize("at_once", [1, 3])
async def test_two_workers_never_ask_more_at_once_than_they_may(
    at_once: int, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    counter = Counter(PENDING, seconds=0.1)
    async with two_workers(database_url, redis_url, tmp_path) as (relay, stack):
        await busy(relay, stack, "fishspeech", counter, 100.0, at_once)
        await until(lambda: len(counter.moments) >= 20)
    assert counter.most == at_once


@dataclass
class Clockwork:
    """Jobs that end at moments of their own; notes how late each was found to have ended."""

    ends: dict[str, float] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)

    async def __call__(self, call: Call, wire: Wire) -> None:
        """The behaviour of a `Receiver`."""
        job, now = call.target.rpartition("/")[2], asyncio.get_running_loop().time()
        body = PENDING
        if job in self.ends and now >= self.ends[job]:
            self.late.setdefault(job, now - self.ends[job])
            body = json.dumps({"id": "t", "status": "completed", "audioUrl": "https://files.example/a"}).encode()
        await wire.respond(200, {"content-type": "application/json"}, body)


async def worst_delay(relay: Relay, stack: AsyncExitStack, name: str) -> float:
    """The p95 of the detection delays of ten jobs is the longest of them."""
    clockwork = Clockwork()
    server = await stack.enter_async_context(Receiver(clockwork))
    made = make_credential(relay, "swift_fishspeech", server.url(""), **CREDENTIALS["fishspeech"], name=name)
    assert await relay.steer.add_credential(made)
    now = asyncio.get_running_loop().time()
    clockwork.ends = {hex_id(number): now + 1.0 + number * 0.13 for number in range(10)}
    requests = [JobRequest(made.provider, job, credential=made.id) for job in clockwork.ends]
    await relay.register.jobs(TENANT, requests)
    await until(lambda: len(clockwork.late) == 10)
    return max(clockwork.late.values())


async def test_thousands_of_jobs_on_one_credential_leave_the_detection_delay_on_another_unchanged(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    crowd = Counter(PENDING, seconds=0.05)
    async with two_workers(database_url, redis_url, tmp_path) as (relay, stack):
        alone = await worst_delay(relay, stack, "alone")
        await busy(relay, stack, "fishspeech", crowd, 100.0, 20)
        await until(lambda: len(crowd.moments) >= 50)
        beside = await worst_delay(relay, stack, "beside")
        asked = len(crowd.moments)
    assert asked >= 150
    assert alone <= FASTEST_SECONDS
    assert beside <= FASTEST_SECONDS
