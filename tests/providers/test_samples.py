"""A sample that is not taken for what it says is named, whichever request it answers."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.providers.samples import Sample, check_sample, check_samples, parse_samples
from tests.providers.made_up import ACME_SAMPLES, acme

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def faults(more: str = "", **told: Any) -> list[str]:
    sample = Sample(**{"source": "guess", "status": 200, "outcome": "completed", **told})
    return check_sample(acme(more), sample, NOW)


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"outcome": "pending"}, "outcome is 'completed', should be 'pending'"),
        ({"provider_status": "ended"}, "provider_status is 'done', should be 'ended'"),
        ({"files": ()}, "number of files is 1, should be 0"),
        (
            {"files": [{"kind": "part", "url": "https://a.example/x"}]},
            "files.0.kind is 'audio', should be 'part'",
        ),
        ({"result_id": "7"}, "result_id is None, should be '7'"),
        ({"error": {"code": "timeout"}}, "error.code is None, should be 'timeout'"),
        ({"pauses": "auth_failed"}, "pauses is None, should be 'auth_failed'"),
        ({"retry_after_seconds": 1.0}, "retry_after_seconds is None, should be 1.0"),
    ],
)
def test_what_differs_in_a_look_is_named(told: dict[str, Any], fault: str) -> None:
    assert fault in faults(body={"status": "done", "url": "https://a.example/x"}, **told)


LIST = '[list]\npath = "/jobs"\nquery = { o = "{offset}" }\npage_size = 2\nitems = "body.jobs"\nid = "id"\nanswer = "@"'
FETCH = '[fetch]\npath = "/files/{result_id}"\nwhen = "body.ok"\n[[fetch.files]]\nkind = "audio"\nurl = "body.url"\n'
FETCH += '[result]\nid = "body.id"'
SUBMIT = '[submit]\npath = "/jobs"\nid = "body.id"'


@pytest.mark.parametrize(
    ("more", "told", "expected"),
    [
        ("", {"call": "list", "body": {}}, ["the definition has no list"]),
        ("", {"call": "submit", "body": {}}, ["the definition has no submit"]),
        ("", {"call": "fetch", "body": {}}, ["the definition has no fetch"]),
        (
            LIST,
            {"call": "list", "body": {"jobs": [{"id": "a", "status": "done"}]}, "outcome": "listed", "jobs": {}},
            ["jobs is {'a': <Outcome.COMPLETED: 'completed'>}, should be {}"],
        ),
        (LIST, {"call": "list", "status": 429, "body": {}, "outcome": "throttled"}, []),
        (FETCH, {"call": "fetch", "body": {"ok": True}, "outcome": "fetched"}, []),
        (FETCH, {"call": "fetch", "body": {"ok": False}, "outcome": "not_fetched"}, []),
        (FETCH, {"call": "fetch", "status": 422, "body": {}, "outcome": "not_fetched"}, []),
        (FETCH, {"call": "fetch", "body": {}, "outcome": "fetched"}, ["outcome is 'not_fetched', should be 'fetched'"]),
        (
            SUBMIT,
            {"call": "submit", "body": {"id": "a"}, "outcome": "submitted", "provider_job_id": "b"},
            ["provider_job_id is 'a', should be 'b'"],
        ),
        (
            SUBMIT,
            {"call": "submit", "status": 400, "body": {}, "outcome": "unclear", "error": {"code": "timeout"}},
            [
                "outcome is 'not_submitted', should be 'unclear'",
                "error.code is 'invalid_request', should be 'timeout'",
            ],
        ),
    ],
)
def test_what_differs_in_another_call_is_named(more: str, told: dict[str, Any], expected: list[str]) -> None:
    assert faults(more, **told) == expected


@pytest.mark.parametrize(
    ("more", "told", "lacks"),
    [
        (LIST, [], "a list with a job"),
        (LIST, [{"call": "list", "body": {"jobs": []}, "outcome": "listed", "jobs": {}}], "a list with a job"),
        (LIST, [{"call": "list", "body": {"jobs": [{"id": "a"}]}, "outcome": "listed"}], "a list with a job"),
        (LIST, [{"call": "list", "body": {"jobs": [{"id": "a", "status": "done"}]}, "jobs": {"a": "completed"}}], None),
        (FETCH, [], "a fetch that is fetched"),
        (FETCH, [{"call": "fetch", "body": {}, "outcome": "not_fetched"}], "a fetch that is fetched"),
        (FETCH, [{"call": "fetch", "body": {"ok": True}, "outcome": "fetched"}], None),
        (SUBMIT, [], "a submit that made a job"),
        (SUBMIT, [{"call": "submit", "status": 400, "body": {}, "outcome": "not_submitted"}], "a submit that made a"),
        (SUBMIT, [{"call": "submit", "body": {"id": "a"}, "outcome": "submitted", "provider_job_id": "a"}], None),
    ],
)
def test_each_call_of_a_definition_has_a_sample_that_shows_it(
    more: str, told: list[dict[str, Any]], lacks: str | None
) -> None:
    of_call = [Sample(**{"source": "guess", "status": 200, "outcome": "listed", **one}) for one in told]
    samples = (*parse_samples(json.dumps(ACME_SAMPLES), "acme"), *of_call)
    faults = check_samples(acme(more), samples, NOW)
    assert faults == [] if lacks is None else [lacks in fault for fault in faults] == [True]


def test_a_list_whose_answer_has_no_state_is_found_out_by_its_sample() -> None:
    told = {"body": {"jobs": [{"id": "a", "phase": "done"}]}, "jobs": {"a": "completed"}}
    [fault] = faults(LIST, call="list", outcome="listed", **told)
    assert fault.startswith("jobs is {'a': <Outcome.UNKNOWN: 'unknown'>}, should be")


def test_a_sample_is_bytes_and_headers_for_whoever_plays_it() -> None:
    page, answer = parse_samples(
        '[{"source": "guess", "status": 502, "text": "<html>", "outcome": "transient"},'
        ' {"source": "doc", "status": 200, "headers": {"Content-Type": "a/b"}, "body": null, "outcome": "unknown"}]',
        "x.samples.json",
    )
    assert (page.payload(), page.header_items()) == (b"<html>", [("content-type", "text/html; charset=utf-8")])
    assert (answer.payload(), answer.header_items()) == (b"null", [("Content-Type", "a/b")])
