"""Submitting and result links from outside: processes that die, several that serve, and a provider that counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from tests.hosts import API_KEY, Host, free_port, hosting, made
from tests.provider_stub import CREDENTIALS, Providers, fish, minted, stub
from tests.receivers import Call, Receiver, Wire, answering, slow
from tests.trips import until

BODY = {"provider": "fishspeech", "submit": {"text": "hello", "voiceId": "v"}}
KEY = {"idempotency-key": "order-1"}


async def sign_in(client: httpx.AsyncClient, base_url: str) -> None:
    body = {"name": "main", "provider": "fishspeech", "base_url": base_url, **CREDENTIALS["fishspeech"]}
    await made(client, "/v1/credentials", body)


async def ended(client: httpx.AsyncClient, job_id: str) -> dict[str, Any] | None:
    job: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
    return job if job["status"] == "completed" else None


@asynccontextmanager
async def second_web(host: Host) -> AsyncIterator[str]:
    """Another web process of that host, on a port of its own; its URL."""
    port = free_port()
    other = replace(host, port=port, environment={**host.environment, "PORT": str(port)}, processes={})
    other.start("web2", "web")
    try:
        await until(other.is_up)
        yield other.url
    finally:
        other.kill("web2")


async def test_a_submitted_job_ends_in_a_link_that_is_minted_when_it_is_followed(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    providers = Providers({"task_1": [lambda: fish("completed", audioUrl=minted("a.mp3", 5))]})
    async with (
        stub(providers) as server,
        Receiver(answering(200)) as inbox,
        hosting(tmp_path, database_url, redis_url) as host,
        host.client() as client,
        httpx.AsyncClient(base_url=host.url, trust_env=False) as anybody,
    ):
        await sign_in(client, server.url(""))
        await made(client, "/v1/subscriptions", {"url": inbox.url()})
        job_id = (await made(client, "/v1/jobs", BODY))["id"]
        job = await until(lambda: ended(client, job_id))
        (call,) = await inbox.heard(1, 20)
        body = call.body
        assert len(providers.creates) == 1
        path = "/r/" + job["result_url"].rpartition("/")[2]
        stored = job["result"]["files"][0]["url"]
        first = (await anybody.get(path)).headers["location"]
        assert first != stored
        looks = len(providers.looks)

        async def is_renewed() -> bool:
            return (await anybody.head(path)).headers["location"] not in (stored, first)

        await until(is_renewed, 20)
        assert len(providers.looks) == looks + 1
        assert inbox.calls[0].body == body
        await client.delete(f"/v1/jobs/{job_id}")
        assert (await anybody.get(path)).status_code == 410


async def test_two_web_processes_ask_the_provider_once_for_many_who_follow_a_link_together(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    providers = Providers({"t": [fish("completed", audioUrl="https://files.example/a")]})
    async with (
        stub(providers) as server,
        hosting(tmp_path, database_url, redis_url) as host,
        second_web(host) as other_url,
        host.client() as client,
        httpx.AsyncClient(headers={"authorization": f"Bearer {API_KEY}"}, timeout=20, trust_env=False) as crowd,
    ):
        await sign_in(client, server.url(""))
        job_id = (await made(client, "/v1/jobs", {"provider": "fishspeech", "provider_job_id": "t"}))["id"]
        await until(lambda: ended(client, job_id))
        looks = len(providers.looks)
        body = b'{"status": "completed", "audioUrl": "https://files.example/b"}'
        providers.on_look = slow(0.5, answering(200, {}, body))
        urls = [f"{base}/v1/jobs/{job_id}/result" for base in (host.url, other_url)] * 20
        answers = await asyncio.gather(*(crowd.get(url) for url in urls))
        assert {answer.status_code for answer in answers} == {302}, {answer.text for answer in answers}
        assert {answer.headers["location"] for answer in answers} == {"https://files.example/b"}
        assert len(providers.looks) == looks + 1


async def test_a_web_process_that_is_killed_while_the_provider_makes_a_job_never_makes_a_second(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    arrived = asyncio.Event()

    async def silent(call: Call, wire: Wire) -> None:
        arrived.set()
        await wire.reader.read()

    providers = Providers(on_create=[silent])
    async with (
        stub(providers) as server,
        hosting(tmp_path, database_url, redis_url) as host,
        host.client() as client,
    ):
        await sign_in(client, server.url(""))
        call = asyncio.create_task(client.post("/v1/jobs", json=BODY, headers=KEY))
        await asyncio.wait_for(arrived.wait(), 20)
        assert (await client.post("/v1/jobs", json=BODY, headers=KEY)).status_code == 409
        host.kill("web")
        await asyncio.gather(call, return_exceptions=True)
        host.start("web", "web")
        await until(host.is_up)

        async def told() -> httpx.Response | None:
            answer = await client.post("/v1/jobs", json=BODY, headers=KEY)
            assert answer.status_code in (202, 409), answer.text
            return answer if answer.status_code == 202 else None

        job = (await until(told, 20)).json()
        assert (job["status"], job["provider_job_id"]) == ("submitting", None)
        assert job["warnings"]
        again = await client.post("/v1/jobs", json=BODY, headers=KEY)
        assert (again.status_code, again.json()) == (202, job)
        assert len(providers.creates) == 1
        assert (await client.delete(f"/v1/jobs/{job['id']}")).json()["status"] == "cancelled"
        assert (await made(client, "/v1/jobs", BODY))["provider_job_id"] == "task_1"
