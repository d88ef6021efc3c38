"""Tests of the application under a real server, in a process of its own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from relay.store import migrate
from tests.trips import until
from tests.web.house import told

API_KEY = "a key for the served relay"
WITHIN_SECONDS = 30.0
COMMAND = [sys.executable, "-m", "uvicorn", "--factory", "relay.web.app:create", "--host", "127.0.0.1"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def environment(database_url: str, redis_url: str, **more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    return {
        **inherited,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "RELAY_SECRET_KEY": "a secret key for tests that is long enough",
        "RELAY_API_KEY": API_KEY,
        **more,
    }


@dataclass
class Served:
    """A server's process; what it wrote to stderr, once it has ended."""

    process: subprocess.Popen[str]
    errors: str = ""

    def ended(self) -> int:
        """Its exit status; TimeoutExpired when it does not end."""
        _, self.errors = self.process.communicate(timeout=WITHIN_SECONDS)
        return self.process.returncode


@contextmanager
def server(port: int, variables: dict[str, str]) -> Iterator[Served]:
    """uvicorn on that port, ended by SIGTERM."""
    command = [*COMMAND, "--port", str(port)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=variables, text=True, stdout=pipe, stderr=pipe) as process:
        served = Served(process)
        try:
            yield served
        finally:
            process.send_signal(signal.SIGTERM)
            if not served.errors:
                served.ended()


async def answering(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while True:
            try:
                told(await client.get("/healthz"))
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


@pytest.fixture
def port() -> int:
    """Nobody's at present."""
    return free_port()


@pytest.fixture
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to the server on that port, with its key."""
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10) as client:
        yield client


async def test_a_served_relay_answers_logs_json_and_leaves_in_order(
    database_url: str, redis_url: str, port: int, client: httpx.AsyncClient
) -> None:
    variables = environment(database_url, redis_url, RELAY_CAMB_API_KEY="a-key-of-camb", RELAY_MAX_BODY_BYTES="65536")
    with server(port, variables) as served:
        await answering(client)
        assert told(await client.get("/readyz"))["status"] == "ready"
        (credential,) = told(await client.get("/v1/credentials"))["data"]
        assert (credential["name"], credential["provider"]) == ("default", "camb")
        body = {"provider": "camb", "provider_job_id": "c-1"}
        job = told(await client.post("/v1/jobs", json=body, headers={"x-request-id": "trace-7"}), 201)
        assert job["url"] == f"http://localhost:8000/v1/jobs/{job['id']}"
        too_large = await client.post("/v1/jobs", content=b" " * 70_000)
        assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")
        assert told(await client.get(f"/v1/jobs/{job['id']}"))["status"] == "pending"
    assert served.process.returncode in (0, -signal.SIGTERM), served.errors
    lines = [json.loads(line) for line in served.errors.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "trace-7"]
    assert (line["event"], line["route"], line["status"], line["tenant"]) == ("request", "/v1/jobs", 201, "default")
    assert API_KEY not in served.errors
    assert "a-key-of-camb" not in served.errors


async def test_a_relay_without_migrations_says_what_to_do(tmp_path: Path, redis_url: str, port: int) -> None:
    with server(port, environment(f"sqlite:///{tmp_path}/empty.db", redis_url)) as served:
        assert served.ended() != 0
    assert "relay migrate" in served.errors


async def test_a_relay_starts_before_its_database_and_catches_up(
    redis_url: str, port: int, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    folder = tmp_path / "not there yet"
    database_url = f"sqlite:///{folder}/relay.db"
    with server(port, environment(database_url, redis_url, RELAY_CAMB_API_KEY="a-key-of-camb")) as served:
        await answering(client)
        view = told(await client.get("/readyz"), 503)
        assert view["checks"]["database"] == {"ok": False, "detail": "no answer"}
        problem = told(await client.get("/v1/jobs"), 503)
        assert problem["code"] == "unavailable"
        folder.mkdir()
        await migrate(database_url)

        async def credentials() -> list[dict[str, str]]:
            data: list[dict[str, str]] = told(await client.get("/v1/credentials"))["data"]
            return data

        (credential,) = await until(credentials)
        assert credential["provider"] == "camb"
        assert told(await client.get("/readyz"))["status"] == "ready"
    assert "not there yet" not in json.dumps([view, problem])
    assert "database_not_ready" in served.errors
