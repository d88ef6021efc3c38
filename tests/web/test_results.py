"""Tests of the result links as HTTP: redirects, tokens, and every way in which there is none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from relay.domain.job import JobStatus
from relay.domain.observation import File, Result
from relay.store import Ending
from tests.provider_stub import CREDENTIALS, Providers, fish, minted, stub
from tests.web.house import House, opened, refused, told

AUDIO, SRT = "https://files.example/a.mp3?sign=a%2Bb;c~d", "https://files.example/a.srt"


@dataclass(frozen=True)
class Ended:
    """A completed job of the test's tenant; `path` is its public link's."""

    id: str
    path: str


@asynccontextmanager
async def watching(
    database_url: str, redis_url: str, providers: Providers, *urls: str, lives_seconds: float | None = 3600
) -> AsyncIterator[tuple[House, Ended]]:
    """An application with a job that has completed with links of that life."""
    async with opened(database_url, redis_url) as house, stub(providers) as server:
        await house.add_credential("fishspeech", **CREDENTIALS["fishspeech"], base_url=server.url(""))
        job = await house.add_job("t", provider="fishspeech")
        yield house, await complete(house, job["id"], urls or (AUDIO, SRT), lives_seconds)


async def complete(house: House, job_id: str, urls: tuple[str, ...], lives_seconds: float | None) -> Ended:
    store, now = house.relay.store, house.relay.clock.now()
    (job,) = (await store.load_jobs([job_id])).values()
    end = None if lives_seconds is None else now + timedelta(seconds=lives_seconds)
    result = Result(tuple(File("audio", url, end) for url in urls)).to_json()
    await store.advance_jobs([Ending(replace(job, status=JobStatus.COMPLETED, completed_at=now, result=result))])
    shown = told(await house.api.get(f"/v1/jobs/{job_id}"))
    base, _, path = shown["result_url"].partition("/r/")
    assert base == "http://relay.example"
    return Ended(job_id, f"/r/{path}")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_both_links_lead_to_the_file_and_may_be_kept_by_nobody(
    method: str, database_url: str, redis_url: str
) -> None:
    async with watching(database_url, redis_url, Providers()) as (house, job), house.client(None) as anybody:
        for client, path in ((house.api, f"/v1/jobs/{job.id}/result"), (anybody, job.path)):
            for query, url in (("", AUDIO), ("?file=0", AUDIO), ("?file=1", SRT)):
                response = await client.request(method, path + query)
                assert response.status_code == 302, response.text
                assert response.headers["location"] == url
                assert response.headers["cache-control"] == "no-store"
                assert response.headers["referrer-policy"] == "no-referrer"
                assert response.content == b""


async def test_a_link_that_has_died_is_replaced_and_the_event_stays_as_it_was(
    database_url: str, redis_url: str
) -> None:
    providers = Providers({"t": [lambda: fish("completed", audioUrl=minted("b.mp3", 600))]})
    async with watching(database_url, redis_url, providers, lives_seconds=10) as (house, job):
        location = (await house.api.get(f"/v1/jobs/{job.id}/result")).headers["location"]
        assert "b.mp3" in location
        assert (await house.client(None).get(job.path)).headers["location"] == location
        shown = told(await house.api.get(f"/v1/jobs/{job.id}"))
        assert [one["url"] for one in shown["result"]["files"]] == [location]
        assert len(providers.looks) == 1


async def test_a_link_with_letters_that_no_header_holds_is_written_so_that_it_does(
    database_url: str, redis_url: str
) -> None:
    async with watching(database_url, redis_url, Providers(), "https://files.example/日本.mp3?a=ü") as (house, job):
        location = (await house.api.get(f"/v1/jobs/{job.id}/result")).headers["location"]
        assert location == "https://files.example/%E6%97%A5%E6%9C%AC.mp3?a=%C3%BC"


async def test_a_job_that_is_not_there_or_another_tenants_is_404(database_url: str, redis_url: str) -> None:
    async with watching(database_url, redis_url, Providers()) as (house, job):
        refused(await house.api.get("/v1/jobs/job_00000000000000000000000000/result"), 404, "not_found")
        refused(await house.api.get("/v1/jobs/nonsense/result"), 404, "not_found")
        refused(await house.api.get(f"/v1/jobs/{job.id}/result?file=2"), 404, "not_found")
        async with house.client(await house.new_key(tenant="other")) as other:
            refused(await other.get(f"/v1/jobs/{job.id}/result"), 404, "not_found")


async def test_a_token_that_was_not_given_out_here_is_404(database_url: str, redis_url: str) -> None:
    async with watching(database_url, redis_url, Providers()) as (house, job), house.client(None) as anybody:
        cursor = house.relay.tokens.for_cursor(job.id)
        absent = house.relay.tokens.for_result("job_00000000000000000000000000")
        for token in ("x", job.id, cursor, absent, job.path[3:-1], job.path[3:] + "x", "." * 3000):
            refused(await anybody.get(f"/r/{token}"), 404, "not_found")
        refused(await anybody.get(f"{job.path}?file=9"), 404, "not_found")


@pytest.mark.parametrize("query", ["file=-1", "file=one", "file=", "file=0&file=1"])
async def test_a_query_with_faults_is_400(query: str, database_url: str, redis_url: str) -> None:
    async with watching(database_url, redis_url, Providers()) as (house, job), house.client(None) as anybody:
        refused(await anybody.get(f"{job.path}?{query}"), 400, "invalid_request")
        refused(await house.api.get(f"/v1/jobs/{job.id}/result?{query}"), 400, "invalid_request")


async def test_a_public_link_bears_what_those_who_pass_it_on_add(database_url: str, redis_url: str) -> None:
    async with watching(database_url, redis_url, Providers()) as (house, job), house.client(None) as anybody:
        for query, url in (("utm_source=mail", AUDIO), ("file=1&utm_source=mail&utm_source=web", SRT)):
            response = await anybody.get(f"{job.path}?{query}")
            assert (response.status_code, response.headers["location"]) == (302, url)
        refused(await house.api.get(f"/v1/jobs/{job.id}/result?utm_source=mail"), 400, "invalid_request")


async def test_deleting_a_job_takes_its_public_link_back(database_url: str, redis_url: str) -> None:
    async with watching(database_url, redis_url, Providers()) as (house, job), house.client(None) as anybody:
        for _ in range(2):
            deleted = told(await house.api.delete(f"/v1/jobs/{job.id}"))
            assert (deleted["status"], deleted["result_url"]) == ("completed", None)
            refused(await anybody.get(job.path), 410, "link_revoked")
        assert (await house.api.get(f"/v1/jobs/{job.id}/result")).status_code == 302


async def test_a_job_without_a_result_is_409(database_url: str, redis_url: str) -> None:
    async with watching(database_url, redis_url, Providers()) as (house, _):
        pending = await house.add_job("p", provider="fishspeech")
        refused(await house.api.get(f"/v1/jobs/{pending['id']}/result"), 409, "result_not_ready")
        await house.api.delete(f"/v1/jobs/{pending['id']}")
        refused(await house.api.get(f"/v1/jobs/{pending['id']}/result"), 409, "no_result")


@pytest.mark.parametrize(
    ("said", "status", "code", "has_retry_after"),
    [
        ((404, {"code": "task_not_found", "message": "unknown task"}), 410, "result_gone", False),
        (fish("completed"), 410, "result_gone", False),
        (fish("completed", audioUrl="/a.mp3"), 502, "provider_refused", True),
        ((503, {"message": "busy"}, {"retry-after": "7"}), 503, "provider_unavailable", True),
        ((401, {"code": "unauthorized", "message": "the key of account 77 is wrong"}), 502, "provider_refused", True),
    ],
)
async def test_what_the_provider_does_not_give_is_told_the_tenant_in_full_and_others_in_part(
    said: Any, status: int, code: str, has_retry_after: bool, database_url: str, redis_url: str
) -> None:
    async with watching(database_url, redis_url, Providers({"t": [said]}), lives_seconds=None) as (house, job):
        response = await house.api.get(f"/v1/jobs/{job.id}/result")
        problem = refused(response, status, code)
        assert ("retry-after" in response.headers) == has_retry_after
        assert response.headers["cache-control"] == "no-store"
        async with house.client(None) as anybody:
            public = refused(await anybody.get(job.path), status, code)
        if status == 502:
            assert ("account 77" if said[0] == 401 else "/a.mp3") in problem["detail"]
        assert "account 77" not in public["detail"]
        assert "/a.mp3" not in public["detail"]
        assert problem["detail"].startswith(public["detail"])


async def test_a_result_whose_link_may_still_come_is_503(database_url: str, redis_url: str) -> None:
    providers = Providers({"t": [fish("completed")]})
    async with opened(database_url, redis_url) as house, stub(providers) as server:
        await house.add_credential("fishspeech", **CREDENTIALS["fishspeech"], base_url=server.url(""))
        job = await house.add_job("t", provider="fishspeech")
        ended = await complete(house, job["id"], (), None)
        for client, path in ((house.api, f"/v1/jobs/{ended.id}/result"), (house.client(None), ended.path)):
            response = await client.get(path)
            problem = refused(response, 503, "link_not_ready")
            assert "has not given a link to a file yet" in problem["detail"]
            assert int(response.headers["retry-after"]) > 0
