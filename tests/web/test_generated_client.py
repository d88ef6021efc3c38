"""A client that a generator made from the served OpenAPI document, and nothing else, does the main things."""

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from relay.embedded import EmbeddedRedis
from relay.store import migrate
from tests.web.test_serving import API_KEY, answering, environment, free_port, server

PACKAGE = "made_from_the_document"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, embedded_redis: EmbeddedRedis) -> Iterator[str]:
    """The URL of a relay that nobody works for."""
    database_url = f"sqlite:///{tmp_path_factory.mktemp('served')}/relay.db"
    asyncio.run(migrate(database_url))
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    async def until_it_answers() -> None:
        async with httpx.AsyncClient(base_url=url) as client:
            await answering(client)

    with server(port, environment(database_url, embedded_redis.url, RELAY_CAMB_API_KEY="a-key-of-camb")):
        asyncio.run(until_it_answers())
        yield url


@pytest.fixture(scope="module")
def made(served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the generated package, on the path of modules."""
    folder = tmp_path_factory.mktemp("made")
    document = folder / "openapi.json"
    document.write_bytes(httpx.get(f"{served}/openapi.json").content)
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"]
    told = [*command, "--path", str(document), "--output-path", str(folder / PACKAGE)]
    # It calls ruff by name to put what it made in order.
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(told, capture_output=True, text=True, check=False, env={**os.environ, **path})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def client(served: str, made: Path) -> Iterator[Any]:
    """Speaks to the relay with its owner's key."""
    assert made.exists()
    with part("client").AuthenticatedClient(base_url=served, token=API_KEY) as client:
        yield client


def part(name: str) -> ModuleType:
    """A module of the generated package."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def call(name: str, *args: Any, **told: Any) -> Any:
    """The operation of that name, made in the synchronous way, with all that came back."""
    return part(f"api.{name}").sync_detailed(*args, **told)


def test_it_registers_a_job_and_reads_it_back(client: Any) -> None:
    models = part("models")
    body = models.NewJob(provider="camb", provider_job_id="made-1", metadata=metadata(order="42"))
    created = call("jobs.create_job", client=client, body=body, idempotency_key="once")
    assert created.status_code == 201
    assert created.parsed.status is models.JobStatus.PENDING
    again = call("jobs.create_job", client=client, body=body, idempotency_key="once")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.parsed.id == created.parsed.id
    shown = call("jobs.get_job", id=created.parsed.id, client=client).parsed
    assert (shown.id, shown.provider_job_id) == (created.parsed.id, "made-1")
    assert shown.metadata.to_dict() == {"order": "42"}
    assert shown.created_at == created.parsed.created_at
    life = call("jobs.get_job_timeline", id=shown.id, client=client).parsed
    assert [type(one) for one in life.data] == [models.RegisteredEntry]


def metadata(**told: str) -> Any:
    """Metadata of a new job."""
    return part("models").Metadata.from_dict(told)


def test_it_lists_the_jobs_whose_metadata_says_so(client: Any) -> None:
    models, ids = part("models"), {}
    for shop in ("7", "8"):
        told = metadata(shop=shop, kind="sale")
        body = models.NewJob(provider="camb", provider_job_id=f"shop-{shop}", metadata=told)
        ids[shop] = call("jobs.create_job", client=client, body=body).parsed.id
    wanted = models.ListJobsMetadata.from_dict({"metadata.shop": "7", "metadata.kind": "sale"})
    assert [one.id for one in call("jobs.list_jobs", client=client, metadata=wanted).parsed.data] == [ids["7"]]


def test_it_registers_many_at_once_and_reads_what_became_of_each(client: Any) -> None:
    models = part("models")
    jobs = [models.NewJob(provider="camb", provider_job_id="many-1"), models.NewJob(provider="nobody")]
    told = call("jobs.create_jobs", client=client, body=models.NewJobs(jobs=jobs)).parsed
    assert [one.status for one in told.data] == [201, 422]
    assert told.data[0].job.provider_job_id == "many-1"
    assert told.data[1].problem.code == "invalid_request"


@pytest.mark.parametrize("name", ["get_health", "get_readiness", "get_jwks"])
def test_what_is_open_is_read_in_its_shape(client: Any, name: str) -> None:
    answer = call(f"relay.{name}", client=client)
    assert type(answer.parsed).__name__ in ("Alive", "Readiness", "KeySet")


def test_it_walks_a_list_down_and_up(client: Any) -> None:
    for number in range(5):
        body = part("models").NewJob(provider="camb", provider_job_id=f"walk-{number}")
        assert call("jobs.create_job", client=client, body=body).status_code == 201
    first = call("jobs.list_jobs", client=client, limit=2).parsed
    second = call("jobs.list_jobs", client=client, limit=2, cursor=first.next_cursor).parsed
    assert [one.provider_job_id for one in first.data + second.data] == ["walk-4", "walk-3", "walk-2", "walk-1"]
    back = call("jobs.list_jobs", client=client, limit=2, cursor=second.prev_cursor).parsed
    assert [one.id for one in back.data] == [one.id for one in first.data]
    assert (back.next_cursor, back.prev_cursor) == (first.next_cursor, None)


def test_it_subscribes_changes_what_it_made_and_takes_it_away(client: Any) -> None:
    models = part("models")
    body = models.NewSubscription(url="https://8.8.8.8/hook")
    made = call("subscriptions.create_subscription", client=client, body=body).parsed
    assert made.secret.startswith("whsec_")
    patch = models.ChangedSubscriptionPatch(status=models.ChangedSubscriptionPatchStatus.PAUSED)
    changed = call("subscriptions.change_subscription", id=made.id, client=client, body=patch).parsed
    assert changed.status is models.SubscriptionStatus.PAUSED
    assert call("subscriptions.delete_subscription", id=made.id, client=client).status_code == 204
    assert call("subscriptions.get_subscription", id=made.id, client=client).status_code == 404


def test_a_refusal_is_a_problem_that_names_every_fault(client: Any) -> None:
    body = part("models").NewJob(provider="nobody", deadline_seconds=-1)
    refused = call("jobs.create_job", client=client, body=body)
    assert refused.status_code == 422
    assert refused.parsed.code == "invalid_request"
    assert {one.pointer for one in refused.parsed.errors} >= {"/provider", "/deadline_seconds"}


@pytest.mark.parametrize("name", ["providers.list_providers", "events.list_event_types", "relay.get_stats"])
def test_what_there_is_can_be_read(client: Any, name: str) -> None:
    answer = call(name, client=client)
    assert answer.status_code == 200
    assert answer.parsed is not None
