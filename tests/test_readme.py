"""The README's commands run as they stand, and its tables say what the code says."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.settings import Settings
from tests.hosts import API_KEY, free_port, hosting, made
from tests.provider_stub import CREDENTIALS, Providers, camb, stub
from tests.receivers import Receiver, answering
from tests.trips import until

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str, marker: str) -> str:
    """The one fenced block of that language that holds the marker."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (found,) = [one for one in blocks if marker in one]
    return found


def shell(script: str, **variables: str) -> str:
    """What a script printed, run as a reader would paste it."""
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", **variables}
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's calls are made with curl")
async def test_the_three_calls_subscribe_watch_and_list(tmp_path: Path, redis_url: str) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    async with (
        stub(Providers({"a1b2c3d4": [camb("SUCCESS", run_id=1)]})) as server,
        Receiver(answering(204)) as inbox,
        hosting(tmp_path, url, redis_url) as host,
        host.client() as client,
    ):
        await made(
            client,
            "/v1/credentials",
            {"name": "m", "provider": "camb", "base_url": server.url(""), **CREDENTIALS["camb"]},
        )
        subscribe, watch, listing = re.split(r"\n(?=#)", block("sh", '"$RELAY/v1/jobs"'))
        names = {"RELAY": host.url, "KEY": API_KEY, "INBOX": inbox.url("/hook")}
        assert '"secret":"whsec_' in (await asyncio.to_thread(shell, subscribe, **names)).replace(": ", ":")
        assert '"pending"' in await asyncio.to_thread(shell, watch, **names)
        await inbox.heard(1, 20)
        assert "job.completed" in await asyncio.to_thread(shell, listing, **names)
        program = f"python - <<'EOF'\n{block('python', 'relay.client')}EOF\n"
        told = await asyncio.to_thread(shell, program, **names)
        assert told.splitlines()[0] == "completed"
        assert told.splitlines()[1].startswith(names["INBOX"])


async def test_the_receiver_of_fifteen_lines_takes_good_calls_and_refuses_bad_ones(
    tmp_path: Path, redis_url: str
) -> None:
    port = free_port()
    async with (
        stub(Providers({"x": [camb("TIMEOUT")]})) as server,
        hosting(tmp_path, f"sqlite:///{tmp_path}/relay.db", redis_url) as host,
        host.client() as client,
    ):
        subscription = await made(client, "/v1/subscriptions", {"url": f"http://127.0.0.1:{port}/"})
        environment = {"SECRET": subscription["secret"], "PORT": str(port), "PATH": "/usr/bin:/bin"}
        log = tmp_path / "receiver.log"
        with log.open("wb") as output:
            receiver = subprocess.Popen(
                [sys.executable, "-c", block("python", "Webhook(")], env=environment, stdout=output, stderr=output
            )
        try:
            await made(
                client,
                "/v1/credentials",
                {"name": "m", "provider": "camb", "base_url": server.url(""), **CREDENTIALS["camb"]},
            )
            job = await made(client, "/v1/jobs", {"provider": "camb", "provider_job_id": "x"})
            await until(lambda: f"job.failed {job['id']}" in log.read_text(), 20)
            forged = {"webhook-id": "evt_x", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
            async with host.client() as stranger:
                answer = await stranger.post(f"http://127.0.0.1:{port}/", json={}, headers=forged)
            assert answer.status_code == 401
        finally:
            receiver.kill()
            receiver.wait()


def test_the_host_commands_are_the_relays_own_and_in_the_procfile() -> None:
    named = set(re.findall(r"^relay (\w+)", block("sh", "relay migrate"), re.MULTILINE))
    assert named == {"migrate", "keys", "web", "worker"}
    procfile = (ROOT / "Procfile").read_text()
    assert set(re.findall(r"relay (\w+)", procfile)) == named - {"keys"}
    for command in sorted(named):
        assert (
            subprocess.run(
                [sys.executable, "-m", "relay", command, "--help"], capture_output=True, check=False
            ).returncode
            == 0
        )


def test_the_settings_table_names_every_variable_and_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \|.*\| (.+?) \|$", README, re.MULTILINE))
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    settings = Settings()
    for name, shown in rows.items():
        value = getattr(settings, name.lower())
        if value in (None, (), ""):
            assert shown.startswith(("none", "`http://localhost:$PORT`")), name
        elif isinstance(value, tuple):
            assert shown == f"`{','.join(f'{one:g}' for one in value)}`"
        else:
            plain = (
                str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
            )
            assert shown.strip("`") == str(plain), name
