"""What each kind of answer does to a job and to its credential, against providers whose answers are in no sample."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay import metrics
from relay.bootstrap import Relay
from relay.domain.credential import (
    PROBE_SECONDS,
    THROTTLE_SECONDS_FIRST,
    UNRESOLVED_SECONDS,
    Credential,
    CredentialStatus,
)
from relay.domain.job import Memo
from relay.domain.observation import Observation, Outcome
from relay.logs import redact
from relay.looking.desk import Sight
from relay.providers.request import target_for
from tests.provider_stub import CREDENTIALS
from tests.receivers import (
    Behaviour,
    Call,
    Receiver,
    Wire,
    answering,
    dripping,
    endless,
    hanging,
    hanging_up,
    in_turn,
    many_headers,
    redirecting,
    resetting,
)
from tests.swift import SWIFT_SECONDS, ShiftedClock, swift
from tests.trips import TENANT, living, make_credential, make_subscription, until, verified, watch, working

FISH, CAMB = "fishspeech", "camb"
JSON = {"content-type": "application/json"}
PENDING = (200, {"id": "t", "status": "processing"})
DONE = (200, {"id": "t", "status": "completed", "audioUrl": "https://files.example/a.mp3"})

Said = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]
Script = Callable[[str, int], Said]  # the job and how often anything was asked before


@dataclass
class Speaker:
    """Answers each look as `script` says; notes when."""

    script: Script
    asked: list[tuple[float, str]] = field(default_factory=list)

    async def __call__(self, call: Call, wire: Wire) -> None:
        """The behaviour of a `Receiver`."""
        job = call.target.rpartition("/")[2]
        number = len(self.asked)
        self.asked.append((asyncio.get_running_loop().time(), job))
        status, body, *more = self.script(job, number)
        headers = {**JSON, **(more[0] if more else {})}
        await wire.respond(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())

    @property
    def moments(self) -> list[float]:
        return [at for at, _ in self.asked]


@dataclass
class House:
    """A relay with credentials at one or more servers."""

    relay: Relay
    stack: AsyncExitStack

    async def credential(self, behaviour: Behaviour, provider: str = FISH, **more: Any) -> Credential:
        """A credential at a server of its own that behaves so."""
        server = await self.stack.enter_async_context(Receiver(behaviour))
        told = {"name": f"at {server.port}", **CREDENTIALS[provider], **more}
        made = make_credential(self.relay, f"swift_{provider}", server.url(""), **told)
        assert await self.relay.steer.add_credential(made)
        return made

    async def watch(self, credential: Credential, count: int = 1) -> list[str]:
        return [
            await watch(self.relay, credential.provider, f"job_{number}", credential=credential.id)
            for number in range(count)
        ]

    async def status_of(self, credential: Credential) -> CredentialStatus:
        found = await self.relay.store.find_credential(TENANT, credential.id)
        assert found is not None
        return found.status

    async def jobs(self) -> Mapping[str, int]:
        return await self.relay.store.count_jobs(TENANT)

    async def all_are(self, status: str, count: int, within_seconds: float = 20.0) -> None:
        async def they_are() -> bool:
            return (await self.jobs()).get(status, 0) >= count

        await until(they_are, within_seconds)


@pytest.fixture
async def house(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A relay whose providers are in a hurry and whose wall clock can be set."""
    async with opened(database_url, redis_url, tmp_path) as made:
        yield made


