"""A receiver takes what the relay has signed, and nothing else."""

import json

import pytest

from relay.client import SignatureRefused, verify
from relay.clock import Clock
from relay.dev.sample_event import Receiver, sample_event, signed
from tests.trips import SECRET


def test_a_signed_event_is_given_back_as_what_it_says() -> None:
    clock = Clock()
    event_id, body = sample_event("job.completed", clock)
    call = signed(Receiver("http://receiver.example/", SECRET), event_id, body, clock.now())
    event = verify(["whsec_" + "A" * 32, SECRET], call.headers, call.body)
    assert (event["id"], event["type"], event["data"]["status"]) == (event_id, "job.completed", "completed")


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
