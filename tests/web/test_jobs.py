"""Tests of the jobs' routes."""

import asyncio
import json
from dataclasses import replace

import pytest

from relay.domain.credential import CredentialStatus
from relay.domain.job import JobStatus, Memo
from relay.schedule import Item
from tests.web.house import House, faults, opened, refused, told

JOB_FIELDS = {
    "id",
    "object",
    "provider",
    "credential",
    "provider_job_id",
    "params",
    "status",
    "provider_status",
    "metadata",
    "created_at",
    "started_at",
    "completed_at",
    "deadline_at",
    "next_poll_at",
    "paused_reason",
    "polls",
    "result",
    "error",
    "result_url",
    "url",
    "warnings",
    "deliveries",
}
NOWHERE = "unix:///nowhere/redis.sock"


async def test_a_job_is_created_once_and_then_given_back(house: House) -> None:
    credential = await house.add_credential()
    body = {"provider": "camb", "provider_job_id": "c-1", "metadata": {"order": 7}, "params": {"kind": "dub"}}
    response = await house.api.post("/v1/jobs", json=body)
    job = told(response, 201)
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert set(job) == JOB_FIELDS | {"callback"}
    assert (job["status"], job["credential"], job["polls"]) == ("pending", credential["id"], 0)
    assert job["url"] == f"http://relay.example/v1/jobs/{job['id']}"
    assert job["metadata"] == {"order": 7}
    assert job["next_poll_at"] is not None
    assert job["deliveries"] == dict.fromkeys(["pending", "succeeded", "held", "exhausted", "cancelled", "total"], 0)
    again = told(await house.api.post("/v1/jobs", json={**body, "metadata": {}}), 200)
    assert (again["id"], again["metadata"]) == (job["id"], {"order": 7})
    assert set(told(await house.api.get(f"/v1/jobs/{job['id']}"))) == JOB_FIELDS
    (listed,) = told(await house.api.get("/v1/jobs"))["data"]
    assert set(listed) == JOB_FIELDS
    assert listed["deliveries"] is None


async def test_faults_of_form_and_of_meaning_are_told_together(house: House) -> None:
    body = {
        "provider": "camb",
        "provider_job_id": "../../etc",
        "params": {"kind": "dub", "nonsense": "a"},
        "metadata": {"a": [1]},
        "deadline_seconds": 0.5,
        "callback": {"url": "http://10.0.0.1/", "secret": "short"},
        "surprise": 1,
    }
    problem = refused(await house.api.post("/v1/jobs", json=body), 422, "invalid_request")
    assert set(faults(problem)) == {
        "/provider_job_id",
        "/params/nonsense",
        "/metadata/a",
        "/deadline_seconds",
        "/callback/url",
        "/callback/secret",
        "/surprise",
        "/credential",
    }
    assert "10.0.0.1" not in problem["detail"] + str(problem["errors"])


async def test_an_unknown_provider_is_told_with_the_known_ones(house: House) -> None:
    problem = refused(await house.api.post("/v1/jobs", json={"provider": "nobody"}), 422)
    assert faults(problem) == {"/provider": "unknown_provider", "/provider_job_id": "missing"}
    assert "camb" in str(problem["errors"])


async def test_a_credential_may_be_named_by_id_or_name_and_must_be_when_there_are_several(house: House) -> None:
    first = await house.add_credential()
    second = await house.add_credential(name="second")
    problem = refused(await house.api.post("/v1/jobs", json={"provider": "camb", "provider_job_id": "a"}), 422)
    assert faults(problem) == {"/credential": "credential_needed"}
    assert "main, second" in str(problem["errors"])
    by_name = await house.add_job("a", credential="second")
    by_id = await house.add_job("a", credential=first["id"])
    assert (by_name["credential"], by_id["credential"]) == (second["id"], first["id"])


