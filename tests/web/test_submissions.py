"""Tests of `submit` in POST /v1/jobs: what is answered when the provider makes the job, refuses, or leaves doubt."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.provider_stub import CREDENTIALS, Providers, stub
from tests.receivers import answering, hanging_up
from tests.web.house import House, faults, opened, refused, told
from tests.web.test_jobs import JOB_FIELDS

BODY = {"provider": "fishspeech", "submit": {"text": "hello", "voiceId": "v"}}
KEY = {"idempotency-key": "order-1"}


@asynccontextmanager
async def submitting(database_url: str, redis_url: str, providers: Providers, **more: Any) -> AsyncIterator[House]:
    """An application with a credential at the stub."""
    async with opened(database_url, redis_url) as house, stub(providers) as server:
        await house.add_credential("fishspeech", **{**CREDENTIALS["fishspeech"], **more}, base_url=server.url(""))
        yield house


async def test_a_submitted_job_is_answered_with_its_providers_id(database_url: str, redis_url: str) -> None:
    providers = Providers()
    async with submitting(database_url, redis_url, providers) as house:
        response = await house.api.post("/v1/jobs", json={**BODY, "metadata": {"order": 7}})
        job = told(response, 201)
        assert set(job) == JOB_FIELDS | {"callback"}
        assert (job["status"], job["provider_job_id"], job["metadata"]) == ("pending", "task_1", {"order": 7})
        assert job["next_poll_at"] is not None
        assert response.headers["location"] == f"/v1/jobs/{job['id']}"
        assert told(await house.api.get(f"/v1/jobs/{job['id']}"))["provider_job_id"] == "task_1"
        again = told(await house.api.post("/v1/jobs", json={"provider": "fishspeech", "provider_job_id": "task_1"}))
        assert again["id"] == job["id"]
        assert providers.creates == [("fishspeech", BODY["submit"])]


async def test_a_creation_with_an_id_that_is_tracked_already_is_200_with_that_job(
    database_url: str, redis_url: str
) -> None:
    said = (202, {"id": "task_1", "status": "queued"})
    async with submitting(database_url, redis_url, Providers(on_create=[said] * 2)) as house:
        first = told(await house.api.post("/v1/jobs", json=BODY), 201)
        callback = {"url": "https://hooks.example/relay"}
        for _ in range(2):
            again = await house.api.post("/v1/jobs", json={**BODY, "callback": callback}, headers=KEY)
            assert told(again, 200)["id"] == first["id"]
            assert told(again)["callback"]["url"] == callback["url"]
        assert len(told(await house.api.get("/v1/jobs"))["data"]) == 1


async def test_the_same_key_makes_one_job(database_url: str, redis_url: str) -> None:
    providers = Providers()
    async with submitting(database_url, redis_url, providers) as house:
        first = await house.api.post("/v1/jobs", json=BODY, headers=KEY)
        again = await house.api.post("/v1/jobs", json=BODY, headers=KEY)
        assert told(again, 201) == told(first, 201)
        assert again.headers["idempotent-replayed"] == "true"
        other = {**BODY, "submit": {"text": "other"}}
        refused(await house.api.post("/v1/jobs", json=other, headers=KEY), 422, "idempotency_key_reused")
        assert len(providers.creates) == 1


@pytest.mark.parametrize("has_record", [True, False])
async def test_an_unclear_answer_is_202_and_the_same_key_says_it_again(
    has_record: bool, database_url: str, redis_url: str
) -> None:
    providers = Providers(on_create=[hanging_up()])
    async with submitting(database_url, redis_url, providers) as house:
        response = await house.api.post("/v1/jobs", json=BODY, headers=KEY)
        job = told(response, 202)
        assert set(job) == JOB_FIELDS | {"callback"}
        assert (job["status"], job["provider_job_id"], job["next_poll_at"]) == ("submitting", None, None)
        assert "not known whether the provider has made this job" in job["warnings"][0]
        assert response.headers["location"] == f"/v1/jobs/{job['id']}"
        if not has_record:  # as when its answer could not be saved
            assert await house.relay.store.forget_calls(house.relay.clock.now() + timedelta(days=1), 9) == 1
        again = told(await house.api.post("/v1/jobs", json=BODY, headers=KEY), 202)
        assert again == job
        assert len(providers.creates) == 1
        (listed,) = told(await house.api.get("/v1/jobs?status=submitting"))["data"]
        assert listed["id"] == job["id"]
        assert told(await house.api.get("/v1/jobs?status=pending"))["data"] == []
        timeline = told(await house.api.get(f"/v1/jobs/{job['id']}/timeline"))["data"]
        assert timeline[0]["provider_job_id"] is None
        assert told(await house.api.post(f"/v1/jobs/{job['id']}/refresh"), 202)["status"] == "submitting"
        refused(await house.api.get(f"/v1/jobs/{job['id']}/result"), 409, "result_not_ready")
        assert told(await house.api.delete(f"/v1/jobs/{job['id']}"))["status"] == "cancelled"


async def test_a_credential_that_a_job_in_doubt_names_is_in_use(database_url: str, redis_url: str) -> None:
    async with submitting(database_url, redis_url, Providers(on_create=[hanging_up()])) as house:
        job = told(await house.api.post("/v1/jobs", json=BODY), 202)
        refused(await house.api.delete(f"/v1/credentials/{job['credential']}"), 409, "in_use")
        await house.api.delete(f"/v1/jobs/{job['id']}")
        assert (await house.api.delete(f"/v1/credentials/{job['credential']}")).status_code == 204


@pytest.mark.parametrize(
    ("said", "status", "code", "where", "reason"),
    [
        ((400, {"code": "bad_voice", "message": "no such voice"}), 422, "submission_refused", "/submit", "bad_voice"),
        ((402, {"code": "no_credits", "message": "buy some"}), 402, "payment_required", "/credential", "no_credits"),
        ((401, {"code": "unauthorized", "message": "no"}), 409, "credential_refused", "/credential", "unauthorized"),
        ((429, {"code": "slow", "message": "later"}, {"retry-after": "9"}), 429, "rate_limited", "/credential", "slow"),
    ],
)
async def test_a_refusal_says_the_providers_reason_and_leaves_no_job(
    said: Any, status: int, code: str, where: str, reason: str, database_url: str, redis_url: str
) -> None:
    async with submitting(database_url, redis_url, Providers(on_create=[said])) as house:
        response = await house.api.post("/v1/jobs", json=BODY, headers=KEY)
        problem = refused(response, status, code)
        assert faults(problem) == {where: reason}
        assert said[1]["message"] in problem["detail"]
        assert response.headers.get("retry-after") == ("9" if status == 429 else None)
        assert told(await house.api.get("/v1/jobs"))["data"] == []


async def test_a_provider_that_cannot_be_reached_is_503(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url) as house:
        body = {**CREDENTIALS["fishspeech"], "base_url": "http://127.0.0.1:9"}
        await house.add_credential("fishspeech", **body)
        response = await house.api.post("/v1/jobs", json=BODY)
        refused(response, 503, "provider_unavailable")
        assert int(response.headers["retry-after"]) > 0


async def test_a_job_is_either_named_or_submitted(database_url: str, redis_url: str) -> None:
    providers = Providers()
    async with submitting(database_url, redis_url, providers) as house:
        both = {**BODY, "provider_job_id": "task_9"}
        assert faults(refused(await house.api.post("/v1/jobs", json=both), 422)) == {"/submit": "conflict"}
        neither = {"provider": "fishspeech", "submit": None}
        assert faults(refused(await house.api.post("/v1/jobs", json=neither), 422)) == {"/provider_job_id": "missing"}
        wrong = {"provider": "fishspeech", "submit": "hello"}
        assert faults(refused(await house.api.post("/v1/jobs", json=wrong), 422)) == {"/submit": "invalid_type"}
        assert providers.creates == []


async def test_a_batch_makes_no_jobs_and_says_where_to_have_them_made(database_url: str, redis_url: str) -> None:
    providers = Providers()
    async with submitting(database_url, redis_url, providers) as house:
        items = [BODY, {"provider": "fishspeech", "provider_job_id": "task_9"}]
        data = told(await house.api.post("/v1/jobs/batch", json={"jobs": items}))["data"]
        assert [item["status"] for item in data] == [422, 201]
        assert faults(data[0]["problem"]) == {"/submit": "not_in_batch"}
        assert providers.creates == []


async def test_doubt_about_one_call_does_not_keep_the_next_from_being_made(database_url: str, redis_url: str) -> None:
    providers = Providers(on_create=[answering(200, {}, b'{"unexpected": true}')])
    async with submitting(database_url, redis_url, providers) as house:
        assert told(await house.api.post("/v1/jobs", json=BODY), 202)["status"] == "submitting"
        assert told(await house.api.post("/v1/jobs", json=BODY), 201)["provider_job_id"] == "task_1"
