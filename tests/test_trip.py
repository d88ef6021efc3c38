"""The trip, whole: a job is registered, looked at, ended and delivered, whatever happens on the way."""

import asyncio
import json
from collections import Counter

import pytest
from redis.asyncio import Redis

from relay.bootstrap import Relay
from relay.domain.delivery import DeliveryStatus
from relay.domain.job import JobStatus
from relay.domain.subscription import Filter, SubscriptionStatus
from tests.provider_stub import CASES, CREDENTIALS, Providers, camb, fish, hex_id, huawei, stub
from tests.receivers import Receiver, answering, hanging, in_turn, redirecting
from tests.trips import TENANT, living, make_credential, make_subscription, until, verified, watch, working


async def sign_in(relay: Relay, base_url: str, *providers: str) -> dict[str, str]:
    """A credential for each provider; their ids by provider."""
    ids = {}
    for provider in providers:
        credential = make_credential(relay, provider, base_url, **CREDENTIALS[provider])
        assert await relay.steer.add_credential(credential)
        ids[provider] = credential.id
    return ids


async def test_every_ending_of_every_provider_becomes_one_verified_event(database_url: str, redis_url: str) -> None:
    providers = Providers({case.provider_job_id: list(case.script) for case in CASES})
    async with living(database_url, redis_url) as relay, stub(providers) as server, Receiver(answering(204)) as inbox:
        await sign_in(relay, server.url(""), *CREDENTIALS)
        await relay.steer.add_subscription(make_subscription(relay, inbox.url("/hook")))
        jobs = {
            case.name: await watch(
                relay, case.provider, case.provider_job_id, params=dict(case.params), metadata={"case": case.name}
            )
            for case in CASES
        }
        async with working(relay):
            await inbox.heard(len(CASES), 60)
            await until(lambda: all_done(relay, len(CASES)))
        events = {event["data"]["metadata"]["case"]: event for event in map(verified, inbox.calls)}
        assert len(inbox.calls) == len(events) == len(CASES)
        assert not providers.refused
        for case in CASES:
            event = events[case.name]
            data = event["data"]
            assert event["type"] == f"job.{case.status}", case.name
            assert data["id"] == jobs[case.name]
            assert [file["url"] for file in (data["result"] or {"files": []})["files"]] == list(case.urls), case.name
            assert (data["error"] or {}).get("code") == case.error_code, case.name
            assert (data["result_url"] is not None) == (case.status == "completed")
            assert not {"deliveries", "next_poll_at", "paused_reason"} & set(data)


async def all_done(relay: Relay, count: int) -> bool:
    return (await relay.store.count_deliveries(TENANT)).get("succeeded", 0) == count


async def test_an_event_is_what_the_job_was_when_it_ended_and_each_attempt_is_signed_anew(
    database_url: str, redis_url: str
) -> None:
    """S3 and S4."""
    providers = Providers({"c": [camb("SUCCESS", run_id=5)]})
    flaky = in_turn(answering(500), answering(503), answering(200))
    async with (
        living(database_url, redis_url, RELAY_RETRY_SCHEDULE="0.2,0.2,0.2") as relay,
        stub(providers) as server,
        Receiver(flaky) as inbox,
    ):
        await sign_in(relay, server.url(""), "camb")
        await relay.steer.add_subscription(make_subscription(relay, inbox.url()))
        await watch(relay, "camb", "c", metadata={"zürich": "日本", "pi": 3.25})
        async with working(relay):
            calls = await inbox.heard(3, 20)
            await until(lambda: all_done(relay, 1))
        assert len({call.body for call in calls}) == 1
        assert len({call.header("webhook-id") for call in calls}) == 1
        assert [verified(call)["data"]["metadata"] for call in calls] == [{"zürich": "日本", "pi": 3.25}] * 3
        (delivery,) = await relay.store.list_deliveries(TENANT)
        attempts = await relay.store.list_attempts(TENANT, delivery.id)
        assert [one.answer.answer for one in attempts] == ["server_error", "server_error", "success"]
        assert [one.number for one in attempts] == [1, 2, 3]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_its_target_is_never_visited(
    status: int, database_url: str, redis_url: str
) -> None:
    """D2."""
    async with (
        Receiver(answering(200)) as canary,
        living(database_url, redis_url, RELAY_RETRY_SCHEDULE="none") as relay,
        stub(Providers({"c": [camb("TIMEOUT")]})) as server,
        Receiver(redirecting(status, canary.url())) as inbox,
    ):
        await sign_in(relay, server.url(""), "camb")
        await relay.steer.add_subscription(make_subscription(relay, inbox.url()))
        await watch(relay, "camb", "c")
        async with working(relay):
            await until(lambda: exhausted(relay))
        assert len(inbox.calls) == 1
        assert canary.calls == []


