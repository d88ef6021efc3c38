"""Submitting: a job is made at its provider once, whatever happens on the way, and what is not known is said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from relay.bootstrap import Relay, open_relay
from relay.domain.credential import CredentialStatus
from relay.domain.errors import Conflict, Refused
from relay.domain.job import Job, JobStatus, Memo, expire
from relay.register import JobRequest
from relay.submit import DOUBT, Asked, Declined
from tests.provider_stub import CREATED, CREDENTIALS, Providers, fish, stub
from tests.receivers import Call, Receiver, Wire, answering, closed_port, hanging_up, resetting
from tests.trips import (
    TENANT,
    living,
    make_credential,
    make_subscription,
    settings_for,
    until,
    verified,
    watch,
    working,
)

CONTENT = {"text": "hello", "voiceId": "v"}
MARK = "the mark of one call"


@asynccontextmanager
async def submitting(
    database_url: str, redis_url: str, providers: Providers, provider: str = "fishspeech", **more: Any
) -> AsyncIterator[tuple[Relay, Receiver]]:
    """A relay with one credential of that provider at the stub."""
    async with living(database_url, redis_url) as relay, stub(providers) as server:
        told = {**CREDENTIALS[provider], **more}
        assert await relay.steer.add_credential(make_credential(relay, provider, server.url(""), **told))
        yield relay, server


async def ask(relay: Relay, mark: str | None = None, provider: str = "fishspeech", **more: Any) -> Asked | Declined:
    return await relay.submit.job(TENANT, JobRequest(provider, None, submit=CONTENT, **more), mark)


async def asked(relay: Relay, mark: str | None = None, **more: Any) -> Job:
    told = await ask(relay, mark, **more)
    assert isinstance(told, Asked), told
    return told.job


async def stored(relay: Relay) -> list[Job]:
    return await relay.store.list_jobs(TENANT)


@pytest.mark.parametrize("provider", CREATED)
async def test_a_job_is_made_at_each_provider_and_watched_to_its_end(
    provider: str, database_url: str, redis_url: str
) -> None:
    providers = Providers()
    async with submitting(database_url, redis_url, providers, provider) as (relay, _):
        told = await ask(relay, provider=provider)
        assert isinstance(told, Asked)
        assert told.is_new
        assert told.job.status is JobStatus.PENDING
        assert told.job.provider_job_id
        assert providers.creates == [(provider, CONTENT)]
        assert await stored(relay) == [told.job]
        assert (await relay.polls.counts()).due >= 1
        assert not providers.refused


async def test_a_submitted_job_ends_with_one_event(database_url: str, redis_url: str) -> None:
    providers = Providers({"task_1": [fish("completed", audioUrl="https://x.example/a")]})
    async with (
        submitting(database_url, redis_url, providers) as (relay, _),
        Receiver(answering(200)) as inbox,
        Receiver(answering(200)) as own,
    ):
        await relay.steer.add_subscription(make_subscription(relay, inbox.url()))
        job = await asked(relay, metadata={"order": 7}, callback_url=own.url())
        assert providers.looks == []
        async with working(relay):
            await inbox.heard(1, 20)
            await own.heard(1, 20)
        data = verified(inbox.calls[0])["data"]
        assert (data["id"], data["provider_job_id"], data["metadata"]) == (job.id, "task_1", {"order": 7})
        assert len(providers.creates) == 1


async def test_the_same_mark_never_makes_a_second_job(database_url: str, redis_url: str) -> None:
    providers = Providers()
    async with submitting(database_url, redis_url, providers) as (relay, _):
        first = await asked(relay, MARK)
        again = await ask(relay, MARK)
        assert again == Asked(first, is_new=False)
        other = await asked(relay, "another mark")
        assert other.id != first.id
        without = [await asked(relay) for _ in range(2)]
        assert len({job.provider_job_id for job in [first, other, *without]}) == len(providers.creates) == 4


async def test_many_calls_of_one_mark_at_once_make_one_job(database_url: str, redis_url: str) -> None:
    async def thoughtful(call: Call, wire: Wire) -> None:
        await asyncio.sleep(0.3)
        await wire.respond(202, {}, b'{"id": "task_1", "status": "queued"}')

    providers = Providers(on_create=[thoughtful])
    async with (
        submitting(database_url, redis_url, providers) as (relay, _),
        open_relay(settings_for(database_url, redis_url)) as other,
    ):
        told = await asyncio.gather(*(ask(one, MARK) for one in [relay, other] * 5))
        assert len(providers.creates) == 1
        assert len({one.job.id for one in told if isinstance(one, Asked)}) == 1
        assert [one.is_new for one in told if isinstance(one, Asked)].count(True) == 1


@pytest.mark.parametrize(
    "behaviour",
    [hanging_up(), resetting(), answering(500, {}, b"{}"), answering(503), answering(202, {}, b"<html>queued</html>")],
)
async def test_an_unclear_answer_leaves_the_job_submitting_and_is_never_repeated(
    behaviour: Any, database_url: str, redis_url: str
) -> None:
    providers = Providers(on_create=[behaviour])
    async with submitting(database_url, redis_url, providers) as (relay, _):
        job = await asked(relay, MARK)
        assert job.status is JobStatus.SUBMITTING
        assert job.provider_job_id is None
        assert any(warning.startswith(DOUBT) for warning in job.warnings)
        again = await ask(relay, MARK)
        assert again == Asked(job, is_new=False)
        async with working(relay):
            await asyncio.sleep(1.0)  # nothing may happen in this time; there is no condition for nothing
        assert await stored(relay) == [job]
        assert len(providers.creates) == 1
        assert providers.looks == []


async def test_a_kept_connection_that_breaks_does_not_make_a_second_job(database_url: str, redis_url: str) -> None:
    providers = Providers({"t": [fish("processing")]}, on_create=[hanging_up()])
    async with submitting(database_url, redis_url, providers) as (relay, server):
        await watch(relay, "fishspeech", "t")
        async with working(relay):
            await until(lambda: providers.looks)
        connections = server.connections
        assert (await asked(relay)).status is JobStatus.SUBMITTING
        assert server.connections == connections + 1
        assert len(providers.creates) == 1


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ((400, {"code": "bad_voice", "message": "no such voice"}), "invalid_request", "no such voice"),
        ((402, {"code": "no_credits", "message": "buy some"}), "payment_required", "buy some"),
        ((401, {"code": "unauthorized", "message": "bad token"}), "authentication", "bad token"),
        ((429, {"code": "slow_down", "message": "slower"}, {"retry-after": "9"}), "rate_limited", "slower"),
    ],
)
async def test_a_refusal_leaves_nothing_behind_and_says_the_providers_reason(
    said: Any, code: str, reason: str, database_url: str, redis_url: str
) -> None:
    providers = Providers(on_create=[said])
    async with submitting(database_url, redis_url, providers) as (relay, _):
        told = await ask(relay, MARK, callback_url="http://127.0.0.1:9/hook")
        assert isinstance(told, Declined)
        assert (told.code, told.detail) == (code, reason)
        assert told.retry_after_seconds == (9.0 if code == "rate_limited" else None)
        assert await stored(relay) == []
        assert await relay.store.list_subscriptions(TENANT) == []


async def test_a_refused_job_may_be_asked_for_again_with_the_same_mark(database_url: str, redis_url: str) -> None:
    providers = Providers(on_create=[(400, {"code": "bad_voice", "message": "no such voice"})])
    async with submitting(database_url, redis_url, providers) as (relay, _):
        assert isinstance(await ask(relay, MARK), Declined)
        assert (await asked(relay, MARK)).status is JobStatus.PENDING
        assert len(providers.creates) == 2


async def test_a_provider_that_was_not_reached_has_made_nothing(database_url: str, redis_url: str) -> None:
    async with living(database_url, redis_url) as relay:
        with closed_port() as port:
            credential = make_credential(relay, "fishspeech", f"http://127.0.0.1:{port}", **CREDENTIALS["fishspeech"])
            await relay.steer.add_credential(credential)
            told = await ask(relay)
        assert isinstance(told, Declined)
        assert told.code == "provider_error"
        assert told.retry_after_seconds is not None
        assert await stored(relay) == []


async def test_what_a_refusal_says_of_the_credential_is_learned_and_heeded(database_url: str, redis_url: str) -> None:
    providers = Providers(on_create=[(429, {"code": "slow_down"}, {"retry-after": "60"})])
    async with submitting(database_url, redis_url, providers) as (relay, _):
        assert isinstance(await ask(relay), Declined)
        told = await ask(relay)
        assert isinstance(told, Declined)
        assert told.code == "rate_limited"
        assert told.retry_after_seconds is not None
        assert told.retry_after_seconds > 50
        assert len(providers.creates) == 1


async def test_a_wrong_credential_is_paused_and_not_sent_with_again(database_url: str, redis_url: str) -> None:
    providers = Providers()
    wrong = {"api_token": "not-the-right-one"}
    async with submitting(database_url, redis_url, providers, secrets=wrong) as (relay, _):
        assert isinstance(await ask(relay), Declined)
        (credential,) = await relay.store.find_credentials(TENANT)
        assert credential.status is CredentialStatus.AUTH_FAILED
        told = await ask(relay, credential="main")
        assert isinstance(told, Declined)
        assert told.code == "authentication"
        assert len(providers.creates) == 1


async def test_submissions_count_against_the_credentials_budget(database_url: str, redis_url: str) -> None:
    providers = Providers()
    async with submitting(database_url, redis_url, providers, max_requests_per_second=10.0) as (relay, _):
        began = relay.clock.monotonic()
        await asyncio.gather(*(asked(relay) for _ in range(6)))
        assert relay.clock.monotonic() - began > 0.3
        assert len(providers.creates) == 6


async def test_a_caller_that_goes_away_does_not_take_the_answer_along(database_url: str, redis_url: str) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def thoughtful(call: Call, wire: Wire) -> None:
        arrived.set()
        await go_on.wait()
        await wire.respond(202, {}, b'{"id": "task_1", "status": "queued"}')

    providers = Providers(on_create=[thoughtful])
    async with submitting(database_url, redis_url, providers) as (relay, _):
        caller = asyncio.create_task(ask(relay))
        await arrived.wait()
        caller.cancel()
        go_on.set()

        async def is_pending() -> bool:
            return [job.provider_job_id for job in await stored(relay)] == ["task_1"]

        await until(is_pending)


async def test_a_job_that_is_cancelled_while_it_is_made_keeps_the_id_and_stays_cancelled(
    database_url: str, redis_url: str
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def thoughtful(call: Call, wire: Wire) -> None:
        arrived.set()
        await go_on.wait()
        await wire.respond(202, {}, b'{"id": "task_1", "status": "queued"}')

    providers = Providers(on_create=[thoughtful])
    async with submitting(database_url, redis_url, providers) as (relay, _):
        caller = asyncio.create_task(asked(relay))
        await arrived.wait()
        (job,) = await stored(relay)
        assert job.status is JobStatus.SUBMITTING
        await relay.steer.cancel_job(TENANT, job.id)
        go_on.set()
        made = await caller
        assert (made.status, made.provider_job_id) == (JobStatus.CANCELLED, "task_1")


async def test_a_job_in_doubt_expires_with_an_event_or_is_cancelled_without_one(
    database_url: str, redis_url: str
) -> None:
    providers = Providers(on_create=[hanging_up(), hanging_up()])
    async with submitting(database_url, redis_url, providers) as (relay, _), Receiver(answering(200)) as inbox:
        await relay.steer.add_subscription(make_subscription(relay, inbox.url()))
        expiring, deleted = await asked(relay, deadline_seconds=1.0), await asked(relay)
        cancelled = await relay.steer.cancel_job(TENANT, deleted.id)
        assert cancelled is not None
        assert cancelled.status is JobStatus.CANCELLED
        overdue = await relay.store.overdue_jobs(relay.clock.now().replace(year=2999), 10)
        assert [job.id for job in overdue] == [expiring.id]
        ended = await relay.announcer.endings([expire(expiring, Memo(), relay.clock.now())], {})
        assert await relay.store.advance_jobs(ended) == {expiring.id}
        (event,) = await relay.store.list_events(TENANT)
        assert event.type == "job.expired"
        assert event.data["provider_job_id"] is None
        assert "created" in event.data["error"]["message"]


async def test_a_call_whose_process_died_is_answered_with_what_is_known(database_url: str, redis_url: str) -> None:
    arrived = asyncio.Event()

    async def silent(call: Call, wire: Wire) -> None:
        arrived.set()
        await wire.reader.read()

    providers = Providers(on_create=[silent])
    async with submitting(database_url, redis_url, providers) as (relay, _):
        async with open_relay(settings_for(database_url, redis_url)) as dying:
            call = asyncio.create_task(ask(dying, MARK))
            await arrived.wait()
            with pytest.raises(Conflict):
                await relay.submit.interrupted(MARK)
            for task in dying.submit._underway:
                task.cancel()
            await asyncio.gather(call, return_exceptions=True)
        job = await relay.submit.interrupted(MARK)
        assert job is not None
        assert job.status is JobStatus.SUBMITTING
        assert any(warning.startswith(DOUBT) for warning in job.warnings)
        assert await relay.submit.interrupted(MARK) == job
        assert (await asked(relay, MARK)) == job
        assert len(providers.creates) == 1


async def test_an_id_that_is_tracked_already_is_that_job(database_url: str, redis_url: str) -> None:
    providers = Providers({"task_1": [fish("processing")]})
    async with submitting(database_url, redis_url, providers) as (relay, _):
        first = await watch(relay, "fishspeech", "task_1")
        told = await ask(relay, MARK)
        assert isinstance(told, Asked)
        assert (told.job.id, told.is_new) == (first, False)
        assert await ask(relay, MARK) == told
        assert [job.id for job in await stored(relay)] == [first]
        assert len(providers.creates) == 1


async def test_creations_that_the_provider_takes_for_one_are_one_job_with_one_event(
    database_url: str, redis_url: str
) -> None:
    said = (202, {"id": "task_1", "status": "queued"})
    providers = Providers({"task_1": [fish("completed", audioUrl="https://x.example/a")]}, on_create=[said] * 3)
    async with submitting(database_url, redis_url, providers) as (relay, _), Receiver(answering(200)) as inbox:
        await relay.steer.add_subscription(make_subscription(relay, inbox.url()))
        told = [await ask(relay, f"mark {number}") for number in range(3)]
        assert [one.is_new for one in told if isinstance(one, Asked)] == [True, False, False]
        assert len({one.job.id for one in told if isinstance(one, Asked)}) == 1
        async with working(relay):
            await inbox.heard(1, 20)

            async def is_over() -> bool:
                return (await relay.polls.counts()).due == 0

            await until(is_over)
        assert len(inbox.calls) == len(await relay.store.list_events(TENANT)) == len(await stored(relay)) == 1


@pytest.mark.parametrize(
    ("provider", "more", "pointer"),
    [
        ("azure_batch_synthesis", {}, "/submit"),
        ("fishspeech", {"params": {"nonsense": "x"}}, "/params/nonsense"),
        ("fishspeech", {"deadline_seconds": -1.0}, "/deadline_seconds"),
    ],
)
async def test_a_request_with_faults_reaches_no_provider(
    provider: str, more: dict[str, Any], pointer: str, database_url: str, redis_url: str
) -> None:
    providers = Providers()
    async with submitting(database_url, redis_url, providers) as (relay, _):
        with pytest.raises(Refused) as told:
            await ask(relay, provider=provider, **more)
        assert pointer in {fault.pointer for fault in told.value.faults}
        assert await stored(relay) == []
        assert providers.creates == []
