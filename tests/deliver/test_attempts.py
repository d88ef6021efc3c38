"""One attempt and what is made of its answer, against receivers that behave well and badly."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relay.domain.delivery import DeliveryStatus
from relay.domain.subscription import SubscriptionStatus
from tests.deliver.posts import BRISK, all_ended, attempts, delivering, ended, found, post, standing, subscribe
from tests.receivers import (
    Authority,
    Receiver,
    answering,
    closed_port,
    dripping,
    endless,
    gzip_bomb,
    hanging,
    in_turn,
    resetting,
)
from tests.trips import TENANT, living, until, verified

ONCE = {"RELAY_RETRY_SCHEDULE": "none"}
MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("status_code", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_success(status_code: int, database_url: str, redis_url: str) -> None:
    """D1."""
    async with living(database_url, redis_url) as relay, Receiver(answering(status_code)) as inbox:
        delivery = await post(relay, await subscribe(relay, inbox))
        async with delivering(relay):
            done = await ended(relay, delivery)
        assert (done.attempts_made, done.next_attempt_at, len(inbox.calls)) == (1, None, 1)
        assert done.completed_at is not None


async def test_an_attempt_is_recorded_with_everything_that_was_said(database_url: str, redis_url: str) -> None:
    """D3."""
    body = b"no, \xff not today " * 2000
    behaviour = answering(422, {"x-request-id": "r-1", "set-cookie": "a=1"}, body)
    async with living(database_url, redis_url, **ONCE) as relay, Receiver(behaviour) as inbox:
        subscription = await subscribe(relay, inbox, headers={"Authorization": "Bearer hush"})
        delivery = await post(relay, subscription)
        async with delivering(relay):
            (attempt,) = await attempts(relay, delivery)
        answer = attempt.answer
        assert (attempt.number, attempt.trigger) == (1, "schedule")
        assert (answer.answer, answer.blame, answer.status_code) == ("client_error", "receiver", 422)
        assert answer.header("x-request-id") == "r-1"
        assert (len(answer.response_body), answer.is_truncated) == (16_384, True)
        assert answer.response_body.startswith("no, \N{REPLACEMENT CHARACTER} not")
        assert set(answer.timing) == {"dns_ms", "connect_ms", "tls_ms", "wait_ms", "read_ms"}
        assert answer.timing["connect_ms"] is not None
        assert answer.timing["wait_ms"] is not None
        assert answer.timing["tls_ms"] is None
        (call,) = inbox.calls
        assert call.header("authorization") == "Bearer hush"
        assert attempt.request_headers["authorization"] == "…"
        assert attempt.request_headers["webhook-id"] == call.header("webhook-id") == delivery.event_id
        assert verified(call)["data"]["id"] == "job_1"


@pytest.mark.parametrize("headers", [{"x-name": "Zoë"}, {"x-name": "a\nb"}, {"x name": "a"}])
async def test_what_cannot_be_sent_is_recorded_and_ends_by_the_schedule(
    headers: dict[str, str], database_url: str, redis_url: str
) -> None:
    """Written down when such headers were still accepted, or by hand."""
    async with living(database_url, redis_url, **BRISK) as relay, Receiver(answering()) as inbox:
        delivery = await post(relay, await subscribe(relay, inbox, headers=headers))
        async with delivering(relay):
            await ended(relay, delivery, DeliveryStatus.EXHAUSTED)
            made = await attempts(relay, delivery, 5)
        assert {(one.answer.answer, one.answer.blame) for one in made} == {("blocked", "receiver")}
        assert "headers" in (made[0].answer.hint or "")
        assert inbox.calls == []


async def test_the_log_has_a_line_for_each_attempt(database_url: str, redis_url: str) -> None:
    behaviour = in_turn(answering(500), answering(204))
    async with living(database_url, redis_url, **BRISK) as relay, Receiver(behaviour) as inbox:
        subscription = await subscribe(relay, inbox)
        with capture_logs() as logs:
            delivery = await post(relay, subscription)
            async with delivering(relay):
                await ended(relay, delivery)
        made = await relay.store.list_attempts(TENANT, delivery.id)
    lines = [line for line in logs if line["event"] == "attempt_made"]
    assert [line["attempt"] for line in lines] == [attempt.id for attempt in made]
    ids = {"delivery": delivery.id, "event_id": delivery.event_id, "subscription": subscription.id}
    assert all(ids.items() <= line.items() for line in lines)
    assert [line["duration_ms"] for line in lines] == [attempt.answer.duration_ms for attempt in made]
    told = [(line["log_level"], line["number"], line["answer"], line["status_code"]) for line in lines]
    assert told == [("warning", 1, "server_error", 500), ("info", 2, "success", 204)]
    assert lines[0]["next_attempt_seconds"] > 0
    assert lines[1]["next_attempt_seconds"] is None


async def test_an_empty_schedule_means_one_attempt_and_one_notice(database_url: str, redis_url: str) -> None:
    """D5 and D6."""
    async with (
        living(database_url, redis_url, **ONCE) as relay,
        Receiver(answering(500)) as bad,
        Receiver(answering(200)) as operator,
    ):
        failing = await subscribe(relay, bad)
        await subscribe(relay, operator, event_types=("delivery.exhausted",))
        delivery = await post(relay, failing)
        async with delivering(relay):
            exhausted = await ended(relay, delivery, DeliveryStatus.EXHAUSTED)
            (call,) = await operator.heard(1)
            await all_ended(relay, 1)
        event = verified(call)
        assert (event["type"], event["data"]["id"]) == ("delivery.exhausted", delivery.id)
        assert (event["data"]["status"], event["data"]["attempts_made"]) == ("exhausted", 1)
        assert (exhausted.attempts_made, len(bad.calls), len(operator.calls)) == (1, 1, 1)


async def test_a_notice_that_is_itself_exhausted_is_not_announced(database_url: str, redis_url: str) -> None:
    async with living(database_url, redis_url, **ONCE) as relay, Receiver(answering(500)) as bad:
        only = await subscribe(relay, bad, event_types=("job.completed", "delivery.exhausted"))
        await post(relay, only)
        async with delivering(relay):
            await all_ended(relay, 2, DeliveryStatus.EXHAUSTED)
        events = await relay.store.list_events(TENANT)
        assert [event.type for event in events] == ["delivery.exhausted", "job.completed"]


async def test_every_way_to_fail_has_its_name_and_is_retried(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """D7."""
    strange = Authority(tmp_path).server_context("127.0.0.1")
    more = {**BRISK, "RELAY_DELIVERY_TIMEOUT_SECONDS": "0.5"}
    async with (
        living(database_url, redis_url, **more) as relay,
        Receiver(resetting()) as rude,
        Receiver(hanging()) as silent,
        Receiver(answering(200), tls=strange) as unknown,
    ):
        with closed_port() as port:
            urls = {
                "refused": f"http://127.0.0.1:{port}/",
                "reset": rude.url(),
                "timeout": silent.url(),
                "tls": unknown.url(),
                "dns": "http://no-such-host.invalid/",
                "blocked": "http://10.1.2.3/",
            }
            posted = {name: await post(relay, await subscribe(relay, url)) for name, url in urls.items()}
            async with delivering(relay):
                for name, delivery in posted.items():
                    first, second, *_ = await attempts(relay, delivery, 2)
                    assert [first.answer.answer, second.answer.answer] == [name, name]
                    assert first.answer.hint
                    assert (await found(relay, delivery)).status is not DeliveryStatus.SUCCEEDED


async def test_a_deleted_subscription_gets_no_further_call(database_url: str, redis_url: str) -> None:
    """D8."""
    async with living(database_url, redis_url, **BRISK) as relay, Receiver(answering(500)) as inbox:
        subscription = await subscribe(relay, inbox)
        delivery = await post(relay, subscription)
        async with delivering(relay):
            await attempts(relay, delivery)
            assert await relay.steer.remove_subscription(TENANT, subscription.id)
            calls = len(inbox.calls)
            await asyncio.sleep(0.6)  # three retries would fit; there is no condition for nothing
            assert len(inbox.calls) <= calls + 1  # one may have been under way
        assert (await found(relay, delivery)).status is DeliveryStatus.CANCELLED


async def test_a_subscription_that_is_paused_between_attempts_gets_no_further_call_and_loses_nothing(
    database_url: str, redis_url: str
) -> None:
    """D8."""
    async with living(database_url, redis_url, **BRISK) as relay, Receiver(answering(500)) as inbox:
        subscription = await subscribe(relay, inbox)
        delivery = await post(relay, subscription)
        async with delivering(relay):
            await attempts(relay, delivery)
            before = await standing(relay, subscription)
            paused = replace(before, status=SubscriptionStatus.PAUSED, updated_at=relay.clock.now())
            assert await relay.steer.change_subscription(before, paused)
            calls = len(inbox.calls)
            await asyncio.sleep(0.6)  # as above
            assert len(inbox.calls) <= calls + 1
            assert (await found(relay, delivery)).status is DeliveryStatus.HELD
            inbox.behaviour = answering(200)
            await relay.steer.activate(TENANT, subscription.id)
            await ended(relay, delivery)


async def test_a_dripped_body_is_cut_at_the_total_deadline(database_url: str, redis_url: str) -> None:
    """D10."""
    more = {**ONCE, "RELAY_DELIVERY_TIMEOUT_SECONDS": "0.6"}
    async with living(database_url, redis_url, **more) as relay, Receiver(dripping(every_seconds=0.05)) as inbox:
        delivery = await post(relay, await subscribe(relay, inbox))
        async with delivering(relay):
            (attempt,) = await attempts(relay, delivery)
        assert (attempt.answer.answer, attempt.answer.blame) == ("timeout", "receiver")
        assert 600 <= attempt.answer.duration_ms < 5000


async def test_neither_an_endless_body_nor_a_gzip_bomb_is_read_to_its_end(database_url: str, redis_url: str) -> None:
    """D11."""
    bomb = gzip_bomb(64 * MEBIBYTE)
    async with (
        living(database_url, redis_url, **ONCE) as relay,
        Receiver(endless()) as flood,
        Receiver(bomb) as packed,
    ):
        deliveries = [await post(relay, await subscribe(relay, one)) for one in (flood, packed)]
        async with delivering(relay):
            answers = [(await attempts(relay, one))[0].answer for one in deliveries]
        assert [answer.answer for answer in answers] == ["success", "success"]
        assert all(answer.is_truncated and len(answer.response_body) <= 16_384 for answer in answers)
        await until(lambda: flood.bytes_written)
        assert flood.bytes_written < 8 * MEBIBYTE  # what the buffers of both ends hold, and no more


async def test_413_comes_with_the_hint_to_choose_thin(database_url: str, redis_url: str) -> None:
    """D12."""
    async with living(database_url, redis_url, **ONCE) as relay, Receiver(answering(413)) as inbox:
        delivery = await post(relay, await subscribe(relay, inbox))
        async with delivering(relay):
            (attempt,) = await attempts(relay, delivery)
        assert attempt.answer.hint is not None
        assert "thin" in attempt.answer.hint


@pytest.mark.parametrize("status_code", [502, 503, 504])
async def test_a_cold_start_gets_its_quick_second_try(status_code: int, database_url: str, redis_url: str) -> None:
    """D21."""
    behaviour = in_turn(answering(status_code), answering(200))
    async with living(database_url, redis_url, RELAY_RETRY_SCHEDULE="60") as relay, Receiver(behaviour) as inbox:
        delivery = await post(relay, await subscribe(relay, inbox))
        async with delivering(relay):
            done = await ended(relay, delivery)
        assert (done.attempts_made, done.steps) == (2, 0)


async def test_a_retry_goes_to_where_the_subscription_lives_now(database_url: str, redis_url: str) -> None:
    async with (
        living(database_url, redis_url, **BRISK) as relay,
        Receiver(answering(500)) as old,
        Receiver(answering(200)) as new,
    ):
        subscription = await subscribe(relay, old)
        delivery = await post(relay, subscription)
        async with delivering(relay):
            await attempts(relay, delivery)
            before = await standing(relay, subscription)
            after = replace(before, url=new.url("/new"), updated_at=relay.clock.now())
            assert await relay.steer.change_subscription(before, after)
            done = await ended(relay, delivery)
        assert done.url == new.url("/new")
        assert len(new.calls) == 1


async def test_connections_to_a_receiver_are_used_again(database_url: str, redis_url: str) -> None:
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        subscription = await subscribe(relay, inbox, max_in_flight=2)
        async with delivering(relay):
            for _ in range(30):
                await post(relay, subscription)
            await all_ended(relay, 30)
        assert inbox.connections <= 2


async def test_what_no_key_can_sign_is_not_sent(database_url: str, redis_url: str) -> None:
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        mute, speaking = await subscribe(relay, inbox, secrets=()), await subscribe(relay, inbox)
        delivery = await post(relay, mute)
        async with delivering(relay):
            await ended(relay, await post(relay, speaking))
        assert len(inbox.calls) == 1
        assert (await found(relay, delivery)).status is DeliveryStatus.PENDING
