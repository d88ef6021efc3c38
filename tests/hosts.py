"""A relay as an operator runs it: `relay migrate`, `web` and `worker` as processes, reached over HTTP alone."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.trips import until

API_KEY = "an-api-key-for-the-tests"
START_SECONDS = 30.0
STOP_SECONDS = 20.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Host:
    """One machine with the relay's processes; `api` speaks to its web process as its owner does."""

    folder: Path
    environment: dict[str, str]
    port: int
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A `relay` command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "relay", *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, name: str, *words: str) -> None:
        """A `relay` command that stays, its output in a file of that name."""
        log = (self.folder / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "relay", *words], env=self.environment, cwd=self.folder, stdout=log, stderr=log
        )
        log.close()

    def kill(self, name: str) -> None:
        """`kill -9`."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> int:
        """SIGTERM, and the exit code."""
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(STOP_SECONDS)

    def log(self, name: str) -> str:
        """What the process has said."""
        return (self.folder / f"{name}.log").read_text()

    def client(self, key: str = API_KEY) -> httpx.AsyncClient:
        """A client of the API."""
        return httpx.AsyncClient(
            base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=20, trust_env=False
        )

    async def is_up(self) -> bool:
        """Whether the web process answers."""
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{self.url}/healthz")).status_code == 200
            except httpx.TransportError:
                return False


@asynccontextmanager
async def hosting(
    folder: Path, database_url: str, redis_url: str, *, workers: int = 1, more: Mapping[str, str] | None = None
) -> AsyncIterator[Host]:
    """A host with a web process that answers and so many workers; all are gone at the end."""
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RELAY_")},
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PORT": str(port),
        "RELAY_SECRET_KEY": "a secret key of the test host",
        "RELAY_API_KEY": API_KEY,
        "RELAY_EGRESS_ALLOW": "127.0.0.0/8",
        "RELAY_ALLOW_HTTP": "true",
        "RELAY_SHUTDOWN_SECONDS": "5",
        **(more or {}),
    }
    host = Host(folder, environment, port)
    migrated = await asyncio.to_thread(host.run, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    host.start("web", "web")
    for number in range(workers):
        host.start(f"worker{number}", "worker")
    try:
        await until(host.is_up, START_SECONDS)
        yield host
    finally:
        for process in host.processes.values():
            process.kill()
        for process in host.processes.values():
            process.wait()


async def made(client: httpx.AsyncClient, path: str, body: Any, status: int = 201) -> Any:
    """What a POST brought, when it brought that status."""
    answer = await client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()
