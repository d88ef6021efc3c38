"""The synchronous client and a relay on a host, from the credential to the verified call."""

import asyncio
from pathlib import Path

from relay.client import Client, verify
from tests.hosts import API_KEY, Host, hosting
from tests.provider_stub import CREDENTIALS, Providers, camb, stub
from tests.receivers import Receiver, answering


def story(host: Host, provider_url: str, inbox_url: str) -> tuple[str, str, str]:
    """What a program does with it; the job, the event, and the secret."""
    with Client(host.url, API_KEY, trust_env=False) as relay:
        relay.credentials.create("main", "camb", CREDENTIALS["camb"]["secrets"], base_url=provider_url)
        secret = relay.subscriptions.create(inbox_url)["secret"]
        job = relay.jobs.create(provider="camb", provider_job_id="x", metadata={"order": "42"})
        ended = relay.jobs.wait_for(job["id"], timeout_seconds=30)
        assert ended["status"] == "completed"
        assert ended["result"] is not None
        event = next(relay.events.feed("start"))
        assert [one["id"] for one in relay.jobs.list(status="completed")] == [job["id"]]
        assert [one["event"] for one in relay.deliveries.list(job=job["id"])] == [event["id"]]
        assert relay.jobs.result_url(job["id"]).startswith("http")
        return job["id"], event["id"], secret


async def test_a_program_without_an_event_loop_makes_the_whole_trip(tmp_path: Path, redis_url: str) -> None:
    async with (
        stub(Providers({"x": [camb("SUCCESS", run_id=1)]})) as server,
        Receiver(answering(204)) as inbox,
        hosting(tmp_path, f"sqlite:///{tmp_path}/relay.db", redis_url) as host,
    ):
        job_id, event_id, secret = await asyncio.to_thread(story, host, server.url(""), inbox.url("/hook"))
        (call,) = await inbox.heard(1, 20)
    event = verify(secret, dict(call.headers), call.body)
    assert (event["id"], event["data"]["id"]) == (event_id, job_id)
