"""The ten definitions beside the five: asked as their pages say, and sure of no more than their samples show."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.domain.observation import Outcome
from relay.egress import Egress
from relay.providers.catalog import OWN_FOLDER, Catalog, check_file
from relay.providers.jwt_hs256 import token
from relay.providers.look import look
from relay.providers.request import Target, list_request, look_request
from tests.providers.swift_clock import SwiftClock
from tests.receivers import Behaviour, Receiver, answering, in_turn

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEN = (
    "assemblyai",
    "azure_batch_synthesis",
    "dashscope",
    "fal",
    "google_operations",
    "kling",
    "minimax",
    "openai_batch",
    "replicate",
    "runway",
)
ALL_OUTCOMES = {outcome.value for outcome in Outcome}
# doc: on the provider's page, or shortened from it; doc-text, doc-vocab: its sentences and words in an answer made up
# around them; schema, sdk-schema: made from a schema; sdk: recorded by an official client; 3p: seen by other clients.
SOURCES = {"doc", "doc-text", "doc-vocab", "doc-example", "schema", "sdk-schema", "sdk", "3p", "guess"}
OPERATION = "projects/12/locations/global/operations/34"
UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def target(catalog: Catalog, name: str, secrets: dict[str, str], job: str = "", url: str | None = None) -> Target:
    definition = catalog.get(name)
    assert definition is not None
    params = {"model": "fal-ai/flux"} if name == "fal" else {}
    return Target(definition, url, secrets, params, job)


def saying(body: object, status: int = 200) -> Behaviour:
    return answering(status, {"content-type": "application/json"}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("name", "job", "url", "secrets", "headers"),
    [
        (
            "assemblyai",
            UUID,
            f"https://api.assemblyai.com/v2/transcript/{UUID}",
            {"api_key": "k"},
            {"Authorization": "k"},
        ),
        (
            "azure_batch_synthesis",
            "my-job-03",
            "https://eastus.api.cognitive.microsoft.com/texttospeech/batchsyntheses/my-job-03?api-version=2024-04-01",
            {"subscription_key": "k"},
            {"Ocp-Apim-Subscription-Key": "k"},
        ),
        (
            "dashscope",
            UUID,
            f"https://dashscope.aliyuncs.com/api/v1/tasks/{UUID}",
            {"api_key": "sk-1"},
            {"Authorization": "Bearer sk-1"},
        ),
        (
            "fal",
            UUID,
            f"https://queue.fal.run/fal-ai/flux/requests/{UUID}/status",
            {"key": "id:secret"},
            {"Authorization": "Key id:secret"},
        ),
        (
            "google_operations",
            OPERATION,
            f"https://texttospeech.googleapis.com/v1/{OPERATION}",
            {"access_token": "ya29.t"},
            {"Authorization": "Bearer ya29.t"},
        ),
        (
            "google_operations",
            "models/veo-3/operations/x1",
            "https://texttospeech.googleapis.com/v1/models/veo-3/operations/x1",
            {"api_key": "AIza"},
            {"x-goog-api-key": "AIza"},
        ),
        (
            "kling",
            "866168216002236456",
            "https://api-singapore.klingai.com/v1/audio/tts/866168216002236456",
            {"access_key": "ak", "secret_key": "sk"},
            {"Authorization": f"Bearer {token('ak', 'sk', now=NOW)}"},
        ),
        (
            "minimax",
            "95157322514444",
            "https://api.minimax.io/v1/query/t2a_async_query_v2?task_id=95157322514444",
            {"api_key": "k"},
            {"Authorization": "Bearer k"},
        ),
        (
            "openai_batch",
            "batch_abc123",
            "https://api.openai.com/v1/batches/batch_abc123",
            {"api_key": "sk-1"},
            {"Authorization": "Bearer sk-1"},
        ),
        (
            "replicate",
            "gm3qorzdhgbfurvjtvhg6dckhu",
            "https://api.replicate.com/v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu",
            {"api_token": "r8_1"},
            {"Authorization": "Bearer r8_1"},
        ),
        (
            "runway",
            UUID,
            f"https://api.dev.runwayml.com/v1/tasks/{UUID}",
            {"api_secret": "key_1"},
            {"Authorization": "Bearer key_1", "X-Runway-Version": "2024-11-06"},
        ),
    ],
)
def test_each_is_asked_as_its_page_says(
    catalog: Catalog, name: str, job: str, url: str, secrets: dict[str, str], headers: dict[str, str]
) -> None:
    request = look_request(target(catalog, name, secrets, job), NOW)
    assert (request.method, request.url) == ("GET", url)
    assert request.headers == {"Accept": "application/json", **headers}


@pytest.mark.parametrize("name", TEN)
def test_each_has_a_sample_of_every_outcome_and_says_where_it_is_from(catalog: Catalog, name: str) -> None:
    samples = catalog.samples(name)
    assert {sample.outcome for sample in samples if sample.call == "look"} == ALL_OUTCOMES
    assert {sample.source for sample in samples} <= SOURCES
    head = (OWN_FOLDER / f"{name}.toml").read_text().split("\nname = ")[0]
    assert "Sources: " in head
    assert "How sure: " in head


@pytest.mark.parametrize("name", TEN)
def test_no_expression_raises_on_a_sample(name: str) -> None:
    with capture_logs() as logs:
        assert check_file(OWN_FOLDER / f"{name}.toml", NOW) == []
    assert logs == []


async def test_an_error_inside_the_200_of_a_second_step_is_asked_again(egress: Egress, catalog: Catalog) -> None:
    ended = {"task_id": 1, "status": "Success", "file_id": 42, "base_resp": {"status_code": 0, "status_msg": "success"}}
    limited = {"file": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}
    link = "https://files.example/42.tar"
    there = {"file": {"file_id": 42, "download_url": link}, "base_resp": {"status_code": 0, "status_msg": "success"}}
    async with Receiver(in_turn(saying(ended), saying(limited), saying(there))) as server:
        asked = target(catalog, "minimax", {"api_key": "a-key-of-the-test"}, "1", server.url(""))
        observation = await look(egress, asked, SwiftClock())
    assert [call.target for call in server.calls[1:]] == ["/v1/files/retrieve?file_id=42"] * 2
    assert observation.result is not None
    assert [file.url for file in observation.result.files] == [link]


async def test_a_second_step_that_stays_an_error_says_so(egress: Egress, catalog: Catalog) -> None:
    ended = {"task_id": 1, "status": "Success", "file_id": 42, "base_resp": {"status_code": 0}}
    limited = {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}
    async with Receiver(in_turn(saying(ended), *[saying(limited)] * 3)) as server:
        asked = target(catalog, "minimax", {"api_key": "a-key-of-the-test"}, "1", server.url(""))
        observation = await look(egress, asked, SwiftClock())
    assert observation.outcome is Outcome.COMPLETED
    assert observation.detail == "the result's files could not be fetched: rate limit"
    assert observation.result is not None
    assert (observation.result.files, observation.result.result_id) == ((), "42")


async def test_a_second_step_can_go_by_the_id_of_the_job(egress: Egress, catalog: Catalog) -> None:
    output: dict[str, Any] = {"audio": {"url": "https://files.example/a.mp3", "content_type": "audio/mpeg"}}
    async with Receiver(in_turn(saying({"status": "COMPLETED", "request_id": UUID}), saying(output))) as server:
        asked = target(catalog, "fal", {"key": "id:of-the-test"}, UUID, server.url(""))
        observation = await look(egress, asked, SwiftClock())
    assert server.calls[1].target == f"/fal-ai/flux/requests/{UUID}"
    assert observation.result is not None
    assert [(file.kind, file.content_type) for file in observation.result.files] == [("audio", "audio/mpeg")]


def test_a_list_that_skips_is_asked_for_by_the_page(catalog: Catalog) -> None:
    asked = target(catalog, "azure_batch_synthesis", {"subscription_key": "k"})
    assert asked.definition.listing is not None
    request = list_request(asked, asked.definition.listing, 200, None, NOW)
    assert request.url.endswith("/texttospeech/batchsyntheses?api-version=2024-04-01&skip=200&maxpagesize=100")
