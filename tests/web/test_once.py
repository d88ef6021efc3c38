"""Tests of the Idempotency-Key."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from relay.store import migrate
from relay.store.keys import CALL_KEPT_SECONDS, LIFE_SECONDS
from relay.web.once import fingerprint, name
from tests.swift import ShiftedClock
from tests.trips import TENANT
from tests.web.house import House, opened, refused, told

URL = "http://127.0.0.1:9/hook"


async def own_id(house: House) -> str:
    """The id of the API key that `house.api` shows."""
    (key,) = await house.relay.store.list_keys(TENANT)
    return key.id


async def test_the_same_call_again_gets_the_first_answer(house: House) -> None:
    headers = {"idempotency-key": "order-1"}
    first = await house.api.post("/v1/subscriptions", json={"url": URL, "payload": "thin"}, headers=headers)
    again = await house.api.post("/v1/subscriptions", json={"payload": "thin", "url": URL}, headers=headers)
    assert told(again, 201) == told(first, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == "application/json"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert "idempotent-replayed" not in first.headers
    assert len(told(await house.api.get("/v1/subscriptions"))["data"]) == 1


async def test_another_body_or_route_under_the_same_key_is_422(house: House) -> None:
    headers = {"idempotency-key": "order-1"}
    subscription = told(await house.api.post("/v1/subscriptions", json={"url": URL}, headers=headers), 201)
    response = await house.api.post("/v1/subscriptions", json={"url": URL, "payload": "thin"}, headers=headers)
    refused(response, 422, "idempotency_key_reused")
    response = await house.api.post(f"/v1/subscriptions/{subscription['id']}/test", headers=headers)
    refused(response, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("silent_seconds", "wait_seconds"),
    [(0, "2"), (2, "5"), (LIFE_SECONDS - 0.5, "1")],
)
async def test_a_call_that_is_still_in_flight_is_409_and_says_when_that_will_have_changed(
    silent_seconds: float, wait_seconds: str, database_url: str, redis_url: str
) -> None:
    clock = ShiftedClock()
    async with opened(database_url, redis_url, clock) as house:
        body = '{"url": "http://127.0.0.1:9/hook"}'
        mark, own = fingerprint("POST", "/v1/subscriptions", body), name(await own_id(house), "order-1")
        await house.relay.store.open_call(TENANT, own, mark, "req_1", clock.now())
        clock.shift_seconds = silent_seconds
        response = await house.api.post("/v1/subscriptions", json={"url": URL}, headers={"idempotency-key": "order-1"})
        refused(response, 409, "idempotency_in_flight")
        assert response.headers["retry-after"] == wait_seconds


async def test_many_at_once_make_one(house: House) -> None:
    headers = {"idempotency-key": "order-1"}
    posts = (house.api.post("/v1/subscriptions", json={"url": URL}, headers=headers) for _ in range(10))
    responses = await asyncio.gather(*posts)
    assert {response.status_code for response in responses} <= {201, 409}
    assert len({response.json()["id"] for response in responses if response.status_code == 201}) == 1
    assert len(told(await house.api.get("/v1/subscriptions"))["data"]) == 1


async def test_what_was_refused_may_be_tried_again_under_the_same_key(house: House) -> None:
    headers = {"idempotency-key": "order-1"}
    refused(
        await house.api.post("/v1/subscriptions", json={"url": "nonsense"}, headers=headers), 422, "invalid_request"
    )
    told(await house.api.post("/v1/subscriptions", json={"url": URL}, headers=headers), 201)


@pytest.mark.parametrize(
    ("path", "body", "secret"), [("/v1/keys", {"name": "ci"}, "key"), ("/v1/subscriptions", {"url": URL}, "secret")]
)
async def test_a_key_belongs_to_the_api_key_that_used_it(house: House, path: str, body: Any, secret: str) -> None:
    headers = {"idempotency-key": "order-1"}
    mine = await house.api.post(path, json=body, headers=headers)
    async with house.client(await house.new_key()) as other:
        theirs = await other.post(path, json=body, headers=headers)
    assert "idempotent-replayed" not in theirs.headers
    assert told(theirs, 201)["id"] != told(mine, 201)["id"]
    assert mine.json()[secret] not in theirs.text
    again = await house.api.post(path, json=body, headers=headers)
    assert (again.content, again.headers["idempotent-replayed"]) == (mine.content, "true")


async def test_an_answer_is_kept_for_a_day_whatever_the_retention(database_url: str, redis_url: str) -> None:
    clock, headers = ShiftedClock(), {"idempotency-key": "order-1"}
    async with opened(database_url, redis_url, clock) as house:
        first = await house.api.post("/v1/subscriptions", json={"url": URL}, headers=headers)
        clock.shift_seconds = CALL_KEPT_SECONDS - 5
        await house.relay.sweep.tick()
        again = await house.api.post("/v1/subscriptions", json={"url": URL}, headers=headers)
        assert again.content == first.content
        clock.shift_seconds = CALL_KEPT_SECONDS
        other = await house.api.post("/v1/subscriptions", json={"url": URL, "payload": "thin"}, headers=headers)
        assert told(other, 201)["id"] != told(first, 201)["id"]


async def test_a_key_belongs_to_its_tenant(house: House) -> None:
    headers = {"idempotency-key": "order-1"}
    mine = told(await house.api.post("/v1/subscriptions", json={"url": URL}, headers=headers), 201)
    async with house.client(await house.new_key(tenant="other")) as other:
        theirs = told(await other.post("/v1/subscriptions", json={"url": URL}, headers=headers), 201)
    assert theirs["id"] != mine["id"]


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256])
async def test_a_key_that_cannot_be_one_is_400(house: House, key: str) -> None:
    response = await house.api.post("/v1/subscriptions", json={"url": URL}, headers={"idempotency-key": key})
    refused(response, 400, "idempotency_key_malformed")


async def test_two_keys_are_none(house: House) -> None:
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    refused(await house.api.post("/v1/keys", json={"name": "a"}, headers=headers), 400, "idempotency_key_malformed")


async def test_an_existing_job_is_replayed_as_what_it_was(house: House) -> None:
    await house.add_credential()
    body = {"provider": "camb", "provider_job_id": "c-1"}
    headers = {"idempotency-key": "order-1"}
    first = told(await house.api.post("/v1/jobs", json=body, headers=headers), 201)
    assert told(await house.api.post("/v1/jobs", json=body, headers=headers), 201) == first
    assert told(await house.api.post("/v1/jobs", json=body), 200)["id"] == first["id"]


async def test_secrets_in_saved_answers_are_encrypted_at_rest(tmp_path: Path, redis_url: str) -> None:
    file = tmp_path / "own.db"
    await migrate(f"sqlite:///{file}")
    async with opened(f"sqlite:///{file}", redis_url) as house:
        made = [
            await house.api.post("/v1/subscriptions", json={"url": URL}, headers={"idempotency-key": "order-1"}),
            await house.api.post("/v1/keys", json={"name": "a"}, headers={"idempotency-key": "order-2"}),
        ]
    secrets = [told(made[0], 201)["secret"], told(made[1], 201)["key"]]
    with closing(sqlite3.connect(file)) as database:
        dump = "\n".join(database.iterdump())
    assert "order-1" in dump
    assert not [secret for secret in secrets if secret in dump]


async def test_the_gate_is_shut_before_the_key_is_looked_at(house: House) -> None:
    headers = {"idempotency-key": "order-1"}
    told(await house.api.post("/v1/subscriptions", json={"url": URL}, headers=headers), 201)
    async with house.client(await house.new_key("read")) as reader:
        refused(await reader.post("/v1/subscriptions", json={"url": URL}, headers=headers), 403, "forbidden")