@asynccontextmanager
async def opened(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    settings = swift(tmp_path, FISH, CAMB)
    async with living(database_url, redis_url, ShiftedClock(), **settings) as relay, AsyncExitStack() as stack:
        yield House(relay, stack)


def shift(house: House, seconds: float) -> None:
    """Moves the relay's wall clock."""
    assert isinstance(house.relay.clock, ShiftedClock)
    house.relay.clock.shift_seconds += seconds


HUGE = json.dumps({"id": "t", "status": "completed", "pad": "x" * 10_000_000}).encode()
PASSING: dict[str, Behaviour] = {
    "a page": answering(200, {"content-type": "text/html"}, b"<!doctype html><title>completed</title>"),
    "a page for a missing job": answering(404, {"content-type": "text/html"}, b"<html>no such page</html>"),
    "a content network's refusal": answering(403, {"content-type": "text/html"}, b"<html>denied</html>"),
    "nothing": answering(200, JSON, b""),
    "no content": answering(204),
    "cut short": answering(200, JSON, b'{"id": "t", "status": "comp'),
    "less than promised": hanging_up(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"),
    "not UTF-8": answering(200, JSON, b'{"id": "t", "status": "failed", "errorCode": "\xff\xfe"}'),
    "a list": answering(500, JSON, b"[1, 2]"),
    "ten megabytes": answering(200, JSON, HUGE),
    "without end": endless(JSON),
    "one byte at a time": dripping(),
    "silence": hanging(),
    "a reset": resetting(),
    "no HTTP": hanging_up(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "headers without end": many_headers(5000),
    "moved": redirecting(302, "http://127.0.0.1:1/elsewhere"),
    "too early": answering(425, JSON, b"{}"),
    "an error": answering(500, JSON, b'{"message": "boom"}'),
    "unavailable": answering(503, {**JSON, "retry-after": "1"}, b"{}"),
    "a strange number": answering(299, JSON, b"nan"),
    "too deep": answering(200, JSON, b"[" * 100_000),
}


async def test_what_is_no_answer_about_the_job_passes_and_never_fails_it(house: House) -> None:
    credentials = {}
    for name, behaviour in PASSING.items():
        speaker = Speaker(lambda _, number: DONE)
        credentials[name] = await house.credential(in_turn(behaviour, speaker), name=name)
        await house.watch(credentials[name])
    async with working(house.relay):
        await house.all_are("completed", len(PASSING), 40)
    assert await house.jobs() == {"completed": len(PASSING)}
    for name, credential in credentials.items():
        assert await house.status_of(credential) is CredentialStatus.ACTIVE, name


async def test_of_an_answer_without_end_no_more_is_read_than_a_look_may_have(house: House) -> None:
    server = await house.stack.enter_async_context(Receiver(endless(JSON)))
    made = make_credential(house.relay, "swift_fishspeech", server.url(""), **CREDENTIALS[FISH])
    await house.relay.steer.add_credential(made)
    await house.watch(made)
    async with working(house.relay):
        await until(lambda: len(server.calls) >= 2)
    assert server.bytes_written < 32 * 1_048_576  # what sockets hold beside the one MiB of each look
    assert await house.jobs() == {"pending": 1}


HOLD_SECONDS = 2.0


def in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=HOLD_SECONDS + 1), usegmt=True)


HOLDS: dict[str, Callable[[], Mapping[str, str]]] = {
    "seconds": lambda: {"retry-after": "2"},
    "date": lambda: {"retry-after": in_two_seconds()},
    "milliseconds": lambda: {"retry-after-ms": "2000"},
    "reset, seconds": lambda: {"x-ratelimit-reset": "2", "x-ratelimit-remaining": "0"},
    "reset, moment": lambda: {"x-ratelimit-reset": f"{datetime.now(UTC).timestamp() + 2.0:.3f}"},
}


async def test_nobody_is_asked_during_a_hold_whatever_its_dialect(house: House) -> None:
    """Twenty jobs each, looked at by two drains; the seventh request is throttled."""
    speakers = {}
    for name, headers in HOLDS.items():

        def script(_: str, number: int, headers: Callable[[], Mapping[str, str]] = headers) -> Said:
            return (429, {"code": "slow_down"}, headers()) if number == 7 else PENDING

        speakers[name] = Speaker(script)
        credential = await house.credential(speakers[name], name=name, max_requests_per_second=40.0, max_concurrency=3)
        await house.watch(credential, 20)
    async with working(house.relay, drains=2):
        await until(lambda: all(len(one.asked) >= 30 for one in speakers.values()))
    for name, speaker in speakers.items():
        held = speaker.moments[7]
        under_way = 0.1  # a request that another drain had sent before the answer was there
        during = [at - held for at in speaker.moments[8:] if under_way < at - held < HOLD_SECONDS - 0.02]
        assert not during, f"{name}: {during}"
        assert sum(at - held <= under_way for at in speaker.moments[8:]) <= 3, name
    assert await house.jobs() == {"pending": 100}


async def test_a_hold_shows_and_passes_by_itself(house: House) -> None:
    throttles = [(429, {"code": "slow_down"}, {"retry-after": seconds}) for seconds in ("2", "1")]
    speaker = Speaker(lambda _, number: throttles.pop() if throttles else (PENDING if number < 5 else DONE))
    credential = await house.credential(speaker, max_concurrency=1)
    await house.watch(credential, 2)

    async def throttled_until() -> datetime | None:
        found = await house.relay.store.find_credential(TENANT, credential.id)
        assert found is not None
        return found.throttled_until if found.status is CredentialStatus.THROTTLED else None

    async with working(house.relay):
        first = await until(throttled_until)
        await until(lambda: len(speaker.asked) == 2)

        async def is_longer() -> bool:
            second = await throttled_until()
            assert second is not None  # not active in between, although the first hold is over
            return (second - first).total_seconds() >= 2.0

        await until(is_longer)
        await house.all_are("completed", 2)
    assert await house.status_of(credential) is CredentialStatus.ACTIVE


async def test_throttling_without_a_time_is_backed_off_from_and_never_fails_a_job(house: House) -> None:
    assert isinstance(house.relay.clock, ShiftedClock)
    house.relay.clock.loaded = 0.06
    speaker = Speaker(lambda _, number: (429, {}) if number < 4 else DONE)
    credential = await house.credential(speaker, max_concurrency=1)
    await house.watch(credential, 3)
    async with working(house.relay):
        await house.all_are("completed", 3, 60)
    assert await house.jobs() == {"completed": 3}
    gaps = [late - early for early, late in pairwise(speaker.moments[:5])]
    assert all(gap >= 0.06 * THROTTLE_SECONDS_FIRST * 2**place for place, gap in enumerate(gaps))


async def test_a_host_that_only_fails_is_left_in_peace_and_another_one_is_not(house: House) -> None:
    broken, sound = Speaker(lambda *_: (502, {})), Speaker(lambda *_: PENDING)
    for speaker in (broken, sound):
        await house.watch(await house.credential(speaker, max_concurrency=4), 20)
    async with working(house.relay):
        await until(lambda: len(sound.asked) >= 200)
    assert 5 <= len(broken.asked) <= 5 + 4 + 2  # those that were on their way, and a trial or two
    assert await house.jobs() == {"pending": 40}


def metric(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_word_that_nobody_knows_is_pending_counted_sampled_and_warned_about_once(house: House) -> None:
    strange = (200, {"id": "t", "status": "marinating", "note": "token fish-token-of-the-stub"})
    speaker = Speaker(lambda _, number: strange if number < 12 else DONE)
    credential = await house.credential(speaker)
    before = metric("relay_unknown_words_total", provider="swift_fishspeech")
    jobs = await house.watch(credential, 4)
    with capture_logs() as logs:
        async with working(house.relay):
            await house.all_are("completed", 4)
    assert metric("relay_unknown_words_total", provider="swift_fishspeech") - before == 12
    warned = [entry for entry in logs if entry["event"] == "unknown_word"]
    assert [(entry["word"], entry["log_level"]) for entry in warned] == [("marinating", "warning")]
    (kept,) = await house.relay.noticeboard.unknown_words("swift_fishspeech")
    assert (kept.word, 1 <= kept.count <= 12) == ("marinating", True)
    assert kept.sample["job"] in jobs
    assert json.loads(kept.sample["body"])["note"] == "token [redacted]"
    shown = redact(None, "warning", warned[0])  # as the log's reader sees it
    assert (shown["job"], shown["said"]) == (kept.sample["job"], kept.sample["body"])


async def operator(house: House, *types: str) -> Receiver:
    """Who hears of the relay's own doings."""
    inbox = await house.stack.enter_async_context(Receiver(answering(204)))
    await house.relay.steer.add_subscription(make_subscription(house.relay, inbox.url(), event_types=types))
    return inbox


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        ((401, {"code": "expired_token", "message": "gone"}), CredentialStatus.AUTH_FAILED),
        ((403, {"code": "suspended"}), CredentialStatus.AUTH_FAILED),
        ((402, {"code": "no_money"}), CredentialStatus.PAYMENT_REQUIRED),
    ],
)
async def test_a_refusal_pauses_the_credential_and_one_probe_finds_out_that_it_is_over(
    house: House, refusal: Said, status: CredentialStatus
) -> None:
    answers = {"now": refusal}
    speaker = Speaker(lambda *_: answers["now"])
    credential = await house.credential(speaker)
    inbox = await operator(house, "credential.paused", "credential.resumed")
    jobs = await house.watch(credential, 10)
    async with working(house.relay, drains=2):
        await inbox.heard(1)
        paused = verified(inbox.calls[0])
        assert (paused["type"], paused["data"]["status"]) == ("credential.paused", status)
        assert paused["data"]["polling"] == "paused"
        assert await house.status_of(credential) is status
        await until(lambda: are_all_back(house, credential, 10))
        asked = len(speaker.asked)
        dues = [due for due in await house.relay.polls.due_in_ms(credential.id, jobs) if due is not None]
        assert min(dues) >= (PROBE_SECONDS - 10) * 1000
        await house.relay.polls.release(credential.id)  # ten minutes later
        await until(lambda: len(speaker.asked) == asked + 1)
        answers["now"] = DONE
        await asyncio.sleep(1.0)  # nothing may happen in this time; there is no condition for nothing
        assert len(speaker.asked) == asked + 1
        await house.relay.polls.restart_rate(credential.id)  # ten minutes later again
        await house.all_are("completed", 10)
        await inbox.heard(2)
    told = [verified(call) for call in inbox.calls]
    assert Counter(event["type"] for event in told) == {"credential.paused": 1, "credential.resumed": 1}
    assert told[-1]["data"]["polling"] == "continues"
    assert await house.status_of(credential) is CredentialStatus.ACTIVE


