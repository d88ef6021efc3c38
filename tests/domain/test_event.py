"""An event is said once, in bytes that never change."""

import json
import re
from dataclasses import replace
from datetime import datetime
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.event import (
    CLOUDEVENTS_TYPE,
    NOT_IN_EVENTS,
    THIN_FIELDS,
    compact,
    event_body,
    event_view,
    job_event_data,
    job_view,
    payload,
)
from relay.domain.job import Job, JobStatus
from relay.domain.subscription import EVENT_TYPES, JOB_EVENTS, PayloadForm
from tests.domain.specimens import NOW, a_job, an_event, later

SOURCE = "https://relay.example"
FORMS: tuple[PayloadForm, ...] = get_args(PayloadForm)
TEXT = st.text(max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
DATA = st.dictionaries(TEXT, JSON, max_size=5)
RESULT = {
    "files": [{"kind": "audio", "url": "https://files.example/a?x=1&y=ü", "expires_at": None}],
    "result_id": "7",
    "raw": {"z": 1.0, "a": [1e-7, 0.1], "ü": "日本\u0000\u2028</script>"},
}


def a_completed_job(**changes: Any) -> Job:
    """A job that has ended with RESULT."""
    return replace(a_job(), status=JobStatus.COMPLETED, completed_at=later(9), polls=3, result=RESULT, **changes)


def data_of(job: Job) -> dict[str, Any]:
    """What the job's event carries."""
    return job_event_data(job_view(job, SOURCE, f"{SOURCE}/r/token"))


@given(DATA, st.sampled_from(FORMS))
def test_every_attempt_sends_the_same_bytes(data: dict[str, Any], form: PayloadForm) -> None:
    event = an_event(data)
    stored = replace(event, body=event.body.encode().decode())
    assert payload(event, form, SOURCE) == payload(event, form, SOURCE) == payload(stored, form, SOURCE)


@given(DATA)
def test_the_full_form_is_the_committed_body_byte_for_byte(data: dict[str, Any]) -> None:
    event = an_event(data)
    assert payload(event, "full", SOURCE) == (event.body.encode(), "application/json")
    assert event.data == data


@given(DATA, st.sampled_from(FORMS))
def test_every_form_is_compact_json_in_utf_8(data: dict[str, Any], form: PayloadForm) -> None:
    body, _ = payload(an_event(data), form, SOURCE)
    assert compact(json.loads(body)).encode() == body


@given(DATA)
def test_keys_keep_their_order_and_numbers_their_spelling(data: dict[str, Any]) -> None:
    body, _ = payload(an_event(data), "cloudevents", SOURCE)
    assert json.dumps(json.loads(body)["data"]) == json.dumps(data)


def test_text_beyond_ascii_is_sent_as_it_is() -> None:
    """S4."""
    body, _ = payload(an_event({"text": "ü日本"}), "full", SOURCE)
    assert "ü日本".encode() in body


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_say_is_refused_before_it_is_committed(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        event_body("evt_1", "job.completed", NOW, {"raw": value})


def test_the_full_form_has_the_four_fields_of_the_contract_in_their_order() -> None:
    body, _ = payload(an_event(data_of(a_completed_job())), "full", SOURCE)
    told = json.loads(body)
    assert list(told) == ["id", "type", "timestamp", "data"]
    assert told["timestamp"] == "2026-03-04T05:06:07.890Z"


def test_the_thin_form_keeps_what_a_receiver_needs_to_ask_for_the_rest() -> None:
    body, content_type = payload(an_event(data_of(a_completed_job(metadata={"order": 7}))), "thin", SOURCE)
    told = json.loads(body)
    assert list(told) == ["id", "type", "timestamp", "data"]
    assert tuple(told["data"]) == THIN_FIELDS
    assert told["data"]["metadata"] == {"order": 7}
    assert told["data"]["result_url"] == f"{SOURCE}/r/token"
    assert content_type == "application/json"


def test_an_event_of_no_job_is_whole_in_its_thin_form_too() -> None:
    paused = an_event({"credential": "crd_1", "status": "auth_failed"}, type="credential.paused")
    assert payload(paused, "thin", SOURCE) == payload(paused, "full", SOURCE)
    assert json.loads(payload(paused, "thin", SOURCE)[0])["data"]["credential"] == "crd_1"


def test_the_cloudevents_form_is_structured_mode_1_0() -> None:
    event = an_event(data_of(a_completed_job()))
    body, content_type = payload(event, "cloudevents", SOURCE)
    told = json.loads(body)
    assert content_type == CLOUDEVENTS_TYPE == "application/cloudevents+json"
    assert told.pop("data") == event.data
    assert told == {
        "specversion": "1.0",
        "id": event.id,
        "source": SOURCE,
        "type": "job.completed",
        "time": "2026-03-04T05:06:07.890Z",
        "datacontenttype": "application/json",
        "subject": event.job_id,
    }


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_event_keeps_the_rules_of_cloudevents(event_type: str) -> None:
    # https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md, and its JSON format
    job_id = "job_1" if event_type in JOB_EVENTS else None
    body, content_type = payload(an_event({"id": "x"}, type=event_type, job_id=job_id), "cloudevents", SOURCE)
    told = json.loads(body)
    assert content_type == "application/cloudevents+json"
    attributes = {name: value for name, value in told.items() if name != "data"}
    assert {"id", "source", "specversion", "type"} <= set(attributes)
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in attributes)
    assert all(isinstance(value, str) and value for value in attributes.values())
    assert attributes["specversion"] == "1.0"
    assert urlsplit(attributes["source"]).scheme == "https"  # an absolute URI, though a reference would do
    assert datetime.fromisoformat(attributes["time"]).tzinfo is not None
    assert isinstance(told["data"], dict)
    assert "data_base64" not in told


def test_a_cloudevent_about_no_job_has_no_subject() -> None:
    body, _ = payload(an_event({}, job_id=None, ending_of=None, type="webhook.test"), "cloudevents", SOURCE)
    assert "subject" not in json.loads(body)


def test_an_ended_jobs_event_is_its_view_less_what_only_a_living_job_has() -> None:
    view = job_view(a_completed_job(), SOURCE, None, deliveries={"pending": 1})
    assert set(view) - set(job_event_data(view)) == set(NOT_IN_EVENTS)


def test_the_shape_of_a_job_never_changes() -> None:
    fresh = job_view(a_job(), SOURCE, None)
    ended = job_view(
        a_completed_job(), SOURCE, f"{SOURCE}/r/x", next_poll_at=NOW, paused_reason="auth_failed", deliveries={}
    )
    assert list(fresh) == list(ended)
    assert [name for name, value in fresh.items() if value is None] == [
        "provider_status",
        "started_at",
        "completed_at",
        "next_poll_at",
        "paused_reason",
        "result",
        "error",
        "result_url",
        "deliveries",
    ]


def test_a_job_says_where_it_can_be_read() -> None:
    assert job_view(a_job(), SOURCE, None)["url"] == f"{SOURCE}/v1/jobs/{a_job().id}"


def test_an_event_is_shown_with_its_body_and_the_job_it_is_about() -> None:
    event = an_event({"a": 1})
    assert event_view(event) == {
        "object": "event",
        "job": event.job_id,
        "id": event.id,
        "type": "job.completed",
        "timestamp": "2026-03-04T05:06:07.890Z",
        "data": {"a": 1},
    }
