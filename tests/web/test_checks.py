"""Tests of the checks of requests."""

import time
from typing import Any

import pytest

from relay.domain.subscription import EVENT_TYPES
from relay.web.checks import (
    HEADERS_MAX,
    METADATA_KEYS_MAX,
    check,
    event_type_faults,
    header_faults,
    metadata_faults,
    pointer,
)
from relay.web.problems import Problem
from relay.web.schemas import NewJob, NewSubscription


def codes(faults: list[Any]) -> dict[str, str]:
    return {fault.pointer: fault.code for fault in faults}


def test_every_fault_of_a_document_is_named_where_it_is() -> None:
    document = {
        "provider": 5,
        "params": {"a/b": 1, "c": "d"},
        "deadline_seconds": "soon",
        "callback": {"url": "https://example.com", "secret": 1, "colour": "red"},
        "surprise": True,
    }
    checked = check(NewJob, document)
    assert checked.value is None
    assert codes(checked.faults) == {
        "/provider": "invalid_type",
        "/params/a~1b": "invalid_type",
        "/deadline_seconds": "invalid_type",
        "/callback/secret": "invalid_type",
        "/callback/colour": "unknown_field",
        "/surprise": "unknown_field",
    }


def test_what_is_well_formed_is_left_for_further_checks() -> None:
    document = {
        "provider": 5,
        "provider_job_id": "a",
        "params": {"a": 1, "b": "c"},
        "callback": {"url": "https://example.com", "secret": 1},
    }
    fields = check(NewJob, document).fields
    assert fields == {"provider_job_id": "a", "params": {"b": "c"}, "callback": {"url": "https://example.com"}}


def test_a_list_with_one_wrong_entry_is_left_out_whole() -> None:
    checked = check(NewSubscription, {"url": "https://example.com", "event_types": ["job.completed", 1]})
    assert codes(checked.faults) == {"/event_types/1": "invalid_type"}
    assert checked.fields == {"url": "https://example.com"}


def test_null_is_the_same_as_absent_where_a_field_is_optional() -> None:
    job = check(NewJob, {"provider": "camb", "provider_job_id": "a", "params": None, "callback": None}).accepted()
    assert (job.params, job.callback) == (None, None)
    assert codes(check(NewJob, {"provider": None, "provider_job_id": "a"}).faults) == {"/provider": "invalid_type"}


def test_a_document_that_is_no_object_has_one_fault() -> None:
    checked = check(NewJob, ["a"])
    assert codes(checked.faults) == {"": "invalid_type"}
    assert checked.fields == {}


def test_a_place_is_told_of_once() -> None:
    checked = check(NewJob, {"provider": "camb", "params": {"kind": 1}})
    more = metadata_faults({"a": []}, "/metadata") + metadata_faults({"kind": []}, "/params")
    with pytest.raises(Problem) as told:
        checked.accepted(more)
    assert codes(list(told.value.faults)) == {
        "/params/kind": "invalid_type",
        "/metadata/a": "invalid_type",
    }
    assert len(told.value.faults) == 2


def test_very_many_faults_are_found_in_one_go_and_told_in_short() -> None:
    document = {f"k{number}": number for number in range(20_000)}
    began = time.perf_counter()
    checked = check(NewJob, document)
    with pytest.raises(Problem):
        checked.accepted()
    assert len(checked.faults) > 20_000
    assert time.perf_counter() - began < 3  # as many steps as faults; for each fault all of them took minutes


def test_faults_never_repeat_what_was_sent() -> None:
    document = {"provider": "x" * 300, "provider_job_id": ["hush"], "callback": {"url": 7, "secret": "hush" * 100}}
    assert "hush" not in str(check(NewJob, document).faults)


def test_pointers_are_escaped() -> None:
    assert pointer(("a", 0, "b/c~d")) == "/a/0/b~1c~0d"
    assert pointer((), "/a") == "/a"


@pytest.mark.parametrize(
    "metadata", [None, {}, {"a": "b", "c": 1, "d": 2.5, "e": True, "f": None}, {"k" * 64: "v" * 512}]
)
def test_flat_small_metadata_is_fine(metadata: dict[str, Any] | None) -> None:
    assert metadata_faults(metadata, "/metadata") == []


def test_metadata_has_its_limits() -> None:
    metadata = {"": 1, "k" * 65: 1, "a": "v" * 513, "b": {}, "c": []}
    assert codes(metadata_faults(metadata, "/m")) == {
        "/m/": "too_long",
        "/m/" + "k" * 65: "too_long",
        "/m/a": "too_long",
        "/m/b": "invalid_type",
        "/m/c": "invalid_type",
    }
    many = {str(number): 1 for number in range(METADATA_KEYS_MAX + 1)}
    assert codes(metadata_faults(many, "/m")) == {"/m": "too_long"}


@pytest.mark.parametrize(
    "name",
    [
        "webhook-id",
        "Webhook-Signature",
        "WEBHOOK-anything",
        "content-type",
        "Content-Length",
        "host",
        "user-agent",
        "transfer-encoding",
        "connection",
        "traceparent",
        "proxy-authorization",
        "accept-encoding",
        "te",
        "upgrade",
        "expect",
    ],
)
def test_the_relays_own_headers_are_refused(name: str) -> None:
    assert codes(header_faults({name: "x"}, "/headers")) == {f"/headers/{name}": "bad_header"}


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "a\n", "é", "a(b)", "x" * 65, "a\0b", ":method"])
def test_malformed_header_names_are_refused(name: str) -> None:
    assert [fault.code for fault in header_faults({name: "x"}, "/headers")] == ["bad_header"]


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nx-evil: 1",
        "a\nb",
        "a\rb",
        "\n",
        "a\0b",
        " a",
        "a ",
        "\ta",
        "€",
        "a\x7fb",
        "a\x85b",
        "a\x0bb",
        "é",
        "Zoë",
        "x" * 1025,
    ],
)
def test_header_values_that_could_break_out_are_refused(value: str) -> None:
    assert codes(header_faults({"x-a": value}, "/headers")) == {"/headers/x-a": "bad_header"}


def test_ordinary_headers_are_fine() -> None:
    assert header_faults({"authorization": "Bearer abc", "X-Team": "size 5\tof 6", "x-empty": "", "a": "~"}, "/h") == []


def test_headers_are_counted_and_told_apart_without_regard_to_capitals() -> None:
    many = {f"x-{number}": "a" for number in range(HEADERS_MAX + 1)}
    assert codes(header_faults(many, "/headers")) == {"/headers": "too_long"}
    assert codes(header_faults({"X-A": "1", "x-a": "2"}, "/headers")) == {"/headers/x-a": "bad_header"}


def test_unknown_event_types_are_refused_with_the_known_ones() -> None:
    assert event_type_faults(EVENT_TYPES, "/event_types") == []
    (fault,) = event_type_faults(["job.completed", "job.begun"], "/event_types")
    assert (fault.pointer, fault.code) == ("/event_types/1", "unknown_event_type")
    assert all(name in fault.detail for name in EVENT_TYPES)
