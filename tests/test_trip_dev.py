"""`relay dev` as a newcomer runs it: the whole trip for every provider, again, twice at once, and its ends."""

import asyncio
import os
import re
import shlex
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from relay.dev.serving import is_free
from relay.providers.catalog import Catalog
from tests.hosts import free_port
from tests.trips import until

PROVIDERS = [definition.name for definition in Catalog.load() if definition.is_demo]
DEMO_SECONDS_MAX = 90.0  # the promise is 60; this machine may be doing other things
STOP_SECONDS_MAX = 20.0


@dataclass
class Dev:
    """A running `relay dev`, and what it has said so far."""

    folder: Path
    process: asyncio.subprocess.Process
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text()

    async def says(self, words: str) -> str:
        """Waits for the words; all that was said until then."""

        def is_there() -> bool:
            assert self.process.returncode is None or words in self.said, self.said
            return words in self.said

        await until(is_there, DEMO_SECONDS_MAX)
        return self.said

    async def ends(self, within_seconds: float) -> int:
        """Its exit code."""
        async with asyncio.timeout(within_seconds):
            return await self.process.wait()

    def url(self, name: str) -> str:
        found = re.search(rf"^{name} +(http://\S+)", self.said, re.MULTILINE)
        assert found, self.said
        return found[1]

    def client(self) -> httpx.AsyncClient:
        """A client of its API, with the key that it printed."""
        key = re.search(r"^API key +(\S+)", self.said, re.MULTILINE)
        assert key, self.said
        return httpx.AsyncClient(
            base_url=self.url("API").removesuffix("/v1"),
            headers={"authorization": f"Bearer {key[1]}"},
            trust_env=False,
            timeout=20,
        )