async def exhausted(relay: Relay) -> bool:
    return bool((await relay.store.count_deliveries(TENANT)).get("exhausted"))


async def test_one_job_and_two_subscriptions_share_the_event_and_nothing_else(
    database_url: str, redis_url: str
) -> None:
    """E3."""
    providers = Providers({"c": [camb("TIMEOUT")]})
    async with (
        living(database_url, redis_url, RELAY_RETRY_SCHEDULE="0.1") as relay,
        stub(providers) as server,
        Receiver(answering(200)) as one,
        Receiver(in_turn(answering(500), answering(200))) as other,
        Receiver(answering(200)) as uninterested,
    ):
        await sign_in(relay, server.url(""), "camb")
        for url in (one.url(), other.url()):
            await relay.steer.add_subscription(make_subscription(relay, url))
        await relay.steer.add_subscription(
            make_subscription(relay, uninterested.url(), filter=Filter(metadata={"team": "red"}))
        )
        await watch(relay, "camb", "c", metadata={"team": "blue"})
        async with working(relay):
            await other.heard(2, 20)
            await until(lambda: all_done(relay, 2))
        assert len(one.calls) == 1
        assert {call.header("webhook-id") for call in [*one.calls, *other.calls]} == {one.calls[0].header("webhook-id")}
        assert uninterested.calls == []


async def test_a_callback_is_called_for_its_own_job_alone(database_url: str, redis_url: str) -> None:
    providers = Providers({"mine": [camb("TIMEOUT")], "other": [camb("TIMEOUT")]})
    async with living(database_url, redis_url) as relay, stub(providers) as server, Receiver(answering(200)) as inbox:
        await sign_in(relay, server.url(""), "camb")
        await watch(relay, "camb", "other")
        job_id = await watch(relay, "camb", "mine", callback_url=inbox.url("/only"))
        async with working(relay):
            await until(lambda: all_done(relay, 1))
            await until(lambda: ended(relay, 2))
        assert [json.loads(call.body)["data"]["id"] for call in inbox.calls] == [job_id]


async def ended(relay: Relay, count: int) -> bool:
    told = await relay.store.count_jobs(TENANT)
    return sum(number for status, number in told.items() if status != "pending") >= count


async def test_what_a_paused_subscription_missed_is_held_and_then_released(database_url: str, redis_url: str) -> None:
    """A4."""
    providers = Providers({"c": [camb("TIMEOUT")]})
    async with living(database_url, redis_url) as relay, stub(providers) as server, Receiver(answering(200)) as inbox:
        await sign_in(relay, server.url(""), "camb")
        paused = make_subscription(relay, inbox.url(), status=SubscriptionStatus.PAUSED)
        await relay.steer.add_subscription(paused)
        await watch(relay, "camb", "c")
        async with working(relay):
            await until(lambda: ended(relay, 1))
            (delivery,) = await relay.store.list_deliveries(TENANT)
            assert delivery.status is DeliveryStatus.HELD
            assert inbox.calls == []
            await relay.steer.activate(TENANT, paused.id)
            await inbox.heard(1)
            await until(lambda: all_done(relay, 1))


async def test_gone_disables_the_subscription_at_once_and_says_so(database_url: str, redis_url: str) -> None:
    """D13."""
    providers = Providers({"c": [camb("TIMEOUT")]})
    async with (
        living(database_url, redis_url) as relay,
        stub(providers) as server,
        Receiver(answering(410)) as gone,
        Receiver(answering(200)) as operator,
    ):
        await sign_in(relay, server.url(""), "camb")
        leaving = make_subscription(relay, gone.url())
        await relay.steer.add_subscription(leaving)
        await relay.steer.add_subscription(
            make_subscription(relay, operator.url(), event_types=("subscription.disabled",))
        )
        await watch(relay, "camb", "c")
        async with working(relay):
            calls = await operator.heard(1)
        assert verified(calls[0])["data"]["subscription"] == leaving.id
        found = await relay.store.find_subscription(TENANT, leaving.id)
        assert found is not None
        assert found.status is SubscriptionStatus.DISABLED
        assert len(gone.calls) == 1


