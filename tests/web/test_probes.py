"""The probe's route, and the same sentences on the attempts of deliveries."""

import asyncio
import json
from typing import Any

import pytest

from relay.domain.moments import seconds_after
from tests.receivers import Behaviour, Call, Receiver, Wire, answering, redirecting, slow
from tests.trips import until, working
from tests.web.house import House, refused, told


async def attempted(house: House, subscription: dict[str, Any]) -> dict[str, Any]:
    """The first attempt of a test event."""
    delivery = told(await house.api.post(f"/v1/subscriptions/{subscription['id']}/test"), 202)

    async def attempts() -> list[dict[str, Any]]:
        shown = told(await house.api.get(f"/v1/deliveries/{delivery['id']}"))
        made: list[dict[str, Any]] = shown["attempts"]
        return made

    async with working(house.relay):
        first: dict[str, Any] = (await until(attempts))[0]
    return first


async def test_a_probe_answers_with_what_it_found_and_leaves_no_trace(house: House) -> None:
    async with Receiver(answering(200)) as receiver:
        made = await house.add_subscription(receiver.url("/hook"))
        report = told(await house.api.post(f"/v1/subscriptions/{made['id']}/probe"))
        assert len(receiver.calls) == 5
    assert (report["object"], report["subscription"]) == ("probe", made["id"])
    assert (report["tells_apart"], report["verdict"]) == (False, "failed")
    assert [check["name"] for check in report["checks"]] == [
        *("good", "duplicate", "forged", "stale", "unknown_key"),
        *("scheme", "certificate", "redirect", "protection_page"),
    ]
    for listing in ("deliveries", "events"):
        assert told(await house.api.get(f"/v1/{listing}"))["data"] == []
    shown = told(await house.api.get(f"/v1/subscriptions/{made['id']}"))
    assert (shown["failing_since"], shown["last_success_at"]) == (None, None)


async def test_a_paused_or_disabled_subscription_may_be_probed_before_it_is_activated(house: House) -> None:
    async with Receiver(answering(410)) as receiver:
        made = await house.add_subscription(receiver.url("/hook"))
        for status in ("paused", "disabled"):
            told(await house.api.patch(f"/v1/subscriptions/{made['id']}", json={"status": status}))
            report = told(await house.api.post(f"/v1/subscriptions/{made['id']}/probe"))
            assert report["checks"][0]["answer"] == "gone"
            assert told(await house.api.get(f"/v1/subscriptions/{made['id']}"))["status"] == status


async def test_one_probe_of_a_subscription_runs_at_a_time(house: House) -> None:
    async with Receiver(slow(0.3, answering())) as receiver, Receiver(answering()) as other:
        made = await house.add_subscription(receiver.url("/hook"))
        path = f"/v1/subscriptions/{made['id']}/probe"
        first = asyncio.create_task(house.api.post(path))
        await receiver.heard()
        refused(await house.api.post(path), 409, "probe_running")
        beside = await house.add_subscription(other.url("/hook"))
        told(await house.api.post(f"/v1/subscriptions/{beside['id']}/probe"))
        told(await first)
        told(await house.api.post(path))


async def test_a_receiver_that_asked_for_no_calls_is_not_probed(house: House) -> None:
    async with Receiver(answering()) as receiver:
        made = await house.add_subscription(receiver.url("/hook"))
        await house.relay.store.hold_subscription(made["id"], seconds_after(house.relay.clock.now(), 60))
        refused(await house.api.post(f"/v1/subscriptions/{made['id']}/probe"), 409, "subscription_held")
        assert receiver.calls == []


async def test_a_key_that_may_only_read_may_not_probe(house: House) -> None:
    made = await house.add_subscription()
    async with house.client(await house.new_key("read")) as reader:
        refused(await reader.post(f"/v1/subscriptions/{made['id']}/probe"), 403, "forbidden")


@pytest.mark.parametrize(
    ("behaviour", "payload", "words"),
    [
        (answering(413), "full", "choose `payload: thin`"),
        (answering(413), "thin", "raise its limit"),
        (redirecting(301, "/hook/"), "full", "subscribe with the final URL"),
        (redirecting(302, "/login"), "full", "sign-in"),
        (answering(403, {"cf-mitigated": "challenge"}), "full", "bot check"),
        (answering(200, {}, b"<!doctype html><title>Log in</title>"), "full", "sign-in page"),
        (answering(405), "full", "does not take POST"),
    ],
)
async def test_an_attempt_says_the_fix(house: House, behaviour: Behaviour, payload: str, words: str) -> None:
    async with Receiver(behaviour) as receiver:
        made = await house.add_subscription(receiver.url("/hook"), payload=payload)
        attempt = await attempted(house, made)
    assert words in attempt["hint"]


async def test_a_receiver_that_repeats_the_headers_it_got_does_not_bring_them_to_light(house: House) -> None:
    async def echo(call: Call, wire: Wire) -> None:
        told_headers = {"x-echo": call.header("x-token") or ""}
        await wire.respond(500, told_headers, json.dumps(dict(call.headers)).encode())

    async with Receiver(echo) as receiver:
        made = await house.add_subscription(receiver.url("/hook"), headers={"X-Token": "a-token-that-is-secret"})
        attempt = await attempted(house, made)
        assert receiver.calls[0].header("x-token") == "a-token-that-is-secret"
    assert "a-token-that-is-secret" not in json.dumps(attempt)
    assert attempt["request_headers"]["x-token"] == "…"
    assert json.loads(attempt["response_body"])["x-token"] == "…"
    assert attempt["response_headers"]["x-echo"] == "…"
