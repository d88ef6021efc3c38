"""One request for many jobs, taken apart into what a look at each would have said."""

import json
from datetime import UTC, datetime

import pytest

from relay.domain.observation import Outcome
from relay.egress import Egress
from relay.providers.catalog import Catalog
from relay.providers.definition import Definition
from relay.providers.listing import ListPage, classify_list, list_page
from relay.providers.request import Target
from tests.provider_stub import CREDENTIALS
from tests.providers.made_up import acme
from tests.providers.swift_clock import SwiftClock
from tests.receivers import Receiver, answering, resetting

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def named(catalog: Catalog, name: str) -> Definition:
    definition = catalog.get(name)
    assert definition is not None
    return definition


def read(definition: Definition, body: object, status: int = 200, offset: int = 0) -> ListPage:
    return classify_list(definition, status, [], json.dumps(body).encode(), NOW, offset=offset)


def test_each_job_is_seen_as_a_look_at_it_would_have_been(catalog: Catalog) -> None:
    files = {"audio_file_url": "https://a.example/a.wav", "audio_srt_file_url": "https://a.example/a.srt"}
    page = read(
        named(catalog, "huawei_metastudio"),
        {
            "count": 5,
            "data": [
                {"job_id": "a", "job_state": "SUCCEED", "files": [files]},
                {"job_id": "b", "job_state": "FAILED", "fail_msg": "tts failed"},
                {"job_id": "c", "job_state": "PROCESSING"},
                {"job_id": "d", "job_state": "SUCCEED", "files": []},
                {"job_state": "WAITING"},
            ],
        },
    )
    outcomes = {job: seen.outcome for job, seen in page.observations.items()}
    assert outcomes == {"a": "completed", "b": "failed", "c": "pending", "d": "pending"}
    result, error = page.observations["a"].result, page.observations["b"].error
    assert result is not None
    assert [file.kind for file in result.files] == ["audio", "subtitles"]
    assert error is not None
    assert error.message == "tts failed"
    assert (page.is_last, page.next_offset, page.problem) == (True, 5, None)


def test_the_total_says_whether_there_is_more(catalog: Catalog) -> None:
    huawei = named(catalog, "huawei_metastudio")
    body = {"count": 150, "data": [{"job_id": str(n), "job_state": "WAITING"} for n in range(100)]}
    first = read(huawei, body)
    assert (first.is_last, first.next_offset) == (False, 100)
    assert read(huawei, {"count": 150, "data": body["data"][:50]}, offset=100).is_last  # type: ignore[index]  # the sample's body is an object
    assert read(huawei, {"count": 150, "data": []}, offset=100).is_last


def test_without_a_total_only_an_empty_page_is_the_last(catalog: Catalog) -> None:
    vocu = named(catalog, "vocu")
    full = [{"id": str(n), "status": "pending"} for n in range(100)]
    assert not read(vocu, {"status": 200, "data": full}).is_last
    cut = read(vocu, {"status": 200, "data": full[:20]}, offset=40)
    assert (cut.is_last, cut.next_offset) == (False, 60)
    assert read(vocu, {"status": 200, "data": []}, offset=60).is_last


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (401, {"status": 401, "code": "AUTH_UNAUTHORIZED"}, "auth"),
        (429, {"code": "RATE_LIMIT_EXCEEDED"}, "throttled"),
        (500, {}, "transient"),
        (200, {"status": 200, "data": None}, "unknown"),
        (200, {"status": 401, "message": "no"}, "auth"),
    ],
)
def test_a_refused_list_is_a_problem_and_says_nothing_of_any_job(
    catalog: Catalog, status: int, body: object, outcome: str
) -> None:
    page = read(named(catalog, "vocu"), body, status)
    assert page.observations == {}
    assert page.is_last
    assert page.problem is not None
    assert page.problem.outcome == outcome


def test_a_provider_without_a_list_has_none(catalog: Catalog) -> None:
    with pytest.raises(LookupError, match="camb has no list"):
        read(named(catalog, "camb"), {})


async def test_a_page_is_asked_for_over_the_wire(egress: Egress, catalog: Catalog) -> None:
    body = json.dumps({"status": 200, "data": [{"id": "a", "status": "generated", "metadata": {}}]}).encode()
    secrets = CREDENTIALS["vocu"]["secrets"]
    async with Receiver(answering(200, {}, body)) as server:
        page = await list_page(
            egress, Target(named(catalog, "vocu"), server.url(""), secrets, {}), SwiftClock(), offset=100
        )
    assert server.calls[0].target == "/api/tts/generate?limit=100&offset=100"
    assert page.observations["a"].outcome is Outcome.COMPLETED
    assert page.next_offset == 101


async def test_a_broken_wire_is_a_transient_problem(egress: Egress, catalog: Catalog) -> None:
    async with Receiver(resetting()) as server:
        target = Target(named(catalog, "vocu"), server.url(""), CREDENTIALS["vocu"]["secrets"], {})
        page = await list_page(egress, target, SwiftClock())
    assert page.problem is not None
    assert page.problem.outcome is Outcome.TRANSIENT


async def test_a_list_of_a_provider_without_one_is_not_asked_for(egress: Egress) -> None:
    with pytest.raises(LookupError, match="acme has no list"):
        await list_page(egress, Target(acme(), None, {"token": "t"}, {}), SwiftClock())
