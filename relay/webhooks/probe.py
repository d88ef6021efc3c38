"""Calls a receiver as its friends and its enemies would, to see whether it tells them apart."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from relay.clock import Clock
from relay.domain.delivery import AnswerClass, answer_class
from relay.domain.event import Event, event_body, payload
from relay.domain.moments import rfc3339
from relay.domain.subscription import TEST_EVENT, Subscription
from relay.egress import Answered, Egress, Outgoing, Unanswered
from relay.webhooks.findings import (
    Check,
    CheckName,
    Enmity,
    Outcome,
    Said,
    judge_duplicate,
    judge_enemy,
    judge_good,
    look_around,
    not_made,
)
from relay.webhooks.sender import ANSWER_BYTES_MAX, Stamp, request_headers, stamped, traceparent
from relay.webhooks.signing import KEY_BYTES, SECRET_BYTES, TOLERANCE_SECONDS, new_secret, new_signing_key

PROBE_SECONDS_MAX = 25.0  # all calls together; many a host cuts a request off after 30
CALL_SECONDS_MIN = 0.5  # with less left a call is not begun
STALE = timedelta(seconds=2 * TOLERANCE_SECONDS)  # no receiver's clock is wrong enough to take that for fresh
ENEMIES: tuple[Enmity, ...] = ("forged", "stale", "unknown_key")
AFTER_GOOD: tuple[CheckName, ...] = ("duplicate", *ENEMIES)
ANOTHER_BODY = b'{"id":"evt_0","type":"webhook.test","data":{}}'
MESSAGES = {
    "good": "A probe: nothing happened, and the signature is right.",
    "forged": "A probe: nothing happened, and the signature is that of another call; it must be refused.",
    "stale": "A probe: nothing happened, and the signature is right but far too old; it must be refused.",
    "unknown_key": "A probe: nothing happened, and the key of the signature is unknown; it must be refused.",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A body that is ready to be signed."""

    event_id: str
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Told:
    """One call and what came of it."""

    webhook_id: str
    said: Said
    duration_ms: int


Finding = tuple[Check, Told | None]  # None: it took no call of its own


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe found, in the order of looking."""

    subscription: Subscription
    started_at: datetime
    duration_ms: int
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Outcome:
        """The worst of the outcomes; what was skipped stands behind what made it so."""
        outcomes = {check.outcome for check, _ in self.findings}
        grave: tuple[Outcome, ...] = ("failed", "unclear", "warning")
        return next((one for one in grave if one in outcomes), "passed")

    @property
    def tells_apart(self) -> bool | None:
        """Whether the receiver knows its friends from its enemies; None where that cannot be said."""
        outcomes = {check.outcome for check, _ in self.findings if check.name in ENEMIES}
        if "failed" in outcomes:
            return False
        return True if outcomes <= {"passed", "warning"} else None

    @property
    def certificate_expires_at(self) -> datetime | None:
        """When the receiver's certificate runs out; None where it was not seen."""
        seen = [
            told.said.certificate_expires_at for _, told in self.findings if told and isinstance(told.said, Answered)
        ]
        return next((one for one in seen if one is not None), None)


