"""A subscription that wants the handshake comes to be, and moves, only where its receiver agrees."""

import pytest

from relay.domain.subscription import Subscription
from tests.receivers import Behaviour, Call, Receiver, Wire, answering
from tests.trips import working
from tests.web.house import House, faults, refused, told

ORIGIN = "relay.example"  # the house's public URL is http://relay.example


def agreeing(rate: str = "*") -> Behaviour:
    """Agrees to OPTIONS, and takes what comes by POST."""

    async def behave(call: Call, wire: Wire) -> None:
        is_question = call.method == "OPTIONS"
        headers = {"WebHook-Allowed-Origin": ORIGIN, "WebHook-Allowed-Rate": rate} if is_question else {}
        await wire.respond(204, headers)

    return behave


async def stored(house: House, subscription_id: str) -> Subscription:
    found = await house.relay.store.find_subscription("acme", subscription_id)
    assert found is not None
    return found


async def test_without_the_wish_nobody_is_asked(house: House) -> None:
    async with Receiver(answering(405)) as receiver:
        made = await house.add_subscription(receiver.url())
        assert (made["handshake"], made["requests_per_minute"]) == (False, None)
        assert receiver.calls == []


async def test_a_receiver_that_agrees_gets_calls_that_name_their_origin(house: House) -> None:
    async with Receiver(agreeing()) as receiver:
        made = await house.add_subscription(receiver.url("/hook"), handshake=True, headers={"x-token": "hush-hush"})
        assert (made["handshake"], made["requests_per_minute"]) == (True, None)
        told(await house.api.post(f"/v1/subscriptions/{made['id']}/test"), 202)
        async with working(house.relay):
            question, call = await receiver.heard(2, 15)
    assert (question.method, question.header("x-token")) == ("OPTIONS", "hush-hush")
    assert (call.method, call.header("webhook-request-origin")) == ("POST", ORIGIN)


async def test_a_receiver_that_does_not_agree_is_not_subscribed(house: House) -> None:
    async with Receiver(answering(200)) as receiver:
        body = {"url": receiver.url("/hook"), "handshake": True}
        problem = refused(await house.api.post("/v1/subscriptions", json=body), 422, "invalid_request")
        assert faults(problem) == {"/url": "handshake_refused"}
        assert f"WebHook-Allowed-Origin: {ORIGIN}" in problem["errors"][0]["detail"]
        assert len(receiver.calls) == 1
    assert told(await house.api.get("/v1/subscriptions"))["data"] == []


async def test_nobody_is_asked_while_the_request_has_other_faults(house: House) -> None:
    async with Receiver(agreeing()) as receiver:
        body = {"url": receiver.url(), "handshake": True, "payload": "huge"}
        assert set(faults(refused(await house.api.post("/v1/subscriptions", json=body), 422))) == {"/payload"}
        assert receiver.calls == []


async def test_the_rate_that_was_granted_is_kept_to(house: House) -> None:
    async with Receiver(agreeing("240")) as receiver:
        made = await house.add_subscription(receiver.url(), handshake=True)
        assert made["requests_per_minute"] == 240
        for _ in range(4):
            told(await house.api.post(f"/v1/subscriptions/{made['id']}/test"), 202)
        async with working(house.relay):
            began = house.relay.clock.monotonic()
            await receiver.heard(5, 15)
            assert house.relay.clock.monotonic() - began >= 0.5  # three gaps of 250 ms, a little for the first
    assert (await house.relay.store.subscriptions_with_pending()) == []


async def test_a_change_of_the_url_is_asked_for_anew_and_other_changes_are_not(house: House) -> None:
    async with Receiver(agreeing("60")) as first, Receiver(agreeing("120")) as second, Receiver(answering()) as third:
        made = await house.add_subscription(first.url(), handshake=True)
        path = f"/v1/subscriptions/{made['id']}"
        told(await house.api.patch(path, json={"description": "a", "max_in_flight": 3}))
        assert len(first.calls) == 1
        moved = told(await house.api.patch(path, json={"url": second.url()}))
        assert (moved["url"], moved["requests_per_minute"]) == (second.url(), 120)
        problem = refused(await house.api.patch(path, json={"url": third.url()}), 422)
        assert faults(problem) == {"/url": "handshake_refused"}
        assert (await stored(house, made["id"])).url == second.url()
        free = told(await house.api.patch(path, json={"url": third.url(), "handshake": False}))
        assert (free["url"], free["handshake"], free["requests_per_minute"]) == (third.url(), False, None)
        assert len(third.calls) == 1


async def test_the_wish_may_come_later(house: House) -> None:
    async with Receiver(agreeing()) as willing, Receiver(answering(405)) as unwilling:
        for receiver, status in ((willing, 200), (unwilling, 422)):
            made = await house.add_subscription(receiver.url())
            response = await house.api.patch(f"/v1/subscriptions/{made['id']}", json={"handshake": True})
            assert response.status_code == status, response.text
            assert (await stored(house, made["id"])).wants_handshake is (status == 200)


@pytest.mark.parametrize("wish", ["options", 1])
async def test_a_wish_that_is_none_is_refused(house: House, wish: object) -> None:
    body = {"url": "http://127.0.0.1:9/", "handshake": wish}
    assert set(faults(refused(await house.api.post("/v1/subscriptions", json=body), 422))) == {"/handshake"}
