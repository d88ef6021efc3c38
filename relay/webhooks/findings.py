"""What a probe's answers say of a receiver: a verdict on each, and one sentence with what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from relay.domain.moments import rfc3339
from relay.domain.subscription import Subscription
from relay.egress import Answered, Unanswered
from relay.webhooks.hints import CERTIFICATE_FIXES, asks_to_sign_in, hint_for, page_of, redirect_of

Said = Answered | Unanswered | None  # None: no time was left to make the call
Enmity = Literal["forged", "stale", "unknown_key"]
CheckName = Literal[
    "good", "duplicate", "forged", "stale", "unknown_key", "scheme", "certificate", "redirect", "protection_page"
]
Outcome = Literal["passed", "warning", "unclear", "skipped", "failed"]

CERTIFICATE_SOON = timedelta(days=21)  # authorities that renew by themselves do so well before
REFUSALS = frozenset(range(400, 500)) - {408, 425, 429}  # those speak of the moment, not of the call

VERIFY_FIX = (
    "Check that the receiver verifies with this subscription's secret, over the body's bytes as they came; "
    "`relay verify` explains a captured call."
)
ENEMY_FIXES: dict[Enmity, str] = {
    "forged": "Verify `webhook-signature` over id, timestamp and raw body before anything else, and answer 401.",
    "stale": "Refuse a `webhook-timestamp` that is more than five minutes away from the receiver's clock.",
    "unknown_key": "Compare with a signature that the receiver computes itself with the subscription's secret.",
}
ENEMY_WORDS: dict[Enmity, str] = {
    "forged": "a call with the signature of another one",
    "stale": "a call that was signed ten minutes ago",
    "unknown_key": "a call that was signed with an unknown key",
}
DEDUPLICATE_FIX = "Remember the `webhook-id` of what was handled, answer 2xx when it comes again, and do nothing more."


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `fix` is None where nothing needs to be done."""

    name: CheckName
    outcome: Outcome
    detail: str
    fix: str | None = None


def judge_good(said: Said, subscription: Subscription) -> Check:
    """The call that a receiver must accept."""
    if not isinstance(said, Answered):
        return Check("good", "failed", _words(said), _hint(said, subscription))
    is_success = 200 <= said.status_code <= 299
    if is_success and page_of(said) is None:
        return Check("good", "passed", f"A good call was accepted with {said.status_code}.")
    detail = f"A good call was {'answered by a web page' if is_success else 'not accepted'}: {said.status_code}."
    is_refused = said.status_code in (400, 401, 403, 422) and page_of(said) is None and not asks_to_sign_in(said)
    return Check("good", "failed", detail, VERIFY_FIX if is_refused else _hint(said, subscription))


def judge_duplicate(first: Said, second: Said, subscription: Subscription) -> Check:
    """The same call once more, which must be acknowledged and not acted on."""
    if not isinstance(second, Answered):
        return Check("duplicate", "unclear", _words(second), _hint(second, subscription))
    if not 200 <= second.status_code <= 299:
        detail = f"The same webhook-id again was answered with {second.status_code}: it would be sent once more."
        return Check("duplicate", "failed", detail, DEDUPLICATE_FIX)
    if isinstance(first, Answered) and _same(first, second):
        detail = f"The same webhook-id again was answered just as before ({second.status_code}), as it should be; "
        return Check(
            "duplicate", "passed", detail + "if it was acted on twice cannot be seen from here.", DEDUPLICATE_FIX
        )
    return Check("duplicate", "passed", f"The same webhook-id again had an answer of its own ({second.status_code}).")


def judge_enemy(kind: Enmity, said: Said, subscription: Subscription) -> Check:
    """A call that a receiver must refuse."""
    words = ENEMY_WORDS[kind]
    if not isinstance(said, Answered):
        return Check(kind, "unclear", f"Of {words} nothing can be said: {_words(said)}", _hint(said, subscription))
    code = said.status_code
    if 200 <= code <= 299:
        return Check(kind, "failed", f"The receiver accepted {words} ({code}).", ENEMY_FIXES[kind])
    if code in REFUSALS:
        return Check(kind, "passed", f"The receiver refused {words} ({code}).")
    if code == 500:
        fix = "Answer 400 or 401 to a call that does not verify, in place of breaking on it."
        return Check(kind, "warning", f"The receiver broke on {words} (500).", fix)
    return Check(
        kind, "unclear", f"The receiver neither accepted nor refused {words} ({code}).", _hint(said, subscription)
    )


def look_around(said: Said, subscription: Subscription, now: datetime) -> Iterator[Check]:
    """What the good call met on its way: scheme, certificate, redirects, what stands in front of the receiver."""
    url = subscription.url
    is_encrypted = urlsplit(url).scheme == "https"
    if is_encrypted:
        yield Check("scheme", "passed", "The URL's scheme is https.")
    else:
        fix = "Serve the receiver over https and subscribe with that URL: events carry links to results."
        yield Check("scheme", "warning", "Calls go over plain http, for everybody on the way to read.", fix)
    yield _certificate(said, now) if is_encrypted else _skipped("certificate", "Plain http shows no certificate.")
    if not isinstance(said, Answered):
        yield _skipped("redirect", "There was no answer to look at.")
        yield _skipped("protection_page", "There was no answer to look at.")
        return
    redirect, page = redirect_of(said, url), page_of(said)
    if redirect is None:
        yield Check("redirect", "passed", "The receiver does not redirect.")
    else:
        kind = redirect.kind.replace("_", " ")
        yield Check("redirect", "failed", f"The receiver redirects ({said.status_code}, {kind}).", redirect.fix)
    if page is None:
        yield Check("protection_page", "passed", "Nothing answers in the receiver's place.")
    else:
        words = {
            "challenge": "A bot check",
            "sign_in": "A sign-in page",
            "tunnel": "A tunnel",
            "web_page": "A web page",
        }
        yield Check("protection_page", "failed", f"{words[page.kind]} answers in the receiver's place.", page.fix)


def not_made(name: CheckName) -> Check:
    """A call that would say nothing, as the good one was not accepted."""
    return _skipped(name, "Not called, for the good call was not accepted.")


def _skipped(name: CheckName, detail: str) -> Check:
    return Check(name, "skipped", detail)


def _certificate(said: Said, now: datetime) -> Check:
    if isinstance(said, Unanswered) and said.reason == "tls":
        return Check("certificate", "failed", f"{_sentence(said.detail)}.", CERTIFICATE_FIXES[said.certificate_fault])
    expires_at = said.certificate_expires_at if isinstance(said, Answered) else None
    if expires_at is None:
        return _skipped("certificate", "The certificate was not seen.")
    days = (expires_at - now).days
    detail = f"The certificate is valid until {rfc3339(expires_at)}, for {days} more days."
    if expires_at - now < CERTIFICATE_SOON:
        fix = "Renew the certificate now, and see to it that this happens by itself."
        return Check("certificate", "warning", detail, fix)
    return Check("certificate", "passed", detail)


def _same(first: Answered, second: Answered) -> bool:
    return (first.status_code, first.body) == (second.status_code, second.body)


def _hint(said: Said, subscription: Subscription) -> str | None:
    return None if said is None else hint_for(said, subscription.url, subscription.payload)


def _words(said: Unanswered | None) -> str:
    return "No time was left to call." if said is None else f"{_sentence(said.detail)}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