async def are_all_back(house: House, credential: Credential, count: int) -> bool:
    """Whether so many looks of the credential wait, and none is under way."""
    return len(await house.relay.polls.waiting(credential.id, 1000)) == count


async def test_jobs_that_fail_for_want_of_payment_tell_their_owner_once(house: House) -> None:
    speaker = Speaker(lambda *_: (200, {"status": "PAYMENT_REQUIRED", "run_id": None}))
    credential = await house.credential(speaker, CAMB)
    inbox = await operator(house, "credential.paused", "job.failed")
    await house.watch(credential, 6)
    async with working(house.relay):
        await inbox.heard(7)
    told = [verified(call) for call in inbox.calls]
    assert Counter(event["type"] for event in told) == {"credential.paused": 1, "job.failed": 6}
    assert [event["data"]["polling"] for event in told if event["type"] == "credential.paused"] == ["continues"]
    assert await house.status_of(credential) is CredentialStatus.ACTIVE


async def test_an_unknown_job_has_a_grace_and_three_answers(house: House) -> None:
    late = Speaker(lambda _, number: (404, {"code": "no_such_task"}) if number < 3 else DONE)
    gone = Speaker(lambda *_: (404, {"code": "no_such_task", "message": "never heard of it"}))
    for speaker in (late, gone):
        await house.watch(await house.credential(speaker))
    async with working(house.relay):
        await house.all_are("completed", 1)
        await until(lambda: len(gone.asked) >= 3)
        assert await house.jobs() == {"completed": 1, "pending": 1}
        shift(house, 61)
        await house.all_are("failed", 1)
    (job,) = await house.relay.store.list_jobs(TENANT, status="failed")
    assert job.error is not None
    assert job.error["code"] == "not_found"


