"""The inbox over real HTTP: what it takes, what it refuses, what it shows."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from relay.clock import Clock
from relay.dev import inbox as module
from relay.dev.inbox import Inbox
from relay.dev.sample_event import sample_event
from relay.dev.serving import listen, serving
from relay.domain.subscription import EVENT_TYPES
from relay.webhooks.signing import new_secret, sign

SECRET = new_secret(b"0123456789abcdef0123456789abcdef")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running inbox."""
    async with (
        serving(Inbox(SECRET, Clock()).app, listen(0)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield client


def call(body: bytes, webhook_id: str = "evt_1", age_seconds: int = 0) -> dict[str, str]:
    """The headers of a good call."""
    seconds = int(Clock().now().timestamp()) - age_seconds
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": sign(SECRET, webhook_id, seconds, body),
    }


EVENT: dict[str, Any] = {
    "id": "evt_1",
    "type": "job.completed",
    "timestamp": "2026-01-02T03:04:05.678Z",
    "data": {"id": "job_1", "provider": "acme", "result": {"files": [{"url": "https://a.example/<b>.wav"}]}},
}


async def test_a_good_call_is_taken_and_shown(client: httpx.AsyncClient) -> None:
    body = json.dumps(EVENT).encode()
    assert (await client.post("/any/path", content=body, headers=call(body))).status_code == 204
    (shown,) = (await client.get("/")).json()["data"]
    assert (shown["webhook_id"], shown["type"], shown["job"], shown["provider"]) == (
        "evt_1",
        "job.completed",
        "job_1",
        "acme",
    )
    assert shown["is_verified"] is True
    assert shown["body"] == EVENT


@pytest.mark.parametrize("event_type", EVENT_TYPES)
async def test_an_event_of_every_type_is_taken_and_its_job_shown_where_it_has_one(
    client: httpx.AsyncClient, event_type: str
) -> None:
    event_id, body = sample_event(event_type, Clock())
    assert (await client.post("/", content=body, headers=call(body, event_id))).status_code == 204
    (shown,) = (await client.get("/")).json()["data"]
    assert shown["type"] == event_type
    has_job = event_type.startswith("job.") or event_type == "delivery.exhausted"
    assert str(shown["job"]).startswith("job_") if has_job else shown["job"] is None
    assert (await client.get("/", headers={"accept": "text/html"})).status_code == 200


async def test_a_repeated_id_is_taken_again_and_marked(client: httpx.AsyncClient) -> None:
    body = json.dumps(EVENT).encode()
    for _ in range(2):
        assert (await client.post("/", content=body, headers=call(body))).status_code == 204
    assert [one["is_duplicate"] for one in (await client.get("/")).json()["data"]] == [True, False]


async def test_two_subscriptions_at_two_paths_are_told_of_the_same_event_each(client: httpx.AsyncClient) -> None:
    body = json.dumps(EVENT).encode()
    for path in ("/webhooks", "/mine", "/mine"):
        assert (await client.post(path, content=body, headers=call(body))).status_code == 204
    shown = (await client.get("/")).json()["data"]
    assert [(one["path"], one["is_duplicate"]) for one in shown] == [
        ("/mine", True),
        ("/mine", False),
        ("/webhooks", False),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,***"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,é".encode("latin-1").decode("latin-1")},
        {"webhook-timestamp": "soon"},
        {"webhook-id": "evt_2"},
        {"webhook-id": ""},
    ],
)
async def test_a_forged_call_is_refused_and_nothing_of_its_body_is_believed(
    client: httpx.AsyncClient, change: dict[str, str]
) -> None:
    body = json.dumps(EVENT).encode()
    headers = {name: value.encode("latin-1") for name, value in {**call(body), **change}.items()}
    assert (await client.post("/", content=body, headers=headers)).status_code == 401
    (shown,) = (await client.get("/")).json()["data"]
    assert shown["is_verified"] is False
    assert shown["refusal"]
    assert shown["body"] is None


async def test_a_stale_call_is_refused(client: httpx.AsyncClient) -> None:
    body = json.dumps(EVENT).encode()
    assert (await client.post("/", content=body, headers=call(body, age_seconds=400))).status_code == 401


@pytest.mark.parametrize("body", [b"[]", b"7", b'{"data": 7}', b'{"data": {"result": null}}'])
async def test_a_signed_body_of_any_shape_is_taken(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post("/", content=body, headers=call(body))).status_code == 204


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff\xfe"])
async def test_a_signed_body_that_is_no_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post("/", content=body, headers=call(body))).status_code == 401


async def test_a_body_over_the_limit_is_not_read(client: httpx.AsyncClient) -> None:
    body = b" " * (module.BODY_BYTES_MAX + 1)
    assert (await client.post("/", content=body, headers=call(body))).status_code == 413


async def test_only_the_last_calls_are_kept(client: httpx.AsyncClient) -> None:
    for number in range(module.CALLS_KEPT_MAX + 5):
        body = b"{}"
        await client.post("/", content=body, headers=call(body, f"evt_{number}"))
    shown = (await client.get("/")).json()["data"]
    assert len(shown) == module.CALLS_KEPT_MAX
    assert shown[0]["webhook_id"] == f"evt_{module.CALLS_KEPT_MAX + 4}"


async def test_a_browser_gets_a_page_that_escapes_what_it_shows(client: httpx.AsyncClient) -> None:
    body = json.dumps(EVENT).encode()
    await client.post("/", content=body, headers=call(body))
    page = await client.get("/", headers={"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "job_1" in page.text
    assert "<b>.wav" not in page.text
