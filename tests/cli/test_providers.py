"""The exit code of a look by hand: whether the answer told how the job is doing."""

import json
from pathlib import Path

import pytest

from tests.cli.terminal import called
from tests.hosts import free_port
from tests.providers.made_up import ACME, ACME_SAMPLES, written
from tests.receivers import Receiver, answering

TRY = ("providers", "try", "acme", "--job", "j-1", "--credential-secret", "token=one", "--base-url")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, {"status": "done", "url": "https://a.example/x"}, 0),
        (200, {"status": "broken", "why": "too long"}, 0),
        (200, {"status": "levitating"}, 1),
        (401, {}, 1),
        (404, {}, 1),
        (429, {}, 1),
        (500, {}, 1),
    ],
)
async def test_a_look_that_does_not_tell_of_the_job_fails(
    tmp_path: Path, status: int, body: dict[str, str], code: int
) -> None:
    written(tmp_path, ACME, ACME_SAMPLES)
    async with Receiver(answering(status, body=json.dumps(body).encode())) as provider:
        told = await called(*TRY, provider.url("").rstrip("/"), RELAY_PROVIDERS_DIR=str(tmp_path))
    assert told.returncode == code, told.stdout
    assert "outcome   " in told.stdout
    assert told.stderr == ""


async def test_a_host_that_is_not_there_fails(tmp_path: Path) -> None:
    written(tmp_path, ACME, ACME_SAMPLES)
    told = await called(*TRY, f"http://127.0.0.1:{free_port()}", RELAY_PROVIDERS_DIR=str(tmp_path))
    assert told.returncode == 1
    assert "outcome   transient" in told.stdout
