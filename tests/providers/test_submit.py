"""Creating a job: an id, a refusal, or doubt, which is never resolved by creating it again."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.domain.observation import Outcome
from relay.egress import Egress, Guard
from relay.providers.catalog import Catalog
from relay.providers.definition import Definition
from relay.providers.look import look
from relay.providers.request import Target
from relay.providers.submit import NotSubmitted, Submission, Submitted, Unclear, classify_submit, submit
from tests.provider_stub import CREDENTIALS
from tests.providers.made_up import acme
from tests.providers.swift_clock import SwiftClock
from tests.receivers import Receiver, answering, closed_port, hanging_up, in_turn

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SUBMIT = '[submit]\npath = "/jobs"\nid = "body.id"'


def read(body: object, status: int = 200, definition: Definition | None = None) -> Submission:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_submit(definition or acme(SUBMIT), status, [], payload, NOW)


def target(catalog: Catalog, url: str) -> Target:
    definition = catalog.get("camb")
    assert definition is not None
    return Target(definition, url, CREDENTIALS["camb"]["secrets"], {"kind": "dub"})


@pytest.mark.parametrize(("body", "status"), [({"id": "j1"}, 201), ({"id": 17}, 200), ({"id": "j1", "why": "x"}, 202)])
def test_an_id_in_a_success_is_a_job(body: dict[str, object], status: int) -> None:
    assert read(body, status) == Submitted(str(body["id"]))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 200),
        ({"id": "../x"}, 200),
        ({"id": ""}, 201),
        (b"", 202),
        (b"<html>", 200),
        ({}, 500),
        (b"", 503),
        ({}, 302),
    ],
)
def test_no_legible_id_leaves_doubt(body: object, status: int) -> None:
    submission = read(body, status)
    assert isinstance(submission, Unclear)
    assert submission.detail


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "invalid_request", False),
        (401, "authentication", False),
        (402, "payment_required", False),
        (404, "invalid_request", False),
        (422, "invalid_request", False),
        (429, "rate_limited", True),
        (409, "provider_error", True),
    ],
)
def test_a_refusal_is_no_job(status: int, code: str, retryable: bool) -> None:
    submission = read({"id": "j1", "why": "because"}, status)
    assert isinstance(submission, NotSubmitted)
    assert (submission.error.code, submission.error.message) == (code, "because")
    assert submission.error.retryable is retryable


def test_a_refusal_with_a_code_that_the_definition_knows_is_called_by_it() -> None:
    definition = acme('provider_code = "body.code"', '[error.codes]\nEVIL = "content_rejected"', SUBMIT)
    submission = read({"code": "EVIL", "why": "no"}, 400, definition)
    assert isinstance(submission, NotSubmitted)
    assert (submission.error.code, submission.error.provider_code) == ("content_rejected", "EVIL")


def test_a_provider_without_submit_has_none() -> None:
    with pytest.raises(LookupError, match="acme has no way to submit"):
        read({}, 200, acme())


async def test_a_job_is_created_over_the_wire_once(egress: Egress, catalog: Catalog) -> None:
    async with Receiver(answering(200, {}, b'{"task_id": "t1"}')) as server:
        submission = await submit(egress, target(catalog, server.url("")), {"video_url": "v"}, SwiftClock())
    assert submission == Submitted("t1")
    [call] = server.calls
    assert (call.method, call.target, call.body) == ("POST", "/apis/dub", b'{"video_url":"v"}')
    assert call.header("content-type") == "application/json"
    assert call.header("x-api-key") == CREDENTIALS["camb"]["secrets"]["api_key"]


async def test_an_answer_that_got_lost_leaves_doubt(egress: Egress, catalog: Catalog) -> None:
    async with Receiver(hanging_up()) as server:
        submission = await submit(egress, target(catalog, server.url("")), {}, SwiftClock())
    assert isinstance(submission, Unclear)
    assert len(server.calls) == 1


async def test_a_create_call_has_a_connection_of_its_own_and_is_not_sent_again_when_that_breaks(
    egress: Egress, catalog: Catalog
) -> None:
    async with Receiver(in_turn(answering(200, {}, b"{}"), hanging_up(), answering())) as server:
        await look(egress, replace(target(catalog, server.url("")), provider_job_id="t1"), SwiftClock())
        submission = await submit(egress, target(catalog, server.url("")), {}, SwiftClock())
        assert isinstance(submission, Unclear)
        assert [call.connection for call in server.calls] == [1, 2]


async def test_a_request_that_never_left_created_nothing(egress: Egress, catalog: Catalog) -> None:
    with closed_port() as port:
        submission = await submit(egress, target(catalog, f"http://127.0.0.1:{port}"), {}, SwiftClock())
    assert isinstance(submission, NotSubmitted)
    assert submission.observation.outcome is Outcome.TRANSIENT
    assert submission.error.retryable


async def test_a_guarded_address_is_never_asked(catalog: Catalog) -> None:
    async with Receiver(answering(200, {}, b"{}")) as server, Egress(Guard(allow_http=True), "relay/test") as strict:
        submission = await submit(strict, target(catalog, server.url("")), {}, SwiftClock())
    assert isinstance(submission, NotSubmitted)
    assert server.calls == []