async def test_a_callback_whose_name_leads_inside_is_refused_and_one_unknown_is_not(house: House) -> None:
    await house.add_credential()
    body = {"provider": "camb", "provider_job_id": "a", "callback": {"url": "http://localhost:1/hook"}}
    told(await house.api.post("/v1/jobs", json=body), 201)
    body = {"provider": "camb", "provider_job_id": "b", "callback": {"url": "http://no-such-name.invalid/hook"}}
    told(await house.api.post("/v1/jobs", json=body), 201)


async def test_what_a_known_job_does_not_take_on_is_told(house: House) -> None:
    await house.add_credential()
    first = await house.add_job("known", metadata={"order": "1"}, params={"kind": "dub"})
    same = {"provider": "camb", "provider_job_id": "known"}
    for more in ({}, {"metadata": {"order": "1"}, "params": {"kind": "dub"}}):
        assert told(await house.api.post("/v1/jobs", json={**same, **more}))["warnings"] == []
    other = {**same, "metadata": {"order": "2"}, "params": {"kind": "tts"}}
    single = told(await house.api.post("/v1/jobs", json=other))
    (item,) = told(await house.api.post("/v1/jobs/batch", json={"jobs": [other]}))["data"]
    for view in (single, item["job"]):
        assert (view["metadata"], view["params"]) == ({"order": "1"}, {"kind": "dub"})
        assert [warning.split()[-5] for warning in view["warnings"]] == ["params", "metadata"]
    job = (await house.relay.store.load_jobs([first["id"]]))[first["id"]]
    ended = replace(job, status=JobStatus.COMPLETED, completed_at=house.relay.clock.now())
    await house.relay.store.advance_jobs(await house.relay.announcer.endings([ended], {}))
    late = {**same, "callback": {"url": "http://127.0.0.1:9/hook"}}
    view = told(await house.api.post("/v1/jobs", json=late))
    assert view["callback"] is None
    assert ["callback" in warning for warning in view["warnings"]] == [True]
    assert told(await house.api.get(f"/v1/jobs/{first['id']}"))["warnings"] == []


async def test_a_batch_answers_each_item_in_order(house: House) -> None:
    await house.add_credential()
    existing = await house.add_job("old")
    good = {"provider": "camb", "provider_job_id": "new"}
    items = [
        good,
        {"provider": "camb"},
        {"provider": "camb", "provider_job_id": "old"},
        "not an object",
        {"provider": "nobody", "provider_job_id": "a", "metadata": {"a": []}},
        good,
        {"provider": "camb", "provider_job_id": "b", "callback": {"url": "http://192.168.0.1/"}},
    ]
    data = told(await house.api.post("/v1/jobs/batch", json={"jobs": items}))["data"]
    assert [item["status"] for item in data] == [201, 422, 200, 422, 422, 200, 422]
    assert data[2]["job"]["id"] == existing["id"]
    assert data[0]["job"]["id"] == data[5]["job"]["id"]
    assert faults(data[1]["problem"]) == {"/provider_job_id": "missing"}
    assert faults(data[3]["problem"]) == {"": "invalid_type"}
    assert faults(data[4]["problem"]) == {"/metadata/a": "invalid_type", "/provider": "unknown_provider"}
    assert faults(data[6]["problem"]) == {"/callback/url": "url_refused"}
    assert all("problem" not in item for item in (data[0], data[2], data[5]))


async def test_an_item_that_no_reader_can_use_harms_no_other(house: House) -> None:
    await house.add_credential()
    job = {"provider": "camb", "provider_job_id": "c-1"}
    texts = [json.dumps(job), json.dumps({**job, "metadata": {"text": "a\0b"}}), '{"provider": 12345678901234567890}']
    body = '{"jobs": [' + ", ".join(texts) + "]}"
    response = await house.api.post("/v1/jobs/batch", content=body, headers={"content-type": "application/json"})
    good, text, number = told(response)["data"]
    assert (good["status"], good["job"]["provider_job_id"]) == (201, "c-1")
    assert (text["status"], faults(text["problem"])) == (422, {"/metadata/text": "malformed"})
    assert (number["status"], faults(number["problem"])) == (422, {"/provider": "malformed"})
    assert len(told(await house.api.get("/v1/jobs"))["data"]) == 1


