"""Tests of events and deliveries as the API shows them, with the stations at work behind it."""

from typing import Any

from tests.provider_stub import CAMB_KEY, Providers, camb, stub
from tests.receivers import Receiver, answering, in_turn
from tests.trips import until, verified, working
from tests.web.house import House, refused, told

DELIVERY_FIELDS = {
    "id",
    "object",
    "event",
    "event_type",
    "job",
    "subscription",
    "url",
    "status",
    "attempts_made",
    "next_attempt_at",
    "expires_at",
    "created_at",
    "completed_at",
    "attempts",
}
ATTEMPT_FIELDS = {
    "id",
    "object",
    "number",
    "trigger",
    "started_at",
    "duration_ms",
    "timing",
    "answer",
    "blame",
    "status_code",
    "request_headers",
    "response_headers",
    "response_body",
    "response_truncated",
    "hint",
}


async def delivered(house: House, delivery_id: str, status: str = "succeeded") -> dict[str, Any]:
    async def shown() -> dict[str, Any] | None:
        delivery = told(await house.api.get(f"/v1/deliveries/{delivery_id}"))
        return delivery if delivery["status"] == status else None

    delivery: dict[str, Any] = await until(shown)
    return delivery


async def test_the_test_event_is_signed_and_logged_like_any_other(house: House) -> None:
    async with Receiver(answering(200, {"x-seen": "yes"}, b"thanks")) as inbox, working(house.relay):
        subscription = await house.add_subscription(inbox.url("/hook"))
        response = await house.api.post(f"/v1/subscriptions/{subscription['id']}/test")
        sent = told(response, 202)
        assert response.headers["location"] == f"/v1/deliveries/{sent['id']}"
        (call,) = await inbox.heard()
        event = verified(call, subscription["secret"])
        assert (event["type"], event["data"]["subscription"]) == ("webhook.test", subscription["id"])
        delivery = await delivered(house, sent["id"])
        assert set(delivery) == DELIVERY_FIELDS
        (attempt,) = delivery["attempts"]
        assert set(attempt) == ATTEMPT_FIELDS
        assert (attempt["number"], attempt["trigger"], attempt["answer"]) == (1, "test", "success")
        assert (attempt["status_code"], attempt["response_body"]) == (200, "thanks")
        assert attempt["response_headers"]["x-seen"] == "yes"
        assert set(attempt["timing"]) == {"dns_ms", "connect_ms", "tls_ms", "wait_ms", "read_ms"}
        shown = told(await house.api.get(f"/v1/events/{event['id']}"))
        assert {name: shown[name] for name in event} == event
        (listed,) = told(await house.api.get("/v1/deliveries"))["data"]
        assert listed == {**delivery, "attempts": None}


async def test_a_jobs_whole_life_can_be_read(house: House) -> None:
    providers = Providers({"c-1": [camb("PENDING"), camb("ERROR", exception_reason="PROCESSING_ERROR")]})
    async with stub(providers) as server, Receiver(in_turn(answering(503), answering(204))) as inbox:
        await house.add_credential(
            secrets={"api_key": CAMB_KEY}, base_url=server.url(""), max_requests_per_second=100.0
        )
        subscription = await house.add_subscription(inbox.url("/hook"))
        job = await house.add_job("c-1")
        async with working(house.relay):
            await inbox.heard(2, 30)
            (listed,) = told(await house.api.get(f"/v1/deliveries?job={job['id']}"))["data"]
            await delivered(house, listed["id"])
        shown = told(await house.api.get(f"/v1/jobs/{job['id']}"))
        assert (shown["status"], shown["deliveries"]["succeeded"], shown["deliveries"]["total"]) == ("failed", 1, 1)
        (event,) = told(await house.api.get(f"/v1/events?job={job['id']}&type=job.failed"))["data"]
        for query in (f"event={event['id']}", f"subscription={subscription['id']}", "status=succeeded"):
            assert [one["id"] for one in told(await house.api.get(f"/v1/deliveries?{query}"))["data"]] == [listed["id"]]
        assert told(await house.api.get("/v1/deliveries?status=held"))["data"] == []
        timeline = told(await house.api.get(f"/v1/jobs/{job['id']}/timeline"))
        entries = timeline["data"]
        assert [entry["type"] for entry in entries][:2] == ["registered", "polls"]
        assert {entry["type"] for entry in entries} == {"registered", "polls", "ended", "event", "attempt"}
        assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
        attempts = [entry for entry in entries if entry["type"] == "attempt"]
        assert [(one["number"], one["status_code"]) for one in attempts] == [(1, 503), (2, 204)]


async def test_a_redelivery_is_a_new_attempt_of_the_same_event(house: House) -> None:
    async with Receiver(answering(204)) as inbox, working(house.relay):
        subscription = await house.add_subscription(inbox.url("/hook"))
        sent = told(await house.api.post(f"/v1/subscriptions/{subscription['id']}/test"), 202)
        await delivered(house, sent["id"])
        again = told(await house.api.post(f"/v1/deliveries/{sent['id']}/redelivery"), 202)
        assert again["id"] == sent["id"]
        first, second = await inbox.heard(2)
        assert first.body == second.body
        assert first.header("webhook-id") == second.header("webhook-id")
        delivery = await delivered(house, sent["id"])
        assert [attempt["trigger"] for attempt in delivery["attempts"]] == ["test", "manual"]


async def test_a_redelivery_to_a_disabled_subscription_is_409(house: House) -> None:
    async with Receiver(answering(204)) as inbox:
        subscription = await house.add_subscription(inbox.url("/hook"))
        async with working(house.relay):
            sent = told(await house.api.post(f"/v1/subscriptions/{subscription['id']}/test"), 202)
            await delivered(house, sent["id"])
        path = f"/v1/subscriptions/{subscription['id']}"
        await house.api.patch(path, json={"status": "disabled"})
        refused(await house.api.post(f"/v1/deliveries/{sent['id']}/redelivery"), 409, "subscription_not_active")
        await house.api.delete(path)
        refused(await house.api.post(f"/v1/deliveries/{sent['id']}/redelivery"), 409, "subscription_not_active")
        assert len(inbox.calls) == 1


async def test_what_a_paused_subscription_missed_is_held_until_its_activation(house: House) -> None:
    async with Receiver(answering(204)) as inbox, working(house.relay):
        subscription = await house.add_subscription(inbox.url("/hook"))
        path = f"/v1/subscriptions/{subscription['id']}"
        await house.api.patch(path, json={"status": "paused"})
        sent = told(await house.api.post(f"{path}/test"), 202)
        assert sent["status"] == "held"
        told(await house.api.post(f"{path}/activation"))
        await inbox.heard()
        await delivered(house, sent["id"])
