"""What the doctor says of a healthy relay, and of each part that is not."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import redis as plain_redis

from relay.clock import Clock
from relay.dev.doctor import SHOWN_MAX, Line, examine
from relay.domain.credential import CredentialStatus
from relay.domain.moments import rfc3339
from relay.settings import load
from relay.store import migrate
from tests.hosts import free_port
from tests.providers.made_up import ACME, ACME_SAMPLES, written
from tests.receivers import Receiver, answering
from tests.trips import living, make_credential, make_subscription, settings_for

A_KEY = settings_for("sqlite:///x", "redis://x").secret_keys[0]


async def lines_of(database_url: str, redis_url: str, tenant: str = "acme", **more: str) -> list[Line]:
    return [line async for line in examine(settings_for(database_url, redis_url, **more), tenant, Clock())]


def about(lines: list[Line], part: str) -> Line:
    return next(line for line in lines if line.part == part)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A database of the test's own, not migrated."""
    return f"sqlite:///{tmp_path}/relay.db"


@pytest.fixture
def providers(tmp_path: Path) -> str:
    """A folder with one more provider."""
    folder = tmp_path / "providers"
    folder.mkdir()
    written(folder, ACME, ACME_SAMPLES)
    return str(folder)


@pytest.mark.parametrize(
    ("status", "is_good", "said"),
    [
        (404, True, "signed in (a job that does not exist is not_found)"),
        (401, False, "with secrets that Acme takes"),
        (402, False, "settle the account at Acme"),
        (500, False, "check base_url"),
    ],
)
async def test_a_credential_is_tried_with_one_look(
    database_url: str, redis_url: str, providers: str, status: int, is_good: bool, said: str
) -> None:
    async with (
        Receiver(answering(status, body=json.dumps({"why": "because"}).encode())) as provider,
        living(database_url, redis_url, RELAY_PROVIDERS_DIR=providers) as relay,
    ):
        secrets = {"token": "a-secret-token"}
        await relay.store.add_credential(make_credential(relay, "acme", provider.url(""), secrets=secrets))
        lines = await lines_of(database_url, redis_url, RELAY_PROVIDERS_DIR=providers)
        looked = [call for call in provider.calls if "/jobs/" in call.target]
    line = about(lines, "credential")
    assert (line.is_good, len(looked)) == (is_good, 1)
    assert said in str(line)
    assert "a-secret-token" not in "\n".join(map(str, lines))
    assert about(lines, "egress").is_good
    assert all(one.is_good for one in lines if one.part not in ("credential",))


async def test_a_database_that_was_not_migrated_is_told_with_the_fix(database_url: str, redis_url: str) -> None:
    line = about(await lines_of(database_url, redis_url), "migrations")
    assert not line.is_good
    assert str(line).startswith("✗ migrations")
    assert "relay migrate" in line.fix


async def test_a_database_that_is_away_is_told(redis_url: str) -> None:
    url = f"postgresql://relay:hunter2@127.0.0.1:{free_port()}/relay"
    lines = await lines_of(url, redis_url)
    assert not about(lines, "database").is_good
    assert "DATABASE_URL" in about(lines, "database").fix
    assert "hunter2" not in "\n".join(map(str, lines))


