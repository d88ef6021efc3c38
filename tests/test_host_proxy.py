"""A relay whose only way out is the operator's forward proxy: nothing that it sends takes another way."""

import json
from pathlib import Path

from tests.hosts import hosting, made
from tests.provider_stub import CREDENTIALS, Providers, fish, stub
from tests.receivers import Authority, Call, ForwardProxy, Receiver, Wire, answering
from tests.trips import until, verified


async def agreeable(call: Call, wire: Wire) -> None:
    """Agrees to the handshake and to everything else."""
    await wire.respond(200, {"WebHook-Allowed-Origin": "*"} if call.method == "OPTIONS" else {})


async def test_every_way_out_leads_through_the_proxy(tmp_path: Path, redis_url: str) -> None:
    authority = Authority(tmp_path)
    scripts = {"task_1": [fish("completed", audioUrl="https://x.example/a")]}
    async with (
        stub(Providers(scripts)) as provider,
        Receiver(agreeable, authority.server_context("receiver.example")) as inbox,
        Receiver(answering(502)) as environments_own,
        ForwardProxy() as proxy,
    ):
        more = {
            "RELAY_EGRESS_PROXY": proxy.url.replace("//", "//user:a-word-for-the-proxy@"),
            "RELAY_EGRESS_ALLOW": "",
            "SSL_CERT_FILE": authority.ca_file,
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"), environments_own.url()),
        }
        database_url = f"sqlite:///{tmp_path}/relay.db"
        async with hosting(tmp_path, database_url, redis_url, more=more) as host, host.client() as client:
            base_url = provider.url("", host="provider.example")
            body = {"name": "main", "provider": "fishspeech", "base_url": base_url, **CREDENTIALS["fishspeech"]}
            await made(client, "/v1/credentials", body)
            url = inbox.url("/hook", host="receiver.example")
            subscription = await made(client, "/v1/subscriptions", {"url": url, "handshake": True})
            await made(client, "/v1/jobs", {"provider": "fishspeech", "provider_job_id": "task_1"})
            await until(lambda: len(inbox.calls) >= 2, 60)
            report = await made(client, f"/v1/subscriptions/{subscription['id']}/probe", {}, 200)
            logs = host.log("web") + host.log("worker0")
    assert verified(inbox.calls[1], subscription["secret"])["type"] == "job.completed"
    assert json.dumps(report).count('"passed"') >= 4
    assert report["certificate_expires_at"] is not None
    assert environments_own.connections == 0
    asked = {(call.method, call.target.split("/")[2] if "://" in call.target else call.target) for call in proxy.calls}
    assert asked == {("GET", f"provider.example:{provider.port}"), ("CONNECT", f"receiver.example:{inbox.port}")}
    assert {call.header("proxy-authorization") for call in proxy.calls} != {None}
    assert all(call.header("proxy-authorization") is None for call in inbox.calls)
    assert "a-word-for-the-proxy" not in logs
