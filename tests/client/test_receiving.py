"""A receiver takes what the relay has signed, and nothing else."""

import json

import pytest

from relay.client import ClientError, SignatureRefused, verify
from relay.clock import Clock
from relay.dev.sample_event import Receiver, sample_event, signed
from tests.trips import SECRET


def test_a_signed_event_is_given_back_as_what_it_says() -> None:
    clock = Clock()
    event_id, body = sample_event("job.completed", clock)
    call = signed(Receiver("http://receiver.example/", SECRET), event_id, body, clock.now())
    event = verify(["whsec_" + "A" * 32, SECRET], call.headers, call.body)
    assert (event["id"], event["type"], event["data"]["status"]) == (event_id, "job.completed", "completed")


def test_a_body_is_taken_as_the_text_that_a_framework_made_of_it_too() -> None:
    clock, body = Clock(), '{"id": "evt_1", "data": {"title": "Grüße, 你好 😀"}}'
    call = signed(Receiver("http://receiver.example/", SECRET), "evt_1", body.encode(), clock.now())
    assert verify(SECRET, call.headers, body) == json.loads(body)
    assert verify(SECRET, call.headers, bytearray(call.body)) == json.loads(body)  # type: ignore[arg-type]  # also this


def test_a_body_that_was_parsed_is_told_as_such() -> None:
    clock = Clock()
    call = signed(Receiver("http://receiver.example/", SECRET), "evt_1", b"{}", clock.now())
    with pytest.raises(TypeError, match="before it is parsed, not dict"):
        verify(SECRET, call.headers, {})  # type: ignore[arg-type]  # the mistake


def test_who_waits_for_a_relay_that_is_away_does_not_take_a_forged_call_for_it() -> None:
    assert not issubclass(SignatureRefused, ClientError)


def test_a_body_that_was_changed_is_refused() -> None:
    clock = Clock()
    event_id, body = sample_event("job.completed", clock)
    call = signed(Receiver("http://receiver.example/", SECRET), event_id, body, clock.now())
    with pytest.raises(SignatureRefused) as raised:
        verify(SECRET, call.headers, json.dumps(json.loads(body)).encode())
    assert raised.value.reason == "no_match"


@pytest.mark.parametrize("body", [b"[]", b"not JSON"])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    clock = Clock()
    call = signed(Receiver("http://receiver.example/", SECRET), "evt_1", body, clock.now())
    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        verify(SECRET, call.headers, call.body)
