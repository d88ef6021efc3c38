"""One signed call to one receiver, and what it answered, as values."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

from relay import __version__
from relay.clock import Clock
from relay.domain.delivery import BODY_KEPT_BYTES_MAX, Answer, AnswerClass, Attempt, Blame, Delivery, answer_class
from relay.domain.event import Event, payload
from relay.domain.retry_after import retry_after_seconds
from relay.domain.subscription import Subscription
from relay.egress import Answered, Egress, Outgoing, Unanswered
from relay.webhooks.signing import signature_header

ANSWER_BYTES_MAX = 65_536
USER_AGENT = f"relay/{__version__} (Standard Webhooks)"
SHOWN_TEXT_MAX = 1024  # characters of one response header that are kept


def request_headers(
    subscription: Subscription, event: Event, body: bytes, content_type: str, now: datetime, trace: str
) -> dict[str, str]:
    """The headers of one attempt: the owner's own first, so that none of them can replace ours."""
    timestamp = int(now.timestamp())
    return {
        **{name.lower(): value for name, value in subscription.headers.items()},
        "content-type": content_type,
        "user-agent": USER_AGENT,
        "traceparent": trace,
        "webhook-id": event.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature_header(subscription.living_secrets(now), event.id, timestamp, body),
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
        headers = request_headers(subscription, event, body, content_type, now, traceparent(event.id, attempt_id))
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
        answer = _answered(said, duration_ms, now) if isinstance(said, Answered) else _unanswered(said, duration_ms)
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


def traceparent(event_id: str, attempt_id: str) -> str:
    """A W3C trace context: one trace for an event, one span for an attempt, both derived from their ids."""
    trace = f"{_hash_of(event_id, 16):032x}"
    span = f"{_hash_of(attempt_id, 8):016x}"
    return f"00-{trace}-{span}-01"


def _hash_of(text: str, size_bytes: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=size_bytes).digest(), "big") or 1


def _shown(headers: dict[str, str], subscription: Subscription) -> dict[str, str]:
    own = {name.lower() for name in subscription.headers}
    return {name: "…" if name in own else value for name, value in headers.items()}


def _answered(said: Answered, duration_ms: int, now: datetime) -> Answer:
    kind: AnswerClass = answer_class(said.status_code)
    blame: Blame = "receiver"
    return Answer(
        answer=kind,
        blame=blame,
        status_code=said.status_code,
        response_headers=tuple((name, value[:SHOWN_TEXT_MAX]) for name, value in said.headers),
        response_body=_text(said.body[:BODY_KEPT_BYTES_MAX]),
        is_truncated=said.is_truncated or len(said.body) > BODY_KEPT_BYTES_MAX,
        duration_ms=duration_ms,
        timing=said.timing.to_json(),
        retry_after_seconds=None if kind == "success" else retry_after_seconds(said.headers, now),
        hint=hint_for(said.status_code, said.headers),
    )


def _unanswered(said: Unanswered, duration_ms: int) -> Answer:
    return Answer(
        answer=said.reason,
        blame=said.blame,
        duration_ms=duration_ms,
        timing=said.timing.to_json(),
        hint=HINTS.get(said.reason),
    )


def _text(body: bytes) -> str:
    # A NUL is legal in an answer and illegal in PostgreSQL's text.
    return body.decode("utf-8", "replace").replace("\x00", "�")


HINTS: dict[str, str] = {
    "timeout": "The receiver did not finish answering in time: answer 2xx first and do the work afterwards.",
    "refused": "Nothing accepts connections at that address and port, or the way to it is closed.",
    "reset": "The connection was closed before an answer came.",
    "dns": "The name of the host does not resolve: check its spelling and its DNS record.",
    "tls": "The TLS handshake failed: check that the certificate is valid, complete and issued for this name.",
    "blocked": "Nothing accepts connections at that address and port, or the way to it is closed.",
}


def hint_for(status_code: int, headers: Sequence[tuple[str, str]]) -> str | None:
    """One sentence that says the fix, for answers that have a usual one."""
    if 300 <= status_code <= 399:
        place = next((value for name, value in headers if name.lower() == "location"), None)
        where = f" ({place[:200]})" if place else ""
        return f"Redirects are never followed: subscribe with the final URL{where}."
    return {
        401: "The receiver asks for a sign-in: exempt this path, or give the subscription the header it wants.",
        403: "Something in front of the receiver refuses the call: exempt the webhook's path from it.",
        404: "The receiver has no such path: check the subscription's URL.",
        405: "The receiver does not take POST at that path.",
        410: "The receiver says that it is gone: the subscription was disabled.",
        413: "The body is too large for the receiver: choose `payload: thin`.",
        415: "The receiver wants another content type: check what it expects of a webhook.",
    }.get(status_code)
