"""Result links: the stored one while it is known to live, a fresh one of the provider's otherwise, asked for once."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from relay.bootstrap import Relay, open_relay
from relay.domain.credential import CredentialStatus
from relay.domain.job import Job, JobStatus
from relay.domain.moments import rfc3339
from relay.domain.observation import File, Result
from relay.result import MARGIN_SECONDS, Located, NotLocated
from relay.store import Ending
from tests.provider_stub import CAMB_KEY, CREDENTIALS, Providers, camb, fish, hex_id, huawei, minted, stub, vocu
from tests.receivers import Call, Receiver, Wire, answering, slow
from tests.trips import TENANT, living, make_credential, settings_for, until, watch, working

NOWHERE = "unix:///nowhere/redis.sock"
STORED = "https://files.example/stored.mp3"


async def sign_in(relay: Relay, base_url: str, provider: str, **more: Any) -> str:
    credential = make_credential(relay, provider, base_url, **{**CREDENTIALS.get(provider, {}), **more})
    assert await relay.steer.add_credential(credential)
    return credential.id


async def completed(
    relay: Relay, provider: str, provider_job_id: str, *files: File, ended_seconds_ago: float = 0, **more: Any
) -> Job:
    """A job that has completed with these files."""
    job_id = await watch(relay, provider, provider_job_id, **more)
    job = (await relay.store.load_jobs([job_id]))[job_id]
    then = in_seconds(relay, -ended_seconds_ago)
    ended = replace(job, status=JobStatus.COMPLETED, completed_at=then, result=Result(files).to_json())
    assert await relay.store.advance_jobs([Ending(ended)]) == {job_id}
    return await fresh(relay, job)


async def fresh(relay: Relay, job: Job) -> Job:
    return (await relay.store.load_jobs([job.id]))[job.id]


def file(relay: Relay, lives_seconds: float | None, url: str = STORED) -> File:
    return File("audio", url, None if lives_seconds is None else in_seconds(relay, lives_seconds))


def in_seconds(relay: Relay, seconds: float) -> datetime:
    return relay.clock.now() + timedelta(seconds=seconds)


def refusal(told: Located | NotLocated) -> NotLocated:
    assert isinstance(told, NotLocated), told
    return told


def mints(lifetime_seconds: int | None = 3600) -> Providers:
    """A provider whose completed job has a link signed anew at each look."""
    return Providers({"t": [lambda: fish("completed", audioUrl=minted("a.mp3", lifetime_seconds))]})


async def test_a_stored_link_that_lives_long_enough_is_used_as_it_is(database_url: str, redis_url: str) -> None:
    providers = mints()
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", file(relay, MARGIN_SECONDS + 5))
        assert await relay.results.locate(job, 0) == Located(STORED)
        assert providers.looks == []


@pytest.mark.parametrize("lives_seconds", [MARGIN_SECONDS - 5, -10, None])
async def test_a_link_near_its_end_or_of_unknown_age_is_fetched_anew_and_kept(
    lives_seconds: float | None, database_url: str, redis_url: str
) -> None:
    providers = mints()
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", file(relay, lives_seconds))
        told = await relay.results.locate(job, 0)
        assert isinstance(told, Located)
        assert "X-Amz-Expires=3600" in told.url
        kept = await fresh(relay, job)
        assert kept.result is not None
        assert kept.result["files"][0]["url"] == told.url
        assert await relay.results.locate(kept, 0) == told
        assert len(providers.looks) == 1


async def test_a_link_whose_end_nobody_knows_is_fetched_again_after_a_moment(database_url: str, redis_url: str) -> None:
    providers = mints(None)
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", file(relay, None))
        first = await relay.results.locate(job, 0)
        kept = await fresh(relay, job)
        assert await relay.results.locate(kept, 0) == first
        later = replace(kept, result_fetched_at=in_seconds(relay, -60))
        await relay.store.renew_result(TENANT, job.id, later.result or {}, in_seconds(relay, -60))
        assert await relay.results.locate(later, 0) != first
        assert len(providers.looks) == 2


@pytest.mark.parametrize("redis", ["there", "away"])
async def test_of_many_who_ask_at_once_one_asks_the_provider(redis: str, database_url: str, redis_url: str) -> None:
    providers = mints(None)
    providers.on_look = slow(0.2, answering(200, {}, b'{"status": "completed", "audioUrl": "https://x.example/a"}'))
    url = redis_url if redis == "there" else NOWHERE
    async with open_relay(settings_for(database_url, url)) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", file(relay, None))
        told = await asyncio.gather(*(relay.results.locate(job, 0) for _ in range(20)))
        assert set(told) == {Located("https://x.example/a")}
        assert len(providers.looks) == 1


async def test_several_processes_ask_the_provider_once_together(database_url: str, redis_url: str) -> None:
    providers = mints()
    providers.on_look = slow(0.3, answering(200, {}, b'{"status": "completed", "audioUrl": "https://x.example/a"}'))
    async with living(database_url, redis_url) as relay, stub(providers) as server, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(open_relay(settings_for(database_url, redis_url))) for _ in range(3)]
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", file(relay, None))
        told = await asyncio.gather(*(one.results.locate(job, 0) for one in [relay, *others] for _ in range(5)))
        assert set(told) == {Located("https://x.example/a")}
        assert len(providers.looks) == 1


async def test_several_processes_hear_together_that_there_is_nothing(database_url: str, redis_url: str) -> None:
    providers = Providers(on_look=slow(0.3, answering(404, {}, b'{"code": "task_not_found", "message": "no"}')))
    async with (
        living(database_url, redis_url) as relay,
        open_relay(settings_for(database_url, redis_url)) as other,
        stub(providers) as server,
    ):
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", file(relay, None))
        told = await asyncio.gather(relay.results.locate(job, 0), other.results.locate(job, 0))
        assert [refusal(one).reason for one in told] == ["gone", "gone"]
        assert len(providers.looks) == 1


async def test_who_goes_away_does_not_take_the_answer_along(database_url: str, redis_url: str) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def thoughtful(call: Call, wire: Wire) -> None:
        arrived.set()
        await go_on.wait()
        await answering(200, {}, b'{"status": "completed", "audioUrl": "https://x.example/a"}')(call, wire)

    providers = mints()
    providers.on_look = thoughtful
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", file(relay, None))
        first, second = (asyncio.create_task(relay.results.locate(job, 0)) for _ in range(2))
        await arrived.wait()
        first.cancel()
        go_on.set()
        assert await second == Located("https://x.example/a")
        assert len(providers.looks) == 1


@pytest.mark.parametrize(
    "said", [fish("completed"), fish("failed", errorCode="x"), (404, {"code": "task_not_found", "message": "no"})]
)
async def test_what_the_provider_has_no_more_is_gone(said: Any, database_url: str, redis_url: str) -> None:
    async with living(database_url, redis_url) as relay, stub(Providers({"t": [said]})) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", file(relay, None))
        assert refusal(await relay.results.locate(job, 0)).reason == "gone"
        assert (await fresh(relay, job)).result == job.result


@pytest.mark.parametrize(
    ("said", "reason", "retry_after_seconds"),
    [
        ((503, "<html>busy</html>", {"retry-after": "17"}), "unavailable", 17.0),
        ((500, {}), "unavailable", 5.0),
        ((429, {"code": "slow_down"}, {"retry-after": "33"}), "unavailable", 33.0),
        (fish("processing"), "unavailable", 5.0),
        ((401, {"code": "unauthorized", "message": "bad token"}), "refused", 5.0),
        ((402, {"code": "no_credits", "message": "pay"}), "refused", 5.0),
    ],
)
async def test_while_the_provider_cannot_answer_a_link_that_still_lives_is_used(
    said: Any, reason: str, retry_after_seconds: float, database_url: str, redis_url: str
) -> None:
    providers = Providers({"dead": [said], "alive": [said]})
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        alive = await completed(relay, "fishspeech", "alive", file(relay, MARGIN_SECONDS / 2))
        dead = await completed(relay, "fishspeech", "dead", file(relay, -1))
        assert await relay.results.locate(alive, 0) == Located(STORED)
        told = refusal(await relay.results.locate(dead, 0))
        assert told.reason == reason
        assert told.retry_after_seconds is not None
        assert retry_after_seconds - 1 <= told.retry_after_seconds <= retry_after_seconds


async def test_what_the_answer_says_of_the_credential_is_learned_and_heeded(database_url: str, redis_url: str) -> None:
    said = (429, {"code": "slow_down"}, {"retry-after": "60"})
    providers = Providers({"one": [said], "two": [said]})
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        credential_id = await sign_in(relay, server.url(""), "fishspeech")
        jobs = [await completed(relay, "fishspeech", name, file(relay, None)) for name in ("one", "two")]
        assert refusal(await relay.results.locate(jobs[0], 0)).reason == "unavailable"
        credential = await relay.store.find_credential(TENANT, credential_id)
        assert credential is not None
        assert str(credential.status) == "throttled"
        held = refusal(await relay.results.locate(jobs[1], 0))
        assert held.reason == "unavailable"
        assert held.retry_after_seconds is not None
        assert held.retry_after_seconds > 50
        assert len(providers.looks) == 1


async def test_a_fetch_counts_against_the_credentials_budget(database_url: str, redis_url: str) -> None:
    names = [f"t{number}" for number in range(6)]
    providers = Providers({name: [fish("completed", audioUrl="https://x.example/a")] for name in names})
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech", max_requests_per_second=10.0)
        jobs = [await completed(relay, "fishspeech", name, file(relay, None)) for name in names]
        began = relay.clock.monotonic()
        told = await asyncio.gather(*(relay.results.locate(job, 0) for job in jobs))
        assert set(told) == {Located("https://x.example/a")}
        assert relay.clock.monotonic() - began > 0.3


async def test_a_paused_credential_is_not_asked_with(database_url: str, redis_url: str) -> None:
    providers = mints()
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech", status=CredentialStatus.AUTH_FAILED)
        job = await completed(relay, "fishspeech", "t", file(relay, None), credential="main")
        assert refusal(await relay.results.locate(job, 0)).reason == "refused"
        assert providers.looks == []


async def test_without_its_credential_a_result_cannot_be_asked_for_any_more(database_url: str, redis_url: str) -> None:
    providers = mints()
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        credential_id = await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", file(relay, None))
        assert await relay.steer.remove_credential(TENANT, credential_id) == "removed"
        assert refusal(await relay.results.locate(job, 0)).reason == "gone"
        assert providers.looks == []


@pytest.mark.parametrize(("ended_seconds_ago", "reason"), [(0, "not_yet"), (3000, "not_yet"), (4000, "gone")])
@pytest.mark.parametrize("provider", ["huawei_metastudio", "fishspeech", "camb"])
async def test_a_first_link_is_awaited_for_an_hour_after_the_end(
    provider: str, ended_seconds_ago: float, reason: str, database_url: str, redis_url: str
) -> None:
    said = {"huawei_metastudio": huawei("SUCCEED"), "fishspeech": fish("completed"), "camb": camb("SUCCESS")}
    providers = Providers({hex_id(1): [said[provider]]})
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), provider)
        job = await completed(relay, provider, hex_id(1), ended_seconds_ago=ended_seconds_ago)
        told = refusal(await relay.results.locate(job, 0))
        assert told.reason == reason
        assert (told.retry_after_seconds is None) == (reason == "gone")


async def test_a_link_that_was_minted_later_is_found(database_url: str, redis_url: str) -> None:
    providers = Providers({hex_id(1): [huawei("SUCCEED"), huawei("SUCCEED", audio_file_url=STORED)]})
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "huawei_metastudio")
        job = await completed(relay, "huawei_metastudio", hex_id(1))
        assert refusal(await relay.results.locate(job, 0)).reason == "not_yet"

        async def is_there() -> bool:
            return await relay.results.locate(job, 0) == Located(STORED)

        await until(is_there)


async def test_a_result_that_never_is_a_file_is_not_awaited(database_url: str, redis_url: str) -> None:
    ended = answering(200, {}, b'{"id": "t", "status": "completed", "text": "hello"}')
    async with living(database_url, redis_url) as relay, Receiver(ended) as server:
        await sign_in(relay, server.url(""), "assemblyai", secrets={"api_key": "a-key-of-the-test"})
        job = await completed(relay, "assemblyai", "t")
        told = refusal(await relay.results.locate(job, 0))
        assert (told.reason, told.detail) == ("gone", "The provider has given no file with this result.")


async def test_a_job_that_ends_with_links_that_cannot_be_followed_says_so(database_url: str, redis_url: str) -> None:
    scripts = {
        "quoted": [fish("completed", audioUrl="http://x.example/a b")],
        "bad": [fish("completed", audioUrl="/a")],
    }
    async with living(database_url, redis_url) as relay, stub(Providers({**scripts})) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        ids = {name: await watch(relay, "fishspeech", name) for name in scripts}

        async def ended() -> list[Any]:
            events = await relay.store.list_events(TENANT)
            return events if len(events) == len(ids) else []

        async with working(relay):
            events = await until(ended)
    told = {event.data["id"]: (event.data["warnings"], event.data["result"]["files"]) for event in events}
    warnings, files = told[ids["quoted"]]
    assert (warnings, [one["url"] for one in files]) == ([], ["http://x.example/a%20b"])
    warnings, files = told[ids["bad"]]
    assert ([warning.rpartition(": ")[2] for warning in warnings], files) == (["/a"], [])


@pytest.mark.parametrize("has_file", [True, False])
async def test_a_link_that_cannot_be_followed_is_refused_with_what_it_is(
    has_file: bool, database_url: str, redis_url: str
) -> None:
    providers = Providers({"t": [fish("completed", audioUrl="//files.example/a.mp3")]})
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t", *[file(relay, None)] * has_file)
        told = refusal(await relay.results.locate(job, 0))
        assert told.reason == "refused"
        assert told.cause.endswith("left out of the result: //files.example/a.mp3")


async def test_the_second_step_is_taken_and_its_failure_told_apart(database_url: str, redis_url: str) -> None:
    providers = Providers({"c": [camb("SUCCESS", run_id=7)]})
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "camb")
        job = await completed(relay, "camb", "c")
        assert await relay.results.locate(job, 0) == Located("https://cdn.camb.example/tts/7.flac")
        assert refusal(await relay.results.locate(await fresh(relay, job), 1)).reason == "absent"
        assert (len(providers.looks), providers.fetches) == (1, 1)


@pytest.mark.parametrize("has_file", [True, False])
@pytest.mark.parametrize(("status", "reason"), [(404, "gone"), (500, "unavailable"), (401, "unavailable")])
async def test_a_result_without_its_second_step_is_gone_only_when_that_says_so(
    status: int, reason: str, has_file: bool, database_url: str, redis_url: str
) -> None:
    async def behave(call: Call, wire: Wire) -> None:
        is_look = "-result/" not in call.target
        body = b'{"status": "SUCCESS", "run_id": 7}' if is_look else b'{"detail": "no"}'
        await wire.respond(200 if is_look else status, {}, body)

    providers = Providers()
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        server.behaviour = behave
        await sign_in(relay, server.url(""), "camb")
        job = await completed(relay, "camb", "c", *[file(relay, None)] * has_file)
        assert refusal(await relay.results.locate(job, 0)).reason == reason


async def test_each_file_has_its_own_link(database_url: str, redis_url: str) -> None:
    parts = [{"audio": "https://files.example/1.mp3"}, {"audio": "https://files.example/2.mp3"}]
    providers = Providers({"00000000-0000-4000-8000-000000000001": [vocu("generated", audio=STORED, contents=parts)]})
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "vocu")
        job = await completed(relay, "vocu", "00000000-0000-4000-8000-000000000001", file(relay, None))
        assert await relay.results.locate(job, 0) == Located(STORED)
        job = await fresh(relay, job)
        assert await relay.results.locate(job, 2) == Located("https://files.example/2.mp3")
        assert refusal(await relay.results.locate(job, 3)).reason == "absent"
        assert len(providers.looks) == 1


async def test_a_job_without_a_result_says_why(database_url: str, redis_url: str) -> None:
    providers = mints()
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        job_id = await watch(relay, "fishspeech", "t")
        job = (await relay.store.load_jobs([job_id]))[job_id]
        assert refusal(await relay.results.locate(job, 0)).reason == "not_ended"
        failed = replace(job, status=JobStatus.FAILED)
        assert refusal(await relay.results.locate(failed, 0)).reason == "without_result"
        assert providers.looks == []


async def test_a_link_that_carries_the_credential_is_not_handed_on(database_url: str, redis_url: str) -> None:
    async def leaky(call: Call, wire: Wire) -> None:
        link = b'{"output_url": "https://cdn.camb.example/a?key=%s"}' % CAMB_KEY.encode()
        await wire.respond(200, {}, b'{"status": "SUCCESS", "run_id": 7}' if "-result/" not in call.target else link)

    async with living(database_url, redis_url) as relay, stub(Providers()) as server:
        server.behaviour = leaky
        await sign_in(relay, server.url(""), "camb")
        job = await completed(relay, "camb", "c", file(relay, None))
        told = refusal(await relay.results.locate(job, 0))
        assert told.reason == "refused"
        assert CAMB_KEY not in str((await fresh(relay, job)).result)


async def test_a_stored_link_that_is_no_web_address_is_never_given(database_url: str, redis_url: str) -> None:
    providers = mints()
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        await sign_in(relay, server.url(""), "fishspeech")
        job = await completed(relay, "fishspeech", "t")
        end = rfc3339(in_seconds(relay, 900))
        for url in ("javascript:alert(1)", "file:///etc/passwd", "ftp://x.example/a", "//x.example"):
            result = {"files": [{"kind": "audio", "url": url, "expires_at": end}], "result_id": None, "raw": None}
            told = await relay.results.locate(replace(job, result=result), 0)
            assert isinstance(told, Located)
            assert told.url.startswith("https://files.example/")