class Probe:
    """Makes the calls of a probe: `webhook.test` events that say what they are, and none of them a delivery."""

    def __init__(self, egress: Egress, clock: Clock, source: str, timeout_seconds: float) -> None:
        self._egress = egress
        self._clock = clock
        self._source = source
        self._timeout_seconds = timeout_seconds

    async def run(self, subscription: Subscription) -> Report:
        """A good call, the same again, then one of each kind that must be refused, if the good one was accepted."""
        started_at, began = self._clock.now(), self._clock.monotonic()
        call = _Calls(subscription, began + PROBE_SECONDS_MAX)
        message = self._message(subscription, "good")
        good = await self._send(call, message, self._stamp(call, message), has_own_connection=True)
        findings: list[Finding] = [(judge_good(good.said, subscription), good)]
        if findings[0][0].outcome == "passed":
            again = await self._send(call, message, self._stamp(call, message))
            findings.append((judge_duplicate(good.said, again.said, subscription), again))
            told = await asyncio.gather(*(self._enemy(call, kind) for kind in ENEMIES))
            findings += [
                (judge_enemy(kind, one.said, subscription), one) for kind, one in zip(ENEMIES, told, strict=True)
            ]
        else:
            findings += [(not_made(name), None) for name in AFTER_GOOD]
        findings += [(check, None) for check in look_around(good.said, subscription, started_at)]
        duration_ms = round((self._clock.monotonic() - began) * 1000)
        return Report(subscription, started_at, duration_ms, tuple(findings))

    async def _enemy(self, call: "_Calls", kind: Enmity) -> Told:
        message = self._message(call.subscription, kind)
        match kind:
            case "forged":
                stamp = self._stamp(call, message, body=ANOTHER_BODY)
            case "stale":
                stamp = self._stamp(call, message, age=STALE)
            case "unknown_key":
                stamp = stamped(message.event_id, message.body, self._strangers(call.subscription), self._clock.now())
        return await self._send(call, message, stamp)

    def _message(self, subscription: Subscription, kind: str) -> Message:
        """A test event in the form that the subscription wants."""
        event_id, now = self._clock.new_id("evt"), self._clock.now()
        data = {"subscription": subscription.id, "message": MESSAGES[kind], "probe": kind}
        body = event_body(event_id, TEST_EVENT, now, data)
        event = Event(event_id, subscription.tenant, TEST_EVENT, body, None, None, now)
        return Message(event_id, *payload(event, subscription.payload, self._source))

    def _stamp(
        self, call: "_Calls", message: Message, *, body: bytes | None = None, age: timedelta = timedelta()
    ) -> Stamp:
        now = self._clock.now()
        secrets = call.subscription.living_secrets(now)
        return stamped(message.event_id, message.body if body is None else body, secrets, now - age)

    def _strangers(self, subscription: Subscription) -> list[str]:
        """Secrets of the same kinds that nobody else has."""
        secrets = [new_secret(self._clock.entropy(SECRET_BYTES))]
        if "v1a" in subscription.signatures:
            secrets.append(new_signing_key(self._clock.entropy(KEY_BYTES)))
        return secrets

    async def _send(self, call: "_Calls", message: Message, stamp: Stamp, *, has_own_connection: bool = False) -> Told:
        began = self._clock.monotonic()
        timeout_seconds = min(self._timeout_seconds, call.ends_at - began)
        if timeout_seconds < CALL_SECONDS_MIN:
            return Told(message.event_id, None, 0)
        trace = traceparent(message.event_id, stamp.signature)
        said = await self._egress.send(
            Outgoing(
                method="POST",
                url=call.subscription.url,
                headers=request_headers(call.subscription, stamp, message.content_type, trace, self._source),
                body=message.body,
                timeout_seconds=timeout_seconds,
                body_bytes_max=ANSWER_BYTES_MAX,
                is_repeatable=not has_own_connection,  # only a new connection shows the certificate
            )
        )
        return Told(message.event_id, said, round((self._clock.monotonic() - began) * 1000))


@dataclass(frozen=True, slots=True)
class _Calls:
    """Whom a probe calls, and until when."""

    subscription: Subscription
    ends_at: float


def probe_view(report: Report) -> dict[str, Any]:
    """The report as the API shows it."""
    return {
        "object": "probe",
        "subscription": report.subscription.id,
        "url": report.subscription.url,
        "started_at": rfc3339(report.started_at),
        "duration_ms": report.duration_ms,
        "verdict": report.verdict,
        "tells_apart": report.tells_apart,
        "certificate_expires_at": rfc3339(report.certificate_expires_at),
        "checks": [_check_view(check, told) for check, told in report.findings],
    }


def _check_view(check: Check, told: Told | None) -> dict[str, Any]:
    said = told.said if told else None
    return {
        "name": check.name,
        "outcome": check.outcome,
        "detail": check.detail,
        "fix": check.fix,
        "webhook_id": told.webhook_id if told else None,
        "answer": _answer(said),
        "status_code": said.status_code if isinstance(said, Answered) else None,
        "duration_ms": told.duration_ms if told else None,
    }


def _answer(said: Said) -> AnswerClass | None:
    match said:
        case Answered():
            return answer_class(said.status_code)
        case Unanswered():
            return said.reason
    return None
