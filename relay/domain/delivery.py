"""One event on its way to one subscription: its attempts, and what each answer makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from relay.domain.backoff import QUICK_RETRY_SECONDS, RETRY_AFTER_SECONDS_MAX, attempt_gap, jittered, last_call
from relay.domain.moments import rfc3339, seconds_after
from relay.domain.subscription import Subscription, SubscriptionStatus

BODY_KEPT_BYTES_MAX = 16_384

AnswerClass = Literal[
    "success",
    "redirect",
    "client_error",
    "server_error",
    "throttled",
    "gone",
    "timeout",
    "refused",
    "reset",
    "dns",
    "tls",
    "blocked",
    "too_large",
]
Blame = Literal["receiver", "network", "relay"]
Trigger = Literal["schedule", "manual", "recovery", "test"]

CONNECTION_FAULTS: frozenset[AnswerClass] = frozenset({"refused", "reset", "dns", "tls"})
COLD_STATUS_CODES = frozenset({502, 503, 504})
HOLDING_STATUS_CODES = frozenset({429, 503})
WISH_HEADER = "webhook-delivery"  # in an answer
DISABLE_WISH = "disable"
ABORT_WISHES = frozenset({"abort", "abort-message"})  # the second is what receivers of Svix have learned to say


class DeliveryStatus(StrEnum):
    """`held` waits for its subscription, `exhausted` for somebody's hand."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    HELD = "held"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"


