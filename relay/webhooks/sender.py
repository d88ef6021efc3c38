"""One signed call to one receiver, and what it answered, as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from relay import __version__
from relay.clock import Clock
from relay.domain.delivery import BODY_KEPT_BYTES_MAX, Answer, AnswerClass, Attempt, Blame, Delivery, answer_class
from relay.domain.event import Event, payload
from relay.domain.retry_after import retry_after_seconds
from relay.domain.subscription import Subscription
from relay.egress import Answered, Egress, Outgoing, Unanswered
from relay.webhooks.handshake import ORIGIN_HEADER, origin_of
from relay.webhooks.hints import hint_for
from relay.webhooks.signing import signature_header

ANSWER_BYTES_MAX = 65_536
USER_AGENT = f"relay/{__version__} (Standard Webhooks)"
SHOWN_TEXT_MAX = 1024  # characters of one response header that are kept
HIDDEN_VALUE_CHARS_MIN = 8  # a shorter one guards nothing, and stands in many an innocent text


@dataclass(frozen=True, slots=True)
class Stamp:
    """What makes a body a webhook: its id, its moment in seconds since 1970, and the signature over all three."""

    message_id: str
    timestamp: int
    signature: str


def stamped(message_id: str, body: bytes, secrets: Sequence[str], at: datetime) -> Stamp:
    """The body signed with each of the secrets, as of that moment."""
    timestamp = int(at.timestamp())
    return Stamp(message_id, timestamp, signature_header(secrets, message_id, timestamp, body))


def request_headers(
    subscription: Subscription, stamp: Stamp, content_type: str, trace: str, source: str
) -> dict[str, str]:
    """The headers of one call: the owner's own first, so that none of them can replace ours."""
    return {
        **{name.lower(): value for name, value in subscription.headers.items()},
        "content-type": content_type,
        "user-agent": USER_AGENT,
        "traceparent": trace,
        **({ORIGIN_HEADER: origin_of(source)} if subscription.wants_handshake else {}),
        "webhook-id": stamp.message_id,
        "webhook-timestamp": str(stamp.timestamp),
        "webhook-signature": stamp.signature,
    }


class Sender:
    """Makes attempts; it never raises for what a receiver or the network does."""

    def __init__(self, egress: Egress, clock: Clock, source: str, timeout_seconds: float) -> None:
        self._egress = egress
        self._clock = clock
        self._source = source
        self._timeout_seconds = timeout_seconds

    async def attempt(self, delivery: Delivery, event: Event, subscription: Subscription) -> Attempt:
        """One call, signed for this moment, with its answer."""
        body, content_type = payload(event, subscription.payload, self._source)
        attempt_id = self._clock.new_id("att")
        now = self._clock.now()
        stamp = stamped(event.id, body, subscription.living_secrets(now), now)
        trace = traceparent(event.id, attempt_id, event.trace_id)
        headers = request_headers(subscription, stamp, content_type, trace, self._source)
        began = self._clock.monotonic()
        said = await self._egress.send(
            Outgoing(
                method="POST",
                url=subscription.url,
                headers=headers,
                body=body,
                timeout_seconds=self._timeout_seconds,
                body_bytes_max=ANSWER_BYTES_MAX,
            )
        )
        duration_ms = round((self._clock.monotonic() - began) * 1000)
        answer = read_answer(said, subscription, duration_ms, now)
        return Attempt(
            id=attempt_id,
            tenant=delivery.tenant,
            delivery_id=delivery.id,
            number=delivery.attempts_made + 1,
            trigger=delivery.next_trigger,
            started_at=now,
            request_headers=_shown(headers, subscription),
            answer=answer,
        )


def traceparent(event_id: str, attempt_id: str, trace_id: str | None = None) -> str:
    """
    A W3C trace context: `trace_id` goes on, else the event is a trace of its own; each attempt is a span. What is made
    here is derived from the ids.
    """
    trace = trace_id or f"{_hash_of(event_id, 16):032x}"
    span = f"{_hash_of(attempt_id, 8):016x}"
    return f"00-{trace}-{span}-01"


def _hash_of(text: str, size_bytes: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=size_bytes).digest(), "big") or 1


def _shown(headers: dict[str, str], subscription: Subscription) -> dict[str, str]:
    own = {name.lower() for name in subscription.headers}
    return {name: "…" if name in own else value for name, value in headers.items()}


def read_answer(said: Answered | Unanswered, subscription: Subscription, duration_ms: int, now: datetime) -> Answer:
    """What came of a call, as a value that is kept and shown."""
    if isinstance(said, Unanswered):
        return _unanswered(said, subscription, duration_ms)
    kind: AnswerClass = answer_class(said.status_code)
    blame: Blame = "receiver"
    return Answer(
        answer=kind,
        blame=blame,
        status_code=said.status_code,
        response_headers=tuple(
            (name, without_secrets(value, subscription)[:SHOWN_TEXT_MAX]) for name, value in said.headers
        ),
        response_body=without_secrets(_text(said.body[:BODY_KEPT_BYTES_MAX]), subscription),
        is_truncated=said.is_truncated or len(said.body) > BODY_KEPT_BYTES_MAX,
        duration_ms=duration_ms,
        timing=said.timing.to_json(),
        retry_after_seconds=None if kind == "success" else retry_after_seconds(said.headers, now),
        hint=hint_for(said, subscription.url, subscription.payload),
    )


def _unanswered(said: Unanswered, subscription: Subscription, duration_ms: int) -> Answer:
    return Answer(
        answer=said.reason,
        blame=said.blame,
        duration_ms=duration_ms,
        timing=said.timing.to_json(),
        hint=hint_for(said, subscription.url, subscription.payload),
    )


def without_secrets(text: str, subscription: Subscription) -> str:
    """The text less the values of the subscription's headers, which some receivers repeat, and which stay sealed."""
    for value in subscription.headers.values():
        if len(value) >= HIDDEN_VALUE_CHARS_MIN:
            text = text.replace(value, "…")
    return text


def _text(body: bytes) -> str:
    # A NUL is legal in an answer and illegal in PostgreSQL's text.
    return body.decode("utf-8", "replace").replace("\x00", "�")