async def test_a_batch_holds_up_to_a_thousand(house: House) -> None:
    await house.add_credential()
    jobs = [{"provider": "camb", "provider_job_id": f"c-{number}"} for number in range(1000)]
    data = told(await house.api.post("/v1/jobs/batch", json={"jobs": jobs}))["data"]
    assert [item["job"]["provider_job_id"] for item in data] == [job["provider_job_id"] for job in jobs]
    problem = refused(await house.api.post("/v1/jobs/batch", json={"jobs": [*jobs, jobs[0]]}), 422)
    assert faults(problem) == {"/jobs": "too_long"}
    assert faults(refused(await house.api.post("/v1/jobs/batch", json={"jobs": []}), 422)) == {"/jobs": "too_short"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["c", "b", "a"]),
        ("provider=camb", ["c", "b", "a"]),
        ("provider=vocu", []),
        ("provider_job_id=b", ["b"]),
        ("status=pending", ["c", "a"]),
        ("status=cancelled", ["b"]),
        ("credential=main", ["c", "b", "a"]),
        ("credential=nobody", []),
        ("credential=crd_00000000000000000000000000", []),
        ("metadata.team=red", ["b", "a"]),
        ("metadata.team=red&metadata.size=3", ["b"]),
        ("metadata.team=green", []),
        ("metadata.urgent=true", ["c"]),
    ],
)
async def test_jobs_are_filtered(house: House, query: str, expected: list[str]) -> None:
    await house.add_credential()
    await house.add_job("a", metadata={"team": "red"})
    cancelled = await house.add_job("b", metadata={"team": "red", "size": 3})
    await house.add_job("c", metadata={"urgent": True})
    await house.api.delete(f"/v1/jobs/{cancelled['id']}")
    listed = told(await house.api.get(f"/v1/jobs?{query}"))["data"]
    assert [job["provider_job_id"] for job in listed] == expected


async def test_a_name_that_credentials_of_two_providers_share_asks_for_the_provider(house: House) -> None:
    await house.add_credential()
    await house.add_credential(provider="vocu")
    await house.add_job("a", credential="main")
    problem = refused(await house.api.get("/v1/jobs?credential=main"), 400)
    assert faults(problem) == {"?credential": "ambiguous"}
    listed = told(await house.api.get("/v1/jobs?credential=main&provider=camb"))["data"]
    assert len(listed) == 1


async def test_a_cancelled_job_is_no_longer_watched_and_an_ended_one_stays_as_it_is(house: House) -> None:
    await house.add_credential()
    job = await house.add_job()
    cancelled = told(await house.api.delete(f"/v1/jobs/{job['id']}"))
    assert cancelled["status"] == "cancelled"
    assert cancelled["next_poll_at"] is None
    assert told(await house.api.delete(f"/v1/jobs/{job['id']}"))["status"] == "cancelled"
    assert (await house.relay.polls.counts()).due == 0
    assert told(await house.api.get("/v1/events"))["data"] == []
    assert (await house.add_job())["id"] != job["id"]


async def test_a_refreshed_job_is_due_now(house: House) -> None:
    credential = await house.add_credential()
    job = await house.add_job()
    await house.relay.polls.put([Item(credential["id"], job["id"], delay_ms=60_000)], sooner=False)
    (wait_ms,) = await house.relay.polls.due_in_ms(credential["id"], [job["id"]])
    assert wait_ms is not None
    assert wait_ms > 50_000
    response = await house.api.post(f"/v1/jobs/{job['id']}/refresh")
    assert told(response, 202)["id"] == job["id"]
    assert (await house.relay.polls.due_in_ms(credential["id"], [job["id"]]))[0] == 0