# What may follow what. An absent pair is a prohibition.
TRANSITIONS: dict[DeliveryStatus, frozenset[DeliveryStatus]] = {
    DeliveryStatus.PENDING: frozenset(
        {
            DeliveryStatus.PENDING,
            DeliveryStatus.SUCCEEDED,
            DeliveryStatus.EXHAUSTED,
            DeliveryStatus.HELD,
            DeliveryStatus.CANCELLED,
        }
    ),
    DeliveryStatus.HELD: frozenset({DeliveryStatus.PENDING, DeliveryStatus.CANCELLED}),
    DeliveryStatus.EXHAUSTED: frozenset({DeliveryStatus.PENDING}),
    DeliveryStatus.SUCCEEDED: frozenset({DeliveryStatus.PENDING}),
    DeliveryStatus.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """`steps` counts used slots of the schedule: attempts by hand and the quick retry use none."""

    id: str
    tenant: str
    event_id: str
    event_type: str
    job_id: str | None
    subscription_id: str
    url: str
    status: DeliveryStatus
    attempts_made: int
    steps: int
    has_quick_retried: bool
    next_trigger: Trigger
    next_attempt_at: datetime | None
    expires_at: datetime | None
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver, or the way to it, said to one attempt; milliseconds in `timing`, None where not reached."""

    answer: AnswerClass
    blame: Blame
    status_code: int | None = None
    response_headers: tuple[tuple[str, str], ...] = ()
    response_body: str = ""
    is_truncated: bool = False
    duration_ms: int = 0
    timing: dict[str, int | None] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    hint: str | None = None

    def header(self, name: str) -> str | None:
        """The first response header of that name, case-insensitively."""
        return next((value for key, value in self.response_headers if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call as it happened; `number` counts from 1 within the delivery."""

    id: str
    tenant: str
    delivery_id: str
    number: int
    trigger: Trigger
    started_at: datetime
    request_headers: dict[str, str]
    answer: Answer


@dataclass(frozen=True, slots=True)
class Next:
    """
    What one answer leads to: the delivery as it stands now, and what its subscription learns.

    `delay_seconds` is None when nothing is due; `hold_seconds` keeps the whole subscription from being called;
    `disables` gives the reason when the subscription is to be disabled.
    """

    delivery: Delivery
    delay_seconds: float | None
    hold_seconds: float = 0.0
    disables: str | None = None


def answer_class(status_code: int) -> AnswerClass:
    """Only 200–299 is a success; a redirect is a failure and is never followed."""
    if 200 <= status_code <= 299:
        return "success"
    if 300 <= status_code <= 399:
        return "redirect"
    if status_code == 410:
        return "gone"
    if status_code == 429:
        return "throttled"
    return "client_error" if 400 <= status_code <= 499 else "server_error"


def step(delivery: Delivery, answer: Answer, now: datetime, schedule: Sequence[float], jitter: float) -> Next:
    """
    What follows from one answer to a pending delivery; `schedule` in seconds, `jitter` in [0, 1).

    A receiver's own wish comes first: `webhook-delivery: disable`, whatever the status, or 410 disables;
    `webhook-delivery: abort` ends this delivery alone. Then the quick retry, once, for what a cold start looks like;
    then the schedule, never sooner than `Retry-After` (honoured up to an hour). Raises ValueError for a delivery that
    is not pending.
    """
    if delivery.status is not DeliveryStatus.PENDING:
        raise ValueError(f"{delivery.id} is {delivery.status}: no attempt of it can be answered")
    made = replace(
        delivery,
        attempts_made=delivery.attempts_made + 1,
        steps=_steps_before(delivery),
        next_trigger="schedule",
    )
    disables = disabling_reason(answer)
    if answer.answer == "success":
        return Next(_closed(made, DeliveryStatus.SUCCEEDED, now), None, disables=disables)
    if disables:
        return Next(replace(made, status=DeliveryStatus.HELD, next_attempt_at=None), None, disables=disables)
    if _wish(answer) in ABORT_WISHES:
        return Next(_closed(made, DeliveryStatus.EXHAUSTED, now), None)
    return _retried(made, answer, now, schedule, jitter)


def disabling_reason(answer: Answer) -> str | None:
    """Why the answer disables its subscription, or None when it does not."""
    if answer.answer == "gone":
        return "the receiver answered 410 Gone"
    return "the receiver asked to be disabled" if _wish(answer) == DISABLE_WISH else None


def hold_seconds(answer: Answer) -> float:
    """For how long the answer forbids every call of its subscription; 0: it does not."""
    return _asked_seconds(answer) if answer.status_code in HOLDING_STATUS_CODES else 0.0


def _wish(answer: Answer) -> str:
    return (answer.header(WISH_HEADER) or "").strip().lower()


def _asked_seconds(answer: Answer) -> float:
    return min(answer.retry_after_seconds or 0.0, RETRY_AFTER_SECONDS_MAX)


def _retried(made: Delivery, answer: Answer, now: datetime, schedule: Sequence[float], jitter: float) -> Next:
    asked = _asked_seconds(answer)
    holds = hold_seconds(answer)
    if answer.blame == "relay" and schedule:
        # A fault of ours costs the receiver none of the attempts that it was promised.
        delay = attempt_gap(schedule, min(made.steps, len(schedule) - 1), made.expires_at, now, jitter)
        return Next(_due(made, now, delay or 0.0), delay)
    is_cold = answer.answer in CONNECTION_FAULTS or answer.status_code in COLD_STATUS_CODES
    if is_cold and not made.has_quick_retried and schedule:
        delay = max(asked, jittered(QUICK_RETRY_SECONDS, jitter))
        made = replace(made, has_quick_retried=True)
        return Next(_due(made, now, delay), delay, holds)
    gap = attempt_gap(schedule, made.steps, made.expires_at, now, jitter)
    if gap is None:
        return Next(_closed(made, DeliveryStatus.EXHAUSTED, now), None, holds)
    extra = last_call(gap, made.expires_at, now, jitter)
    delay = max(asked, gap if extra is None else extra)
    steps = made.steps + (extra is None)
    return Next(_due(replace(made, steps=steps), now, delay), delay, holds)


def _steps_before(delivery: Delivery) -> int:
    """The slots used; an attempt by hand came instead of the planned one, whose slot it gives back."""
    is_by_hand = delivery.next_trigger in ("manual", "recovery")
    return max(delivery.steps - 1, 0) if is_by_hand else delivery.steps


def _due(delivery: Delivery, now: datetime, delay_seconds: float) -> Delivery:
    return replace(delivery, next_attempt_at=seconds_after(now, delay_seconds))


def _closed(delivery: Delivery, status: DeliveryStatus, now: datetime) -> Delivery:
    return replace(delivery, status=status, completed_at=now, next_attempt_at=None)


def has_failed_too_long(subscription: Subscription, now: datetime, disable_after_hours: float) -> bool:
    """True when every attempt of so many hours failed for a reason that was not the relay's."""
    since = subscription.failing_since
    if since is None or subscription.status is not SubscriptionStatus.ACTIVE:
        return False
    return now - since >= timedelta(hours=disable_after_hours)


def delivery_view(delivery: Delivery, attempts: Sequence[Attempt] | None = None) -> dict[str, Any]:
    """The delivery as the API shows it; `attempts` is null in lists, all of them on the single resource."""
    return {
        "id": delivery.id,
        "object": "delivery",
        "event": delivery.event_id,
        "event_type": delivery.event_type,
        "job": delivery.job_id,
        "subscription": delivery.subscription_id,
        "url": delivery.url,
        "status": str(delivery.status),
        "attempts_made": delivery.attempts_made,
        "next_attempt_at": rfc3339(delivery.next_attempt_at),
        "expires_at": rfc3339(delivery.expires_at),
        "created_at": rfc3339(delivery.created_at),
        "completed_at": rfc3339(delivery.completed_at),
        "attempts": None if attempts is None else [attempt_view(attempt) for attempt in attempts],
    }


def attempt_view(attempt: Attempt) -> dict[str, Any]:
    """The attempt as the API shows it."""
    answer = attempt.answer
    return {
        "id": attempt.id,
        "object": "attempt",
        "number": attempt.number,
        "trigger": attempt.trigger,
        "started_at": rfc3339(attempt.started_at),
        "duration_ms": answer.duration_ms,
        "timing": answer.timing,
        "answer": answer.answer,
        "blame": answer.blame,
        "status_code": answer.status_code,
        "request_headers": attempt.request_headers,
        "response_headers": _by_name(answer.response_headers),
        "response_body": answer.response_body,
        "response_truncated": answer.is_truncated,
        "hint": answer.hint,
    }


def _by_name(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Several of one name as RFC 9110, section 5.3, writes them in one line."""
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
