"""Sample events look like real ones, and are signed like real ones."""

import json

import pytest
from standardwebhooks import Webhook

from relay.clock import Clock
from relay.dev.sample_event import Receiver, event_bytes, sample_event, signed
from relay.domain.event import Event, event_view, payload
from relay.domain.subscription import EVENT_TYPES, JOB_EVENTS
from relay.webhooks.signing import new_secret

CLOCK = Clock()
SECRET = new_secret(b"0123456789abcdef0123456789abcdef")


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_type_has_a_sample_that_verifies(event_type: str) -> None:
    event_id, body = sample_event(event_type, CLOCK)
    call = signed(Receiver("http://127.0.0.1:1/x", SECRET), event_id, body, CLOCK.now())
    event = Webhook(SECRET).verify(call.body, dict(call.headers))
    assert (event["id"], event["type"]) == (event_id, event_type)
    assert list(event) == ["id", "type", "timestamp", "data"]


@pytest.mark.parametrize("event_type", JOB_EVENTS)
def test_a_jobs_sample_has_the_jobs_shape(event_type: str) -> None:
    data = json.loads(sample_event(event_type, CLOCK)[1])["data"]
    assert data["status"] == event_type.removeprefix("job.")
    assert (data["result"] is not None) == (event_type == "job.completed")
    assert (data["error"] is not None) == (event_type != "job.completed")
    assert "next_poll_at" not in data


def test_an_unknown_type_has_none() -> None:
    with pytest.raises(KeyError):
        sample_event("job.exploded", CLOCK)


def test_an_event_that_was_shown_by_the_api_is_sent_in_the_same_bytes() -> None:
    event_id, body = sample_event("job.completed", CLOCK)
    event = Event(event_id, "default", "job.completed", body.decode(), None, None, CLOCK.now())
    shown = json.loads(json.dumps(event_view(event)))
    assert event_bytes(shown) == payload(event, "full", "")[0] == body
