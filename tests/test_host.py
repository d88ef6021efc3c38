"""The relay from outside, as its users and operators have it: processes, HTTP, and nothing of its code."""

import asyncio
import json
from collections import defaultdict
from pathlib import Path

import httpx
import redis as plain_redis
from standardwebhooks import Webhook

from tests.hosts import Host, hosting, made
from tests.provider_stub import CASES, CREDENTIALS, Providers, camb, fish, hex_id, huawei, stub, uuid_id, vocu
from tests.receivers import Receiver, answering
from tests.trips import until


async def sign_in(client: httpx.AsyncClient, base_url: str, *providers: str) -> None:
    for provider in providers:
        limits = {"max_requests_per_second": 300, "max_concurrency": 60}
        body = {"name": "main", "provider": provider, "base_url": base_url, **limits, **CREDENTIALS[provider]}
        await made(client, "/v1/credentials", body)


async def delivered(client: httpx.AsyncClient, count: int) -> bool:
    total, cursor = 0, None
    while True:
        query = {"status": "succeeded", "limit": "200", **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/v1/deliveries", params=query)).json()
        total += len(page["data"])
        cursor = page["next_cursor"]
        if cursor is None:
            return total >= count


def events_by_job(inbox: Receiver, secret: str) -> dict[str, list[dict[str, object]]]:
    """What arrived for each job, every call verified by the official library."""
    told: dict[str, list[dict[str, object]]] = defaultdict(list)
    for call in inbox.calls:
        Webhook(secret).verify(call.body, dict(call.headers))
        event = json.loads(call.body)
        assert event["id"] == call.header("webhook-id")
        told[event["data"]["provider_job_id"]].append(event)
    return told


async def test_every_ending_arrives_as_the_contract_says(tmp_path: Path, database_url: str, redis_url: str) -> None:
    providers = Providers({case.provider_job_id: list(case.script) for case in CASES})
    async with (
        stub(providers) as server,
        Receiver(answering(200)) as inbox,
        hosting(tmp_path, database_url, redis_url) as host,
        host.client() as client,
    ):
        await sign_in(client, server.url(""), *CREDENTIALS)
        secret = (await made(client, "/v1/subscriptions", {"url": inbox.url("/hook")}))["secret"]
        for case in CASES:
            body = {"provider": case.provider, "provider_job_id": case.provider_job_id, "params": dict(case.params)}
            job = await made(client, "/v1/jobs", body)
            assert job["status"] == "pending"
            again = await made(client, "/v1/jobs", body, 200)
            assert again["id"] == job["id"]
        await inbox.heard(len(CASES), 60)
        await until(lambda: delivered(client, len(CASES)))
        told = events_by_job(inbox, secret)
        for case in CASES:
            (event,) = told[case.provider_job_id]
            data = event["data"]
            assert event["type"] == f"job.{case.status}", case.name
            assert [file["url"] for file in (data["result"] or {"files": []})["files"]] == list(case.urls), case.name
            assert (data["error"] or {}).get("code") == case.error_code, case.name
            shown = (await client.get(f"/v1/jobs/{data['id']}")).json()
            kept = {name: value for name, value in shown.items() if name in data}
            assert kept == data
        assert not providers.refused


async def test_two_workers_deliver_every_job_once(tmp_path: Path, database_url: str, redis_url: str) -> None:
    count = 500
    scripts = {}
    for number in range(count // 5):
        scripts[("huawei_metastudio", hex_id(number))] = [
            huawei("WAITING"),
            huawei("SUCCEED", audio_file_url="https://x.example/a"),
        ]
        scripts[("playai", uuid_id(number))] = [(200, {"output": {"status": "FAILED"}})]
        scripts[("fishspeech", f"task_{number}")] = [fish("queued"), fish("completed", audioUrl="https://x.example/b")]
        scripts[("camb", f"c-{number}")] = [camb("SUCCESS", run_id=number)]
        scripts[("vocu", uuid_id(1_000 + number))] = [vocu("pending"), vocu("generated", audio="https://x.example/c")]
    providers = Providers({job: list(script) for (_, job), script in scripts.items()})
    async with (
        stub(providers) as server,
        Receiver(answering(204)) as inbox,
        hosting(tmp_path, database_url, redis_url, workers=2) as host,
        host.client() as client,
    ):
        await sign_in(client, server.url(""), *CREDENTIALS)
        secret = (await made(client, "/v1/subscriptions", {"url": inbox.url("/hook")}))["secret"]
        jobs = [{"provider": provider, "provider_job_id": job} for provider, job in scripts]
        batch = await made(client, "/v1/jobs/batch", {"jobs": jobs}, 200)
        assert [item["status"] for item in batch["data"]] == [201] * count
        await until(lambda: delivered(client, count), 90)
        told = events_by_job(inbox, secret)
        assert len(told) == count
        assert all(len({event["id"] for event in events}) == 1 for events in told.values())


async def test_a_killed_worker_and_a_flushed_redis_lose_nothing(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    count = 200
    script = [fish("queued"), fish("processing"), fish("completed", audioUrl="https://x.example/a")]
    providers = Providers({f"task_{number}": list(script) for number in range(count)})
    async with (
        stub(providers) as server,
        Receiver(answering(200)) as inbox,
        hosting(tmp_path, database_url, redis_url) as host,
        host.client() as client,
    ):
        await sign_in(client, server.url(""), "fishspeech")
        secret = (await made(client, "/v1/subscriptions", {"url": inbox.url()}))["secret"]
        jobs = [{"provider": "fishspeech", "provider_job_id": f"task_{number}"} for number in range(count)]
        await made(client, "/v1/jobs/batch", {"jobs": jobs}, 200)
        await until(lambda: len(providers.looks) >= count // 2)
        host.kill("worker0")
        host.start("worker1", "worker")
        await until(lambda: len(inbox.calls) >= count // 4, 60)
        with plain_redis.Redis.from_url(redis_url) as server_of_times:
            server_of_times.flushall()
        host.kill("worker1")
        host.start("worker2", "worker")
        await until(lambda: delivered(client, count), 60)
        told = events_by_job(inbox, secret)
        assert len(told) == count
        assert all(len({event["id"] for event in events}) == 1 for events in told.values())


async def test_a_worker_that_is_told_to_stop_finishes_what_it_sends(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    """D20."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def thoughtful(call: object, wire: object) -> None:
        arrived.set()
        await go_on.wait()
        await wire.respond(200)  # type: ignore[attr-defined]  # a Wire

    async with (
        stub(Providers({"c": [camb("TIMEOUT")]})) as server,
        Receiver(thoughtful) as inbox,
        hosting(tmp_path, database_url, redis_url) as host,
        host.client() as client,
    ):
        await sign_in(client, server.url(""), "camb")
        await made(client, "/v1/subscriptions", {"url": inbox.url()})
        await made(client, "/v1/jobs", {"provider": "camb", "provider_job_id": "c"})
        await asyncio.wait_for(arrived.wait(), 20)
        worker = host.processes.pop("worker0")
        worker.terminate()
        await until(lambda: "worker_stopping" in host.log("worker0"))
        go_on.set()
        assert await asyncio.to_thread(worker.wait, 20) == 0, host.log("worker0")
        assert await delivered(client, 1)
        assert len(inbox.calls) == 1


async def faults(client: httpx.AsyncClient, path: str, body: object, status: int) -> set[str]:
    answer = await client.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "instance", "code", "request_id"} <= set(problem)
    return {fault["pointer"] for fault in problem["errors"]}


async def test_a_refused_registration_names_every_fault_and_writes_nothing(
    tmp_path: Path, redis_url: str, migrated_file: Path
) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    async with (
        hosting(tmp_path, url, redis_url, workers=0, more={"RELAY_EGRESS_ALLOW": ""}) as host,
        host.client() as client,
    ):
        body = {
            "provider": "nobody",
            "provider_job_id": "x",
            "callback": {"url": "http://169.254.169.254/latest"},
            "colour": "red",
            "deadline_seconds": -1,
        }
        assert await faults(client, "/v1/jobs", body, 422) >= {
            "/provider",
            "/callback/url",
            "/colour",
            "/deadline_seconds",
        }
        body = {"provider": "huawei_metastudio", "provider_job_id": "../../etc"}
        assert await faults(client, "/v1/jobs", body, 422) >= {"/provider_job_id", "/credential"}
        assert (await client.post("/v1/jobs", content=b"{not json")).status_code == 400
        assert (await client.post("/v1/jobs", content=b"x" * 2_000_000)).status_code == 413
        private = {"url": "https://10.0.0.1/hook"}
        assert await faults(client, "/v1/subscriptions", private, 422) == {"/url"}
        for path in ("/v1/jobs", "/v1/subscriptions", "/v1/credentials"):
            assert (await client.get(path)).json() == {"data": [], "next_cursor": None, "prev_cursor": None}


async def test_nothing_starts_without_its_secret_key_and_each_fault_is_told_at_once(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "DATABASE_URL": "mysql://x", "PORT": "many", "RELAY_RETRY_SCHEDULE": "a,b"}
    host = Host(tmp_path, environment, 0)
    for door in ("web", "worker"):
        told = await asyncio.to_thread(host.run, door)
        assert told.returncode != 0
        for name in ("RELAY_SECRET_KEY", "DATABASE_URL", "PORT", "RELAY_RETRY_SCHEDULE"):
            assert name in told.stderr
        assert "Traceback" not in told.stderr