async def test_a_name_that_has_had_no_address_for_hours_pauses_the_credential_and_fails_no_job(house: House) -> None:
    speaker = Speaker(lambda *_: PENDING)
    credential = await house.credential(speaker)
    inbox = await operator(house, "credential.paused", "credential.resumed")
    (job_id,) = await house.watch(credential)
    sight = await a_sight(house, job_id)
    nameless = Observation(Outcome.TRANSIENT, detail="no address", is_unresolved=True)
    standing = house.relay.poll._standing
    for _ in range(8):
        await standing.learn([(sight, nameless)])
        assert await house.status_of(credential) is CredentialStatus.ACTIVE
        shift(house, UNRESOLVED_SECONDS / 8)
    await standing.learn([(sight, nameless)])
    assert await house.status_of(credential) is CredentialStatus.UNREACHABLE
    async with working(house.relay):
        await inbox.heard(1)
        assert json.loads(inbox.calls[0].body)["data"]["status"] == "unreachable"  # signed in two hours
        assert await house.jobs() == {"pending": 1}
        assert not speaker.asked
        await house.relay.polls.release(credential.id)  # ten minutes later the name is there again
        await inbox.heard(2)
    assert await house.status_of(credential) is CredentialStatus.ACTIVE


async def test_a_name_that_is_found_between_two_failures_begins_anew(house: House) -> None:
    credential = await house.credential(Speaker(lambda *_: PENDING))
    (job_id,) = await house.watch(credential)
    sight = await a_sight(house, job_id)
    nameless = Observation(Outcome.TRANSIENT, detail="no address", is_unresolved=True)
    standing = house.relay.poll._standing
    for observation in (nameless, Observation(Outcome.PENDING), nameless):
        await standing.learn([(sight, observation)])
        shift(house, UNRESOLVED_SECONDS * 0.9)
    await standing.learn([(sight, nameless)])
    assert await house.status_of(credential) is CredentialStatus.ACTIVE


async def a_sight(house: House, job_id: str) -> Sight:
    job = await house.relay.store.find_job(TENANT, job_id)
    assert job is not None
    credential = (await house.relay.store.load_credentials([job.credential_id]))[job.credential_id]
    definition = house.relay.catalog.get(job.provider)
    assert definition is not None
    return Sight(job, Memo(), credential, definition, target_for(definition, credential, job))


async def test_a_wall_clock_that_steps_harms_nobody(house: House) -> None:
    answers: Sequence[Said] = [PENDING] * 8
    speaker = Speaker(lambda _, number: answers[number] if number < len(answers) else DONE)
    await house.watch(await house.credential(speaker))
    async with working(house.relay):
        for seconds in (-86_400, 3600, 7200, -3600):
            count = len(speaker.asked)
            await until(lambda count=count: len(speaker.asked) > count, 3)
            shift(house, seconds)
        await house.all_are("completed", 1, 10)
    assert all(
        late - early >= SWIFT_SECONDS * 0.85 for early, late in zip(speaker.moments, speaker.moments[1:], strict=False)
    )