@asynccontextmanager
async def running(folder: Path, *words: str, port: int = 0, **more: str) -> AsyncIterator[Dev]:
    """`relay dev` in a folder; it is gone at the end, whatever happened."""
    names = ("DATABASE_URL", "REDIS_URL", "WEB_CONCURRENCY", "LOG_LEVEL")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    environment = {name: value for name, value in environment.items() if name not in names}
    output = folder / f"said-{free_port()}.txt"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "relay",
            "dev",
            *words,
            cwd=folder,
            env={**environment, "PORT": str(port), **more},
            stdout=file,
            stderr=file,
        )
    try:
        yield Dev(folder, process, output)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def children_of(folder: Path) -> list[int]:
    """The processes that work in that folder's home."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, cwd = (path / "cmdline").read_bytes(), (path / "cwd").readlink()
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            continue
        if state != "Z" and (cwd == folder or os.fsencode(folder) in command):
            found.append(int(path.name))
    return found


async def test_every_provider_makes_the_trip_and_the_next_run_does_so_again(tmp_path: Path) -> None:
    folder = tmp_path / "a folder % ü ?#"
    folder.mkdir()
    for _ in range(2):
        async with running(folder, "--exit-after-demo") as dev:
            assert await dev.ends(DEMO_SECONDS_MAX) == 0, dev.said
        for name in PROVIDERS:
            assert re.search(
                rf"^{name} .* completed .*, delivery succeeded, signature verified$", dev.said, re.MULTILINE
            )
        assert f"{len(PROVIDERS)} of {len(PROVIDERS)} deliveries arrived with a good signature" in dev.said
        assert "warning: " in dev.said
        assert children_of(folder) == []
    with sqlite3.connect(folder / ".relay" / "relay.db") as database:
        ended = database.execute("SELECT provider, count(*) FROM jobs WHERE status = 'completed' GROUP BY 1").fetchall()
        subscriptions = database.execute("SELECT count(*) FROM subscriptions").fetchone()
    database.close()
    assert dict(ended) == dict.fromkeys(PROVIDERS, 2)
    assert subscriptions == (1,)


async def test_two_at_once_in_one_folder_keep_apart(tmp_path: Path) -> None:
    async with running(tmp_path, "--exit-after-demo") as one, running(tmp_path, "--exit-after-demo") as other:
        assert await one.ends(DEMO_SECONDS_MAX) == 0, one.said
        assert await other.ends(DEMO_SECONDS_MAX) == 0, other.said
    assert ("another relay dev runs" in one.said) != ("another relay dev runs" in other.said)
    assert (tmp_path / ".relay" / "2" / "relay.db").exists()


async def test_what_it_prints_can_be_used_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with running(tmp_path, port=port) as dev:
            await dev.says("Ctrl-C stops everything")
            assert f"port {port} is taken" in dev.said
            await try_what_it_printed(dev)
            ports = [int(url.rpartition(":")[2].removesuffix("/v1")) for url in map(dev.url, ("API", "inbox"))]
            dev.process.send_signal(signal.SIGINT)
            assert await dev.ends(STOP_SECONDS_MAX) == 0
    assert all(map(is_free, ports))
    assert children_of(tmp_path) == []


async def try_what_it_printed(dev: Dev) -> None:
    """Its curls bring a failed job to the inbox, whose calls were all verified."""
    key = re.search(r"^export KEY=(\S+)", dev.said, re.MULTILINE)
    assert key
    for line in re.findall(r"^curl .*$", dev.said, re.MULTILINE):
        shell = await asyncio.create_subprocess_shell(
            line.replace("curl -s", "curl -sf --noproxy '*'"),
            env={**os.environ, "KEY": key[1]},
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await shell.communicate()
        assert shell.returncode == 0, line
        assert told.startswith(b"{")
    async with dev.client() as client, httpx.AsyncClient(trust_env=False) as reader:

        async def has_failed() -> bool:
            return bool(
                (await client.get("/v1/deliveries", params={"status": "pending"})).json()["data"]
            ) is False and any(
                call["type"] == "job.failed" for call in (await reader.get(dev.url("inbox"))).json()["data"]
            )

        await until(has_failed)
        calls = (await reader.get(dev.url("inbox"))).json()["data"]
        assert all(call["is_verified"] for call in calls)
        files = [url for call in calls for url in call["files"]]
        assert (await reader.get(files[0])).content.startswith(b"RIFF")
        accounts = (await reader.get(dev.url("simulator"))).json()["data"]
        assert {account["provider"] for account in accounts} >= set(PROVIDERS)


async def test_only_this_machine_can_ask_what_has_a_key_for_everything(tmp_path: Path) -> None:
    async with running(tmp_path, "--no-demo") as dev:
        await dev.says("Ctrl-C stops everything")
        for name in ("API", "inbox", "simulator"):
            url = httpx.URL(dev.url(name))
            with socket.create_connection((url.host, url.port), timeout=5):
                pass
            # Another address of the same machine: who listens on all of them would answer.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", url.port), timeout=5)


async def test_a_part_that_dies_ends_the_rest_and_is_named(tmp_path: Path) -> None:
    async with running(tmp_path, "--no-demo") as dev:
        await dev.says("Ctrl-C stops everything")
        (worker,) = [
            pid for pid in children_of(tmp_path) if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]
        log = tmp_path / ".relay" / "worker.log"
        await until(lambda: "worker_started" in log.read_text())
        os.kill(worker, signal.SIGKILL)
        assert await dev.ends(STOP_SECONDS_MAX) == 1
    assert "worker has ended" in dev.said
    assert "worker_started" in dev.said
    assert children_of(tmp_path) == []


async def test_nothing_outlives_a_relay_dev_that_was_killed(tmp_path: Path) -> None:
    async with running(tmp_path, "--no-demo") as dev:
        await dev.says("Ctrl-C stops everything")
        dev.process.kill()
        await dev.process.wait()
        await until(lambda: children_of(tmp_path) == [], STOP_SECONDS_MAX)


async def test_a_web_process_that_cannot_start_is_shown_with_its_log(tmp_path: Path) -> None:
    async with running(tmp_path, "--exit-after-demo", RELAY_HUAWEI_METASTUDIO_AUTH_TOKEN="only half of it") as dev:
        assert await dev.ends(DEMO_SECONDS_MAX) == 1
    assert "web has ended; the last of" in dev.said
    assert "RELAY_HUAWEI_METASTUDIO" in dev.said
    assert children_of(tmp_path) == []


async def test_a_reader_that_leaves_ends_everything_without_a_trace(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m relay dev 2>said.txt | head -n 1"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    shell = await asyncio.create_subprocess_shell(command, cwd=tmp_path, env={**environment, "PORT": "0"})
    async with asyncio.timeout(DEMO_SECONDS_MAX):
        assert await shell.wait() == 0
    assert (tmp_path / "said.txt").read_text() == ""
    assert children_of(tmp_path) == []


async def test_faulty_settings_are_told_before_anything_starts(tmp_path: Path) -> None:
    async with running(tmp_path, "--exit-after-demo", RELAY_RETRY_SCHEDULE="soon") as dev:
        assert await dev.ends(STOP_SECONDS_MAX) == 2
    assert dev.said.startswith("relay: RELAY_RETRY_SCHEDULE")
    assert not (tmp_path / ".relay").exists()