async def test_a_refused_credential_stops_its_looks_and_resumes_when_it_is_changed(
    database_url: str, redis_url: str
) -> None:
    providers = Providers(
        {f"task_{number}": [fish("completed", audioUrl="https://x.example/a")] for number in range(5)}
    )
    async with (
        living(database_url, redis_url) as relay,
        stub(providers) as server,
        Receiver(answering(200)) as inbox,
    ):
        wrong = make_credential(relay, "fishspeech", server.url(""), secrets={"api_token": "not-the-right-one"})
        await relay.steer.add_credential(wrong)
        types = ("job.completed", "credential.paused", "credential.resumed")
        await relay.steer.add_subscription(make_subscription(relay, inbox.url(), event_types=types))
        for number in range(5):
            await watch(relay, "fishspeech", f"task_{number}")
        async with working(relay):
            await inbox.heard(1)
            assert verified(inbox.calls[0])["type"] == "credential.paused"
            await asyncio.sleep(1.0)  # nothing may happen in this time; there is no condition for nothing
            looks = len(providers.looks)
            assert looks <= 5
            before = await relay.store.find_credential(TENANT, wrong.id)
            assert before is not None
            assert str(before.status) == "auth_failed"
            after = make_credential(relay, "fishspeech", server.url(""), id=wrong.id, **CREDENTIALS["fishspeech"])
            assert await relay.steer.change_credential(before, after, resumes=True)
            await inbox.heard(7)
            await until(lambda: all_done(relay, 7))
        kinds = Counter(verified(call)["type"] for call in inbox.calls)
        assert kinds == {"credential.paused": 1, "credential.resumed": 1, "job.completed": 5}


async def test_a_deadline_ends_a_job_as_expired_after_one_last_look(database_url: str, redis_url: str) -> None:
    providers = Providers({hex_id(9): [huawei("PROCESSING")]})
    async with living(database_url, redis_url) as relay, stub(providers) as server, Receiver(answering(200)) as inbox:
        await sign_in(relay, server.url(""), "huawei_metastudio")
        await relay.steer.add_subscription(make_subscription(relay, inbox.url()))
        await watch(relay, "huawei_metastudio", hex_id(9), deadline_seconds=1.0)
        async with working(relay):
            await inbox.heard(1)
        event = verified(inbox.calls[0])
        assert event["type"] == "job.expired"
        assert event["data"]["error"]["code"] == "expired"
        assert event["data"]["polls"] == len(providers.looks) >= 2


async def test_a_flush_of_redis_in_the_middle_loses_nothing(database_url: str, redis_url: str, redis: Redis) -> None:
    """D19."""
    count = 100
    script = [fish("queued"), fish("processing"), fish("completed", audioUrl="https://x.example/a")]
    providers = Providers({f"task_{number}": list(script) for number in range(count)})
    async with living(database_url, redis_url) as relay, stub(providers) as server, Receiver(answering(200)) as inbox:
        await sign_in(relay, server.url(""), "fishspeech")
        await relay.steer.add_subscription(make_subscription(relay, inbox.url()))
        for number in range(count):
            await watch(relay, "fishspeech", f"task_{number}")
        async with working(relay):
            await until(lambda: len(providers.looks) >= count // 2)
            await redis.flushall()
            await until(lambda: len(inbox.calls) >= count // 2, 60)
            await redis.flushall()
            await until(lambda: all_done(relay, count), 60)
        by_job = {}
        for call in inbox.calls:
            event = verified(call)
            by_job.setdefault(event["data"]["id"], set()).add(event["id"])
        assert len(by_job) == count
        assert all(len(ids) == 1 for ids in by_job.values())


async def test_a_hanging_receiver_delays_nobody_else(database_url: str, redis_url: str) -> None:
    """D9."""
    providers = Providers(
        {f"task_{number}": [fish("completed", audioUrl="https://x.example/a")] for number in range(40)}
    )
    async with (
        living(database_url, redis_url, RELAY_DELIVERY_TIMEOUT_SECONDS="8") as relay,
        stub(providers) as server,
        Receiver(hanging()) as stuck,
        Receiver(answering(200)) as quick,
    ):
        await sign_in(relay, server.url(""), "fishspeech")
        await relay.steer.add_subscription(make_subscription(relay, stuck.url(), max_in_flight=4))
        await relay.steer.add_subscription(make_subscription(relay, quick.url()))
        for number in range(40):
            await watch(relay, "fishspeech", f"task_{number}")
        async with working(relay):
            await quick.heard(40, 7)
            assert stuck.connections <= 4
        assert JobStatus.PENDING not in await relay.store.count_jobs(TENANT)