async def test_a_redis_that_is_away_is_told(database_url: str) -> None:
    lines = await lines_of(database_url, f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    assert not about(lines, "redis").is_good
    assert "REDIS_URL" in about(lines, "redis").fix
    assert "hunter2" not in "\n".join(map(str, lines))


async def test_a_redis_that_evicts_is_told(database_url: str, redis_url: str) -> None:
    with plain_redis.Redis.from_url(redis_url) as client:
        before = client.config_get("maxmemory-policy")["maxmemory-policy"]
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            lines = await lines_of(database_url, redis_url)
        finally:
            client.config_set("maxmemory-policy", before)
    assert not about(lines, "redis memory").is_good
    assert "noeviction" in about(lines, "redis memory").fix


async def test_a_closed_way_out_is_told(database_url: str, redis_url: str) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    line = about(await lines_of(database_url, redis_url, RELAY_EGRESS_PROXY=proxy), "egress")
    assert not line.is_good
    assert "RELAY_EGRESS_PROXY" in line.fix


async def test_a_faulty_folder_of_definitions_is_told(database_url: str, redis_url: str, tmp_path: Path) -> None:
    lines = await lines_of(database_url, redis_url, RELAY_PROVIDERS_DIR=str(tmp_path / "nowhere"))
    assert not lines[-1].is_good
    assert "no such folder" in lines[-1].said


async def test_a_credential_of_a_provider_that_is_gone_is_told(
    database_url: str, redis_url: str, providers: str
) -> None:
    async with living(database_url, redis_url, RELAY_PROVIDERS_DIR=providers) as relay:
        await relay.store.add_credential(
            make_credential(relay, "acme", "http://127.0.0.1:9", secrets={"token": "t" * 9})
        )
    lines = await lines_of(database_url, redis_url)
    assert "RELAY_PROVIDERS_DIR" in about(lines, "credential").fix


@pytest.mark.parametrize(
    ("status", "reason", "fix"),
    [
        (CredentialStatus.AUTH_FAILED, "HTTP 401", "with secrets that Acme takes"),
        (CredentialStatus.PAYMENT_REQUIRED, None, "settle the account at Acme"),
        (CredentialStatus.UNREACHABLE, None, "with a base_url"),
    ],
)
async def test_a_paused_credential_is_told_and_not_tried(
    database_url: str, redis_url: str, providers: str, status: CredentialStatus, reason: str | None, fix: str
) -> None:
    async with (
        Receiver(answering(404)) as provider,
        living(database_url, redis_url, RELAY_PROVIDERS_DIR=providers) as relay,
    ):
        more = {"secrets": {"token": "t" * 9}, "status": status, "status_reason": reason}
        await relay.store.add_credential(make_credential(relay, "acme", provider.url(""), **more))
        line = about(await lines_of(database_url, redis_url, RELAY_PROVIDERS_DIR=providers), "credential")
        assert [call.target for call in provider.calls if "/jobs/" in call.target] == []
    assert not line.is_good
    assert f"{status}{f', {reason}' if reason else ''}; not tried" in line.said
    assert fix in line.fix


async def test_a_held_credential_is_told_and_not_tried(database_url: str, redis_url: str, providers: str) -> None:
    async with (
        Receiver(answering(404)) as provider,
        living(database_url, redis_url, RELAY_PROVIDERS_DIR=providers) as relay,
    ):
        until = relay.clock.now() + timedelta(hours=1)
        status = {"status": CredentialStatus.THROTTLED, "throttled_until": until}
        by_status, by_hold, over = (
            make_credential(relay, "acme", provider.url(""), secrets={"token": "t" * 9}, name=name, **more)
            for name, more in {
                "by-status": status,
                "by-hold": {},
                "over": {**status, "throttled_until": relay.clock.now() - timedelta(hours=1)},
            }.items()
        )
        for one in (by_status, by_hold, over):
            await relay.store.add_credential(one)
        await relay.polls.hold(by_hold.id, 3_600_000)
        lines = await lines_of(database_url, redis_url, RELAY_PROVIDERS_DIR=providers)
        looks = [call for call in provider.calls if "/jobs/" in call.target]
    told = {line.said.split(":")[0]: line for line in lines if line.part == "credential"}
    assert f"not tried, its provider or its budget holds it until {rfc3339(until)}" in told["acme/by-status"].said
    assert "not tried" in told["acme/by-hold"].said
    assert "signed in" in told["acme/over"].said
    assert len(looks) == 1
    assert all(line.is_good for line in told.values())


async def test_a_secret_key_that_opens_nothing_is_told_as_such(
    database_url: str, redis_url: str, providers: str
) -> None:
    async with (
        Receiver(answering(404)) as provider,
        living(database_url, redis_url, RELAY_PROVIDERS_DIR=providers) as relay,
    ):
        for number in range(SHOWN_MAX):
            one = make_credential(relay, "acme", provider.url(""), secrets={"token": "t" * 9}, name=f"no {number}")
            await relay.store.add_credential(one)
        subscription = make_subscription(relay, provider.url("/hook"))
        await relay.store.add_subscription(subscription)
        good = about(await lines_of(database_url, redis_url, RELAY_PROVIDERS_DIR=providers), "secret key")
        other = {"RELAY_PROVIDERS_DIR": providers, "RELAY_SECRET_KEY": "another key than the one before"}
        before = len(provider.calls)
        lines = await lines_of(database_url, redis_url, **other)
        assert [call for call in provider.calls[before:] if "/jobs/" in call.target] == []
        both = {**other, "RELAY_SECRET_KEY": f"{other['RELAY_SECRET_KEY']},{A_KEY}"}
        assert about(await lines_of(database_url, redis_url, **both), "secret key").is_good
    assert good.said == f"opens the secrets of credentials ({SHOWN_MAX}) and subscriptions (1)"
    line = about(lines, "secret key")
    assert not line.is_good
    assert f"RELAY_SECRET_KEY opens what 0 of {SHOWN_MAX + 1} hold, and not credential acme/" in line.said
    assert line.said.endswith(" and 1 more")
    assert "add the key that was in use" in line.fix
    for one in lines:
        assert "PATCH" not in one.fix
        assert one.part != "credential" or "not tried, for no key opens its secrets" in one.said


async def test_a_subscription_that_no_key_opens_is_named(database_url: str, redis_url: str) -> None:
    async with living(database_url, redis_url) as relay:
        subscription = make_subscription(relay, "http://127.0.0.1:9/hook")
        await relay.store.add_subscription(subscription)
    lines = await lines_of(database_url, redis_url, RELAY_SECRET_KEY="another key than the one before")
    assert f"subscription {subscription.id}" in about(lines, "secret key").said


async def test_a_file_that_is_no_database_is_told(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at as if it were one\n" * 20)
    line = about(await lines_of(f"sqlite:///{tmp_path}/notes.txt", redis_url), "database")
    assert not line.is_good
    assert "is no SQLite database" in line.said


async def test_the_public_url_is_remarked_upon(database_url: str, redis_url: str) -> None:
    await migrate(database_url)
    unset = load({"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RELAY_SECRET_KEY": "k" * 20})
    lines = [line async for line in examine(unset, "acme", Clock())]
    assert "RELAY_PUBLIC_URL is not set" in lines[0].said
    assert "http://relay.example" in (await lines_of(database_url, redis_url))[0].said
