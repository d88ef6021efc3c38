"""The commands as somebody at a terminal uses them."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relay.clock import Clock
from relay.domain.key import SCOPES, digest, looks_like_key
from relay.domain.subscription import EVENT_TYPES
from relay.store import Cipher, open_store
from relay.webhooks.signing import sign
from tests.cli.terminal import called, environment, run
from tests.hosts import API_KEY, free_port, hosting
from tests.providers.made_up import ACME, ACME_SAMPLES, written
from tests.receivers import Receiver, answering, hanging
from tests.trips import SECRET, until, verified

COMMANDS = ("dev", "web", "worker", "migrate", "keys", "providers", "listen", "trigger", "verify", "export", "doctor")
HELP_SECONDS_MAX = 10.0


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A database of the test's own, migrated by the command."""
    url = f"sqlite:///{tmp_path}/relay.db"
    assert run("migrate", DATABASE_URL=url).exit_code == 0
    return url


def test_help_names_every_command() -> None:
    shown = run("--help")
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", shown.output, re.MULTILINE)
        assert run(name, "--help").exit_code == 0


async def test_help_loads_none_of_the_heavy_parts() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from relay.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print([name for name in ('sqlalchemy', 'aiohttp', 'starlette', 'uvicorn', 'redis', 'arq', 'rich', 'pydantic')"
        " if name in sys.modules])"
    )
    told = await asyncio.to_thread(subprocess.check_output, [sys.executable, "-c", code], text=True, timeout=30)
    assert told.strip() == "[]"


@pytest.mark.parametrize("command", ["web", "worker"])
def test_every_fault_of_the_settings_is_on_stderr_without_a_traceback(command: str) -> None:
    told = run(command, PORT="x", DATABASE_URL="mysql://x", RELAY_RETRY_SCHEDULE="a")
    assert told.exit_code == 2
    for name in ("RELAY_SECRET_KEY", "PORT", "DATABASE_URL", "RELAY_RETRY_SCHEDULE"):
        assert re.search(rf"^relay: {name}\b", told.stderr, re.MULTILINE)
    assert "Traceback" not in told.stderr
    assert told.stdout == ""


def test_migrate_says_from_where_to_where(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    first, second = run("migrate", DATABASE_URL=url), run("migrate", DATABASE_URL=url)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "it was at nothing" in first.stdout
    revision = re.search(r"at (\S+);", first.stdout)
    assert revision
    assert second.stdout == f"the database is at {revision[1]}\n"


def test_migrate_of_a_database_that_is_away_is_one_line() -> None:
    told = run("migrate", DATABASE_URL=f"postgresql://x:hunter2@127.0.0.1:{free_port()}/x")
    assert told.exit_code == 1
    assert told.stderr.startswith("relay: database does not answer")
    assert "hunter2" not in told.output


def test_a_key_is_made_listed_and_revoked(database_url: str) -> None:
    made = run("keys", "create", "--name", "ci", "--scope", "read", "--scope", "jobs:write", DATABASE_URL=database_url)
    text = made.stdout.strip()
    assert looks_like_key(text)
    listed = run("keys", "list", DATABASE_URL=database_url).stdout
    key_id = listed.split()[0]
    assert "read,jobs:write" in listed
    assert text not in listed
    assert run("keys", "revoke", key_id, "--tenant", "other", DATABASE_URL=database_url).exit_code == 2
    assert run("keys", "revoke", key_id, DATABASE_URL=database_url).exit_code == 0
    assert run("keys", "list", DATABASE_URL=database_url).stdout == ""


async def test_a_key_without_scopes_gets_all_but_admin(database_url: str) -> None:
    made = await called("keys", "create", "--name", "app", "--tenant", "acme", DATABASE_URL=database_url)
    store = open_store(database_url, Cipher(["a key of the test"]))
    key = await store.find_key(digest(made.stdout.strip()))
    await store.close()
    assert key is not None
    assert (key.tenant, key.name) == ("acme", "app")
    assert set(key.scopes) == set(SCOPES) - {"admin"}


def test_keys_need_a_migrated_database(tmp_path: Path) -> None:
    for words in (("create", "--name", "x"), ("list",), ("revoke", "key_x"), ("rotate-encryption",)):
        new = {"DATABASE_URL": f"sqlite:///{tmp_path}/new.db", "RELAY_SECRET_KEY": "a secret key of the test"}
        told = run("keys", *words, **new)
        assert (told.exit_code, told.stdout) == (2, "")
        assert re.fullmatch(r"relay: DATABASE_URL: the database is at nothing, .*run `relay migrate`\n", told.stderr)


@pytest.mark.parametrize("words", [(), ("list",)])
def test_providers_are_listed_with_their_warnings(words: tuple[str, ...], tmp_path: Path) -> None:
    written(tmp_path, ACME, ACME_SAMPLES)
    told = run("providers", *words, RELAY_PROVIDERS_DIR=str(tmp_path))
    assert told.exit_code == 0
    assert "https://api.acme.example  (token)" in told.stdout
    assert "closed" in told.stdout


def test_definitions_are_checked_each_with_its_faults(tmp_path: Path) -> None:
    good = written(tmp_path, ACME, ACME_SAMPLES)
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "bad"')
    assert run("providers", "check", str(good)).exit_code == 0
    told = run("providers", "check", str(good), str(bad))
    assert told.exit_code == 1
    assert f"✓ {good}" in told.stdout
    assert f"✗ {bad}" in told.stdout
    assert "base_url" in told.stdout


async def test_a_provider_is_tried_with_secrets_from_options_or_the_environment(tmp_path: Path) -> None:
    written(tmp_path, ACME, ACME_SAMPLES)
    async with Receiver(answering(200, body=b'{"status": "running"}')) as provider:
        words = ("providers", "try", "acme", "--job", "j-1", "--base-url", provider.url("").rstrip("/"))
        folder = str(tmp_path)
        by_option = await called(*words, "--credential-secret", "token=one", RELAY_PROVIDERS_DIR=folder)
        by_variable = await called(*words, RELAY_ACME_TOKEN="two", RELAY_PROVIDERS_DIR=folder)
        refused = await called(*words, RELAY_PROVIDERS_DIR=folder)
    assert (by_option.returncode, by_variable.returncode, refused.returncode) == (0, 0, 2)
    assert [call.header("authorization") for call in provider.calls] == ["Bearer one", "Bearer two"]
    assert "outcome   pending" in by_option.stdout
    assert "/secrets/token" in refused.stderr
    assert (await called("providers", "try", "nobody", "--job", "1")).returncode == 2


@pytest.mark.parametrize("event_type", ["job.completed", "webhook.test"])
async def test_trigger_sends_a_signed_event_and_shows_the_answer(event_type: str) -> None:
    async with Receiver(answering(200, body=b"thanks")) as receiver:
        told = await called("trigger", event_type, "--to", receiver.url("/hooks"), "--secret", SECRET)
    (call,) = receiver.calls
    assert verified(call)["type"] == event_type
    assert told.returncode == 0
    assert "answered 200 thanks" in told.stdout


async def test_trigger_makes_up_a_secret_and_tells_it() -> None:
    async with Receiver(answering(204)) as receiver:
        told = await called("trigger", "webhook.test", "--to", receiver.url("/"))
    secret = re.search(r"whsec_\S+", told.stdout)
    assert secret
    assert verified(receiver.calls[0], secret[0])


async def test_trigger_fails_when_the_receiver_does() -> None:
    async with Receiver(answering(500, body=b"no")) as receiver:
        told = await called("trigger", "webhook.test", "--to", receiver.url("/"), "--secret", SECRET)
    away = await called("trigger", "webhook.test", "--to", receiver.url("/"), "--secret", SECRET)
    assert (told.returncode, away.returncode) == (1, 1)
    assert "answered 500 no" in told.stdout
    assert "no answer: refused" in away.stdout


def test_trigger_refuses_what_it_cannot_send() -> None:
    for words in (
        ("job.exploded", "--to", "http://127.0.0.1:1"),
        ("webhook.test", "--to", "ftp://x"),
        ("webhook.test", "--to", "http://169.254.169.254/"),
        ("webhook.test", "--to", "http://127.0.0.1:1", "--secret", "hunter2"),
    ):
        assert run("trigger", *words).exit_code == 2
    assert all(name in run("trigger", "nothing", "--to", "http://127.0.0.1:1").stderr for name in EVENT_TYPES)


def test_verify_explains_and_its_exit_code_is_the_verdict(tmp_path: Path) -> None:
    seconds, body = int(Clock().now().timestamp()), b'{"a":1}'
    file = tmp_path / "captured.txt"
    head = f"webhook-id: evt_1\nwebhook-timestamp: {seconds}\nwebhook-signature: {sign(SECRET, 'evt_1', seconds, body)}"
    file.write_bytes(head.encode() + b"\n\n" + body)
    good = run("verify", "--secret", SECRET, str(file))
    assert good.exit_code == 0
    assert good.stdout.splitlines()[-1] == "✓ verifies"
    file.write_bytes(head.encode() + b"\n\n" + b'{"a": 1}')
    bad = run("verify", "--secret", SECRET, str(file))
    assert bad.exit_code == 1
    assert "parsed and written again" in bad.stdout
    file.write_bytes(b"nothing")
    assert run("verify", "--secret", SECRET, str(file)).exit_code == 2


def test_the_doctor_says_every_fault_of_the_settings() -> None:
    told = run("doctor", PORT="x")
    assert told.exit_code == 1
    assert told.stdout.count("✗ settings") == 2


async def test_the_doctor_of_a_relay_without_a_database_fails(tmp_path: Path, redis_url: str) -> None:
    told = await called(
        "doctor",
        DATABASE_URL=f"sqlite:///{tmp_path}/relay.db",
        REDIS_URL=redis_url,
        RELAY_SECRET_KEY="a secret key of the test",
        RELAY_EGRESS_PROXY=f"http://127.0.0.1:{free_port()}",
    )
    assert told.returncode == 1
    assert "✓ redis" in told.stdout
    assert "✗ migrations" in told.stdout
    assert "run `relay migrate`" in told.stdout
    assert "Traceback" not in told.stderr


async def test_listen_brings_the_events_of_a_relay_to_a_receiver_here(tmp_path: Path, redis_url: str) -> None:
    async with (
        Receiver(answering(204)) as near,
        Receiver(answering(204)) as far,
        hosting(tmp_path, f"sqlite:///{tmp_path}/relay.db", redis_url) as host,
        host.client() as client,
    ):
        made = await client.post("/v1/subscriptions", json={"url": far.url("/far")})
        assert made.status_code == 201, made.text
        command = [sys.executable, "-m", "relay", "listen", "--forward-to", near.url("/near"), "--relay-url", host.url]
        with subprocess.Popen(
            [*command, "--secret", SECRET], env=environment(RELAY_API_KEY=API_KEY), stdout=subprocess.PIPE, text=True
        ) as listener:
            assert listener.stdout is not None
            line = await asyncio.to_thread(listener.stdout.readline)
            assert "Ctrl-C" in line
            tested = await client.post(f"/v1/subscriptions/{made.json()['id']}/test", json={})
            assert tested.is_success, tested.text
            (call,) = await near.heard(1, 20)
            listener.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(listener.wait, 15) == 0
        (delivered,) = await far.heard(1, 20)
    assert verified(call)["type"] == "webhook.test"
    assert call.header("webhook-id") == delivered.header("webhook-id")
    assert call.body == delivered.body


async def test_listen_without_a_key_says_so() -> None:
    told = await called("listen", "--forward-to", "http://127.0.0.1:1")
    assert told.returncode == 2
    assert "RELAY_API_KEY" in told.stderr


async def test_listen_to_nobody_is_one_line() -> None:
    words = (
        "--forward-to",
        "http://127.0.0.1:1",
        "--relay-url",
        f"http://127.0.0.1:{free_port()}",
        "--api-key",
        "k" * 16,
    )
    told = await called("listen", *words)
    assert told.returncode == 1
    assert told.stderr == "relay: the relay does not answer: no connection could be made to the host\n"


async def test_web_on_a_taken_port_ends_and_says_so(database_url: str, redis_url: str) -> None:
    async with Receiver(hanging()) as taken:
        told = await called(
            "web",
            DATABASE_URL=database_url,
            REDIS_URL=redis_url,
            PORT=str(taken.port),
            RELAY_SECRET_KEY="a secret key of the test",
        )
    assert told.returncode != 0
    assert "address already in use" in told.stderr
    assert all(json.loads(line) for line in told.stderr.splitlines())


async def test_web_stops_in_order_at_sigterm(tmp_path: Path, redis_url: str) -> None:
    async with hosting(tmp_path, f"sqlite:///{tmp_path}/relay.db", redis_url, workers=0) as host:
        assert await asyncio.to_thread(host.stop, "web") in (0, -signal.SIGTERM)
        assert not await host.is_up()


async def test_several_web_processes_share_one_port(tmp_path: Path, redis_url: str) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    async with hosting(tmp_path, url, redis_url, workers=0, more={"WEB_CONCURRENCY": "2"}) as host:
        await until(host.is_up)
        host.processes["web"].terminate()
        await asyncio.to_thread(host.processes["web"].wait, 20)
        assert not await host.is_up()
