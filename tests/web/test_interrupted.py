"""Tests of calls with an Idempotency-Key whose process dies or dawdles: one thing is made, and one answer given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from relay.domain.errors import Unreachable
from relay.domain.key import digest
from relay.store import Cipher, Store
from relay.store.keys import LIFE_SECONDS
from tests.provider_stub import CREDENTIALS, Providers, stub
from tests.receivers import Call, Wire, slow
from tests.swift import ShiftedClock
from tests.trips import TENANT, until
from tests.web.house import House, opened, refused, told

KEY = {"idempotency-key": "order-1"}
URL = "http://127.0.0.1:9/hook"
SUBMISSION = {"provider": "fishspeech", "submit": {"text": "hello", "voiceId": "v"}}
SINCE = "2026-01-02T03:04:05.678Z"


class Dying(Store):
    """Like a process that dies when its work is done, before it can say so: nothing of it closes its calls."""

    async def close_call(self, *_: Any) -> bool:
        raise Unreachable("database", "the process has died")


@dataclass(frozen=True)
class Pair:
    """Two web processes on one database; `dying` makes calls and closes none. Both clients show the same API key."""

    house: House
    dying: httpx.AsyncClient
    clock: ShiftedClock

    @property
    def api(self) -> httpx.AsyncClient:
        """The client of the one that lives."""
        return self.house.api

    async def twice(self, path: str, body: Any) -> tuple[httpx.Response, httpx.Response]:
        """What the one that died would have answered, and what its repetition is told once the first is given up."""
        lost = await self.dying.post(path, json=body, headers=KEY)
        refused(await self.api.post(path, json=body, headers=KEY), 409, "idempotency_in_flight")
        self.clock.shift_seconds += LIFE_SECONDS
        again = await self.api.post(path, json=body, headers=KEY)
        assert "idempotent-replayed" not in again.headers
        replayed = await self.api.post(path, json=body, headers=KEY)
        assert (replayed.status_code, replayed.content) == (again.status_code, again.content)
        assert replayed.headers["idempotent-replayed"] == "true"
        return lost, again


@pytest.fixture
async def pair(database_url: str, redis_url: str) -> AsyncIterator[Pair]:
    """Both, on a clock that can be set."""
    clock = ShiftedClock()
    async with (
        opened(database_url, redis_url, clock) as house,
        opened(database_url, redis_url, clock) as other,
        other.client(house.api.headers["authorization"].removeprefix("Bearer ")) as api,
    ):
        relay = other.relay
        store = Dying(relay.store._database, Cipher(relay.settings.secret_keys))
        other.app.state.relay = replace(relay, store=store)
        yield Pair(house, api, clock)


async def test_a_subscription_is_made_once(pair: Pair) -> None:
    lost, again = await pair.twice("/v1/subscriptions", {"url": URL, "signatures": ["v1", "v1a"]})
    assert (again.status_code, again.content) == (lost.status_code, lost.content)
    (listed,) = told(await pair.api.get("/v1/subscriptions"))["data"]
    assert listed["id"] == told(again, 201)["id"]


async def test_a_subscription_that_was_removed_meanwhile_stays_removed(pair: Pair) -> None:
    lost = told(await pair.dying.post("/v1/subscriptions", json={"url": URL}, headers=KEY), 201)
    await pair.api.delete(f"/v1/subscriptions/{lost['id']}")
    pair.clock.shift_seconds += LIFE_SECONDS
    again = told(await pair.api.post("/v1/subscriptions", json={"url": URL}, headers=KEY), 201)
    assert again["id"] == lost["id"]
    assert told(await pair.api.get("/v1/subscriptions"))["data"] == []


async def test_a_credential_is_made_once_and_does_not_take_its_own_name(pair: Pair) -> None:
    body = {"name": "main", "provider": "camb", "secrets": {"api_key": "a-key-of-camb"}}
    lost, again = await pair.twice("/v1/credentials", body)
    assert told(again, 201) == told(lost, 201)
    assert len(told(await pair.api.get("/v1/credentials"))["data"]) == 1
    other = await pair.api.post("/v1/credentials", json=body, headers={"idempotency-key": "order-2"})
    refused(other, 409, "name_taken")


async def test_a_key_is_made_once_and_the_text_that_was_told_is_the_one_that_counts(pair: Pair) -> None:
    lost, again = await pair.twice("/v1/keys", {"name": "ci"})
    assert told(again, 201)["id"] == told(lost, 201)["id"]
    store = pair.house.relay.store
    assert len([key for key in await store.list_keys(TENANT) if key.name == "ci"]) == 1
    assert await store.find_key(digest(again.json()["key"])) is not None
    assert await store.find_key(digest(lost.json()["key"])) is None


async def test_a_recovery_is_begun_once(pair: Pair) -> None:
    subscription = await pair.house.add_subscription()
    path = f"/v1/subscriptions/{subscription['id']}/recovery"
    lost, again = await pair.twice(path, {"since": SINCE})
    assert told(again, 202) == told(lost, 202)
    assert len(told(await pair.api.get(path))["data"]) == 1


async def test_a_test_event_is_sent_once(pair: Pair) -> None:
    subscription = await pair.house.add_subscription()
    lost, again = await pair.twice(f"/v1/subscriptions/{subscription['id']}/test", None)
    assert told(again, 202) == told(lost, 202)
    assert len(told(await pair.api.get("/v1/events"))["data"]) == 1
    assert len(told(await pair.api.get("/v1/deliveries"))["data"]) == 1


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/batch"])
async def test_a_job_is_watched_once_and_called_back_for_once(pair: Pair, path: str) -> None:
    await pair.house.add_credential()
    job = {"provider": "camb", "provider_job_id": "c-1", "callback": {"url": URL}}
    lost, again = await pair.twice(path, {"jobs": [job]} if path.endswith("batch") else job)
    first, second = lost.json(), again.json()
    if path.endswith("batch"):
        first, second = first["data"][0]["job"], second["data"][0]["job"]
    else:
        assert (lost.status_code, again.status_code) == (201, 201)
    assert (second["id"], second["callback"]) == (first["id"], first["callback"])
    assert len(told(await pair.api.get("/v1/jobs"))["data"]) == 1
    assert len(await pair.house.relay.store.list_subscriptions(TENANT, include_callbacks=True)) == 1


async def test_a_job_that_was_let_go_meanwhile_is_not_watched_again(pair: Pair) -> None:
    await pair.house.add_credential()
    body = {"provider": "camb", "provider_job_id": "c-1", "callback": {"url": URL}}
    lost = told(await pair.dying.post("/v1/jobs", json=body, headers=KEY), 201)
    await pair.api.delete(f"/v1/jobs/{lost['id']}")
    pair.clock.shift_seconds += LIFE_SECONDS
    again = told(await pair.api.post("/v1/jobs", json=body, headers=KEY), 201)
    assert (again["id"], again["status"]) == (lost["id"], "cancelled")
    assert len(told(await pair.api.get("/v1/jobs"))["data"]) == 1
    assert len(await pair.house.relay.store.list_subscriptions(TENANT, include_callbacks=True)) == 1


async def test_a_batch_watches_none_again_that_gave_its_id_free_meanwhile(pair: Pair) -> None:
    await pair.house.add_credential()
    jobs = [{"provider": "camb", "provider_job_id": name, "callback": {"url": URL}} for name in ("c-1", "c-2", "c-1")]
    lost = told(await pair.dying.post("/v1/jobs/batch", json={"jobs": jobs}, headers=KEY))["data"]
    await pair.api.delete(f"/v1/jobs/{lost[0]['job']['id']}")
    pair.clock.shift_seconds += LIFE_SECONDS
    again = told(await pair.api.post("/v1/jobs/batch", json={"jobs": jobs}, headers=KEY))["data"]
    assert [one["job"]["id"] for one in again] == [one["job"]["id"] for one in lost]
    assert [one["status"] for one in again] == [one["status"] for one in lost] == [201, 201, 200]
    assert [one["job"]["status"] for one in again] == ["cancelled", "pending", "cancelled"]
    assert len(told(await pair.api.get("/v1/jobs"))["data"]) == 2
    assert len(await pair.house.relay.store.list_subscriptions(TENANT, include_callbacks=True)) == 2


async def test_a_job_is_made_at_its_provider_once(pair: Pair) -> None:
    providers = Providers()
    async with stub(providers) as server:
        await pair.house.add_credential("fishspeech", **CREDENTIALS["fishspeech"], base_url=server.url(""))
        lost, again = await pair.twice("/v1/jobs", {**SUBMISSION, "callback": {"url": URL}})
        assert {**told(again, 201), "next_poll_at": None} == {**told(lost, 201), "next_poll_at": None}
        assert len(providers.creates) == 1
        assert len(await pair.house.relay.store.list_subscriptions(TENANT, include_callbacks=True)) == 1


async def test_a_secret_that_is_rotated_twice_signs_beside_the_lost_one(pair: Pair) -> None:
    subscription = await pair.house.add_subscription()
    lost, again = await pair.twice(f"/v1/subscriptions/{subscription['id']}/secret/rotation", {})
    signing = {one["secret"] for one in told(again, 201)["secrets"]}
    assert {subscription["secret"], told(lost, 201)["secret"], again.json()["secret"]} == signing


async def test_another_body_is_422_however_the_first_call_fares(pair: Pair) -> None:
    told(await pair.dying.post("/v1/subscriptions", json={"url": URL}, headers=KEY), 201)
    for _ in range(2):
        response = await pair.api.post("/v1/subscriptions", json={"url": URL, "payload": "thin"}, headers=KEY)
        refused(response, 422, "idempotency_key_reused")
        pair.clock.shift_seconds += LIFE_SECONDS


async def test_a_call_that_is_slow_is_never_taken_for_dead(database_url: str, redis_url: str) -> None:
    providers = Providers(on_create=[slow(LIFE_SECONDS + 1.5, made_late)])
    async with submitting(database_url, redis_url, providers) as house:
        first = asyncio.create_task(house.api.post("/v1/jobs", json=SUBMISSION, headers=KEY))
        await until(lambda: providers.creates)
        while not first.done():
            again = await house.api.post("/v1/jobs", json=SUBMISSION, headers=KEY)
            if not first.done():
                refused(again, 409, "idempotency_in_flight")
                assert again.headers["retry-after"] in ("1", "2")
            await asyncio.sleep(0.2)
        assert told(await first, 201)["provider_job_id"] == "task_1"
        replayed = await house.api.post("/v1/jobs", json=SUBMISSION, headers=KEY)
        assert (replayed.status_code, replayed.content) == (201, first.result().content)


async def test_of_many_calls_at_once_one_makes_the_job_and_whoever_asks_later_hears_its_very_answer(
    database_url: str, redis_url: str
) -> None:
    providers = Providers(on_create=[slow(0.3, made_late)])
    async with submitting(database_url, redis_url, providers) as house, opened(database_url, redis_url) as other:
        key = house.api.headers["authorization"].removeprefix("Bearer ")
        async with other.client(key) as there:
            first: list[httpx.Response] = []
            rest: list[httpx.Response] = []

            async def ask(client: httpx.AsyncClient) -> None:
                while True:  # without a pause, so that some ask just when the first has been answered
                    response = await client.post("/v1/jobs", json=SUBMISSION, headers=KEY)
                    (
                        rest if "idempotent-replayed" in response.headers or response.status_code == 409 else first
                    ).append(response)
                    if response.status_code != 409:
                        return

            await asyncio.gather(*(ask(client) for client in [house.api, there] * 25))
        (answer,) = first
        assert told(answer, 201)["provider_job_id"] == "task_1"
        replayed = [response for response in rest if response.status_code != 409]
        assert len(replayed) == 49
        assert {(response.status_code, response.content) for response in replayed} == {(201, answer.content)}
        assert len(providers.creates) == 1


async def test_a_call_that_is_broken_off_while_the_provider_is_asked_makes_one_job(
    database_url: str, redis_url: str
) -> None:
    providers = Providers(on_create=[slow(1.0, made_late)])
    async with submitting(database_url, redis_url, providers) as house:
        first = asyncio.create_task(house.api.post("/v1/jobs", json=SUBMISSION, headers=KEY))
        await until(lambda: providers.creates)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        refused(await house.api.post("/v1/jobs", json=SUBMISSION, headers=KEY), 409, "idempotency_in_flight")

        async def answered() -> httpx.Response | None:
            response = await house.api.post("/v1/jobs", json=SUBMISSION, headers=KEY)
            return None if response.status_code == 409 else response

        assert (await until(answered)).json()["provider_job_id"] == "task_1"
        assert len(providers.creates) == 1


async def made_late(call: Call, wire: Wire) -> None:
    await wire.respond(202, {}, b'{"id": "task_1", "status": "queued"}')


@asynccontextmanager
async def submitting(database_url: str, redis_url: str, providers: Providers) -> AsyncIterator[House]:
    """An application with a credential at the stub."""
    async with opened(database_url, redis_url) as house, stub(providers) as server:
        await house.add_credential("fishspeech", **CREDENTIALS["fishspeech"], base_url=server.url(""))
        yield house
