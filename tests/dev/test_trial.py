"""One look by hand: what is said of each kind of answer."""

import json

import pytest

from relay.clock import Clock
from relay.dev.trial import attempt, target_of
from relay.domain.errors import Invalid
from relay.egress import Egress, Guard
from tests.providers.made_up import acme
from tests.receivers import Receiver, answering

SECRETS = {"token": "a-secret-token"}


async def told(status: int, body: object, headers: dict[str, str] | None = None) -> str:
    async with (
        Receiver(answering(status, headers, json.dumps(body).encode())) as provider,
        Egress(Guard(["127.0.0.0/8"], True), "test") as egress,
    ):
        target = target_of(acme(), "job-1", SECRETS, {"flavour": "plain"}, provider.url("").rstrip("/"))
        trial = await attempt(egress, target, Clock())
    assert "a-secret-token" not in "\n".join(trial.lines)
    assert trial.is_told == any(
        f"outcome   {one}" in "\n".join(trial.lines) for one in ("pending", "completed", "failed")
    )
    return "\n".join(trial.lines)


async def test_a_pending_job_is_looked_at_again() -> None:
    said = await told(200, {"status": "running"})
    assert "outcome   pending (HTTP 200), the provider says running" in said
    assert "looks again after about 3" in said


async def test_a_completed_job_shows_its_files_and_its_event() -> None:
    said = await told(200, {"status": "done", "url": "https://a.example/x.mp3"})
    assert "file      audio https://a.example/x.mp3" in said
    assert "sends job.completed" in said


async def test_a_failed_job_shows_its_error() -> None:
    said = await told(200, {"status": "broken", "why": "too long"})
    assert '"message": "too long"' in said
    assert "sends job.failed" in said


async def test_a_refused_secret_marks_the_credential() -> None:
    assert "marks the credential auth_failed" in await told(401, {"message": "no"})


async def test_a_throttled_look_holds_the_credential() -> None:
    said = await told(429, {}, {"retry-after": "17"})
    assert "the provider asks" in said
    assert "asks nothing with this credential for 17 s" in said


async def test_an_answer_that_nobody_understands_is_shown() -> None:
    said = await told(200, {"status": "levitating"})
    assert "outcome   unknown" in said
    assert "levitating" in said


async def test_a_host_that_cannot_be_reached_is_transient() -> None:
    async with Egress(Guard(["127.0.0.0/8"], True), "test") as egress:
        target = target_of(acme(), "job-1", SECRETS, {}, "http://127.0.0.1:9")
        trial = await attempt(egress, target, Clock())
    assert any("transient" in line for line in trial.lines)
    assert not trial.is_told


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(Invalid) as refusal:
        target_of(acme(), "", {"key": "x"}, {"colour": "red"}, "ftp://x")
    pointers = {fault.pointer for fault in refusal.value.faults}
    assert {"/provider_job_id", "/secrets/key", "/secrets/token", "/params/colour", "/base_url"} <= pointers
