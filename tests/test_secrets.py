"""What was told to the relay in confidence is in no log, no list, no error and nowhere at rest in clear."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.hosts import API_KEY, Host, hosting, made
from tests.provider_stub import CREDENTIALS, Providers, camb, hex_id, huawei, stub, vocu
from tests.receivers import Call, Receiver, Wire, closed_port
from tests.trips import SECRET, until, verified

SECRET_KEY = "the-secret-key-of-this-very-host"
HEADER_VALUE = "a-header-value-told-in-confidence"
URL_TOKEN = "a-token-in-the-query-of-a-url"
OF_OURS = re.compile(r"(whsec|whsk)_[A-Za-z0-9+/=]")
OLD_KEY, NEW_KEY = "the-encryption-key-of-last-year", "the-encryption-key-of-this-year"


def in_confidence() -> dict[str, str]:
    """Each secret that the test tells the relay, by what it is."""
    provider_secrets = {
        f"{provider} {name}": value
        for provider, told in CREDENTIALS.items()
        for name, value in told["secrets"].items()
        if name != "user_id"
    }
    return {
        "API key": API_KEY,
        "secret key": SECRET_KEY,
        "signing secret": SECRET.removeprefix("whsec_"),
        "header": HEADER_VALUE,
        "token in a URL": URL_TOKEN,
        **provider_secrets,
    }


async def unkind(call: Call, wire: Wire) -> None:
    """Breaks, and repeats what it was told."""
    await wire.respond(500, {"x-echo": call.header("x-own") or ""}, json.dumps(dict(call.headers)).encode())


async def furnished(client: httpx.AsyncClient, base_url: str, url: str) -> list[dict[str, Any]]:
    """Credentials of every provider, and subscriptions that a receiver and nobody at all stand behind."""
    for provider, told in CREDENTIALS.items():
        await made(client, "/v1/credentials", {"name": "main", "provider": provider, "base_url": base_url, **told})
    with closed_port() as port:
        return [
            await made(
                client,
                "/v1/subscriptions",
                {
                    "url": f"{one}?token={URL_TOKEN}",
                    "headers": {"x-own": HEADER_VALUE, "authorization": f"Bearer {HEADER_VALUE}"},
                    "secret": SECRET,
                    "signatures": ["v1", "v1a"],
                },
            )
            for one in (url, f"http://127.0.0.1:{port}/hook")
        ]


async def refusals(client: httpx.AsyncClient, subscription: dict[str, Any]) -> list[str]:
    """The texts of errors about requests that hold secrets."""
    asked = [
        ("POST", "/v1/credentials", {"provider": "camb", "secrets": {"api_key": 7, "other": CREDENTIALS["camb"]}}),
        ("POST", "/v1/credentials", {"name": "main", "provider": "camb", **CREDENTIALS["camb"]}),
        ("POST", "/v1/credentials", {"name": "x", "provider": "nobody", "secrets": CREDENTIALS["vocu"]["secrets"]}),
        (
            "POST",
            "/v1/subscriptions",
            {"url": "ftp://x", "secret": SECRET + "=", "headers": {"x": f"{HEADER_VALUE}\n"}},
        ),
        ("PATCH", f"/v1/subscriptions/{subscription['id']}", {"headers": {"host": HEADER_VALUE}}),
        ("POST", f"/v1/subscriptions/{subscription['id']}/secret/rotation", {"secret": SECRET[:-1]}),
    ]
    answers = [await client.request(method, path, json=body) for method, path, body in asked]
    assert all(400 <= one.status_code < 500 for one in answers), [one.text for one in answers]
    wrong = await client.get("/v1/jobs", headers={"authorization": f"Bearer {HEADER_VALUE}"})
    assert wrong.status_code == 401
    return [one.text for one in (*answers, wrong)]


async def shown(client: httpx.AsyncClient) -> list[str]:
    """Every list and every object in it."""
    texts = []
    for noun in ("jobs", "subscriptions", "events", "deliveries", "credentials", "keys"):
        page = await client.get(f"/v1/{noun}", params={"limit": 200})
        texts.append(page.text)
        if noun != "keys":
            texts += [(await client.get(f"/v1/{noun}/{one['id']}")).text for one in page.json()["data"]]
    return texts


async def test_nothing_that_was_told_in_confidence_is_in_logs_lists_errors_or_the_database(
    tmp_path: Path, redis_url: str
) -> None:
    database_url = f"sqlite:///{tmp_path}/relay.db"
    scripts = {"c-1": [camb("TIMEOUT")], hex_id(1): [(401, {"error": "bad token"})], "v": [vocu("pending")]}
    more = {"RELAY_SECRET_KEY": SECRET_KEY, "LOG_LEVEL": "debug", "RELAY_RETRY_SCHEDULE": "0.2"}
    async with (
        stub(Providers(scripts)) as server,
        Receiver(unkind) as inbox,
        hosting(tmp_path, database_url, redis_url, more=more) as host,
        host.client() as client,
    ):
        subscriptions = await furnished(client, server.url(""), inbox.url("/hook"))
        key = (await made(client, "/v1/keys", {"name": "second"}))["key"]
        for provider, job_id in (("camb", "c-1"), ("huawei_metastudio", hex_id(1)), ("vocu", "0" * 36)):
            await client.post("/v1/jobs", json={"provider": provider, "provider_job_id": job_id})
        for one in subscriptions:
            await made(client, f"/v1/subscriptions/{one['id']}/test", {}, 202)
            await made(client, f"/v1/subscriptions/{one['id']}/probe", {}, 200)
        texts = await refusals(client, subscriptions[0])
        await until(lambda: is_exhausted(client))
        rotated = await made(client, f"/v1/subscriptions/{subscriptions[0]['id']}/secret/rotation", {})
        texts += await shown(client)
        for name in ("web", "worker0"):
            await asyncio.to_thread(host.stop, name)
        logs = host.log("web") + host.log("worker0")
    assert len(logs) > 2000
    assert verified(inbox.calls[0])
    secrets = {**in_confidence(), "made key": key, "new secret": rotated["secret"].removeprefix("whsec_")}
    assert {name for name, secret in secrets.items() if secret in logs} == set()
    assert not OF_OURS.search(logs)
    of_urls = {"token in a URL"}  # its owner must see where calls go
    assert {name for name, secret in secrets.items() if secret in "".join(texts)} <= of_urls
    assert not OF_OURS.search("".join(texts))
    with closing(sqlite3.connect(tmp_path / "relay.db")) as plain:
        rows = "\n".join(plain.iterdump())
    assert {name for name, secret in secrets.items() if secret in rows} <= of_urls
    assert not OF_OURS.search(rows)


async def is_exhausted(client: httpx.AsyncClient) -> bool:
    """Whether every delivery has been given up."""
    page = (await client.get("/v1/deliveries")).json()["data"]
    return len(page) >= 3 and all(one["status"] == "exhausted" for one in page)


async def restarted(host: Host, keys: str) -> None:
    """The same host under other keys."""
    for name in ("web", "worker0"):
        await asyncio.to_thread(host.stop, name)
    host.environment["RELAY_SECRET_KEY"] = keys
    host.start("web", "web")
    host.start("worker0", "worker")
    await until(host.is_up)


async def test_the_key_of_the_encryption_is_replaced_while_the_relay_runs(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async def kind(_: Call, wire: Wire) -> None:
        await wire.respond(204)

    scripts = {hex_id(1): [huawei("SUCCEED", audio_file_url="https://x.example/a")]}
    async with (
        stub(Providers(scripts)) as server,
        Receiver(kind) as inbox,
        hosting(tmp_path, database_url, redis_url, more={"RELAY_SECRET_KEY": OLD_KEY}) as host,
        host.client() as client,
    ):
        body = {"name": "main", "provider": "huawei_metastudio", "base_url": server.url("")}
        await made(client, "/v1/credentials", {**body, **CREDENTIALS["huawei_metastudio"]})
        body = {"url": inbox.url(), "headers": {"x-own": HEADER_VALUE}, "signatures": ["v1", "v1a"], "secret": SECRET}
        subscription = await made(client, "/v1/subscriptions", body)
        keyed = {"Idempotency-Key": "once"}
        first = await client.post("/v1/keys", json={"name": "a"}, headers=keyed)
        await restarted(host, f"{NEW_KEY},{OLD_KEY}")
        told = await asyncio.to_thread(host.run, "keys", "rotate-encryption")
        assert told.returncode == 0, told.stderr
        assert "credentials: all 1, of which 1 were under an older key" in told.stdout
        assert "subscriptions: all 1, of which 1" in told.stdout
        assert "every secret in the database is under the newest key" in told.stdout
        assert NEW_KEY not in told.stdout + told.stderr
        await restarted(host, NEW_KEY)
        again = await client.post("/v1/keys", json={"name": "a"}, headers=keyed)
        assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
        await made(client, "/v1/jobs", {"provider": "huawei_metastudio", "provider_job_id": hex_id(1)})
        (call,) = await inbox.heard(1, 30)
        assert verified(call)["type"] == "job.completed"
        assert call.header("x-own") == HEADER_VALUE
        assert " v1a," in (call.header("webhook-signature") or "")
        shown_secret = (await client.get(f"/v1/subscriptions/{subscription['id']}/secret")).json()["secret"]
        assert shown_secret == SECRET
        host.environment["RELAY_SECRET_KEY"] = "a key that never was in use"
        lost = await asyncio.to_thread(host.run, "keys", "rotate-encryption")
        assert lost.returncode == 1
        assert f"not opened: subscriptions {subscription['id']}" in lost.stdout
        assert "Traceback" not in lost.stderr