async def test_a_pending_job_shows_what_its_looks_saw(house: House) -> None:
    credential = await house.add_credential()
    job = await house.add_job()
    memo = '{"polls":3,"provider_status":"PENDING","first_looked_ms":1767323045678,"last_looked_ms":1767323055678}'
    await house.relay.polls.put([Item(credential["id"], job["id"], delay_ms=60_000, memo=memo)], sooner=False)
    shown = told(await house.api.get(f"/v1/jobs/{job['id']}"))
    assert (shown["polls"], shown["provider_status"]) == (3, "PENDING")
    assert shown["started_at"] == "2026-01-02T03:04:05.678Z"
    timeline = told(await house.api.get(f"/v1/jobs/{job['id']}/timeline"))["data"]
    (polls,) = [entry for entry in timeline if entry["type"] == "polls"]
    assert (polls["count"], polls["gaps"]) == (3, {"count": 2, "mean_seconds": 5.0})
    assert (polls["first_at"], polls["last_at"]) == ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:15.678Z")


async def test_a_job_says_why_it_is_not_looked_at(house: House) -> None:
    credential = await house.add_credential()
    job = await house.add_job()
    assert job["paused_reason"] is None
    store, now = house.relay.store, house.relay.clock.now()
    await store.mark_credential(
        credential["id"],
        CredentialStatus.AUTH_FAILED,
        "401 from the provider",
        None,
        now,
        only_from=[CredentialStatus.ACTIVE],
    )
    shown = told(await house.api.get(f"/v1/jobs/{job['id']}"))
    assert shown["paused_reason"] == "auth_failed: 401 from the provider"


async def test_jobs_are_shown_and_taken_while_redis_is_away(database_url: str) -> None:
    async with opened(database_url, NOWHERE) as house:
        await house.add_credential()
        job = await house.add_job()
        assert job["next_poll_at"] is None
        assert told(await house.api.get(f"/v1/jobs/{job['id']}"))["next_poll_at"] is None
        assert len(told(await house.api.get("/v1/jobs"))["data"]) == 1
        problem = refused(await house.api.post(f"/v1/jobs/{job['id']}/refresh"), 503, "unavailable")
        assert "nowhere" not in str(problem)
        assert told(await house.api.delete(f"/v1/jobs/{job['id']}"))["status"] == "cancelled"


async def test_many_posts_at_once_of_the_same_job_make_one(house: House) -> None:
    await house.add_credential()
    body = {"provider": "camb", "provider_job_id": "same"}
    responses = await asyncio.gather(*(house.api.post("/v1/jobs", json=body) for _ in range(20)))
    assert sorted(response.status_code for response in responses) == [200] * 19 + [201]
    assert len({response.json()["id"] for response in responses}) == 1


async def test_who_asks_for_a_callback_is_told_the_secret_that_signs_it(house: House) -> None:
    await house.add_credential()
    callback = {"url": "http://127.0.0.1:9/once"}
    job = await house.add_job("with-callback", callback=callback)
    assert job["callback"]["secret"].startswith("whsec_")
    assert job["callback"]["url"] == callback["url"]
    shown = told(await house.api.get(f"/v1/subscriptions/{job['callback']['subscription']}"))
    assert shown["job"] == job["id"]
    assert (await house.add_job("without"))["callback"] is None
    batch = told(
        await house.api.post(
            "/v1/jobs/batch",
            json={
                "jobs": [
                    {"provider": "camb", "provider_job_id": "one-of-many", "callback": callback},
                ]
            },
        )
    )
    assert batch["data"][0]["job"]["callback"]["secret"] != job["callback"]["secret"]


async def test_a_cancelled_job_keeps_what_was_seen_of_it(house: House) -> None:
    credential = await house.add_credential()
    job = await house.add_job()
    memo = Memo(polls=3, provider_status="PENDING", first_looked_ms=1_767_225_600_000)
    await house.relay.polls.shift([Item(credential["id"], job["id"], 60_000, memo.dump())])
    cancelled = told(await house.api.delete(f"/v1/jobs/{job['id']}"))
    assert (cancelled["polls"], cancelled["provider_status"]) == (3, "PENDING")
    assert cancelled["started_at"] == "2026-01-01T00:00:00.000Z"
    life = told(await house.api.get(f"/v1/jobs/{job['id']}/timeline"))["data"]
    assert [one["type"] for one in life] == ["polls", "registered", "ended"]
