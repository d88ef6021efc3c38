"""What a provider's answer means: one pure function from bytes to an Observation, the same for every provider."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from relay.domain.job import AWAITS_LINK
from relay.domain.observation import ErrorCode, JobError, Observation, Outcome, Result
from relay.domain.retry_after import PROVIDER_SECONDS_MAX, retry_after_seconds
from relay.providers.answer import Answer, presentable, read_answer
from relay.providers.definition import Definition, Meaning, Rule, covers
from relay.providers.mapping import failure_of, files_of, provider_code_of, reason_of, word_of

Headers = Iterable[tuple[str, str]]

BY_STATUS = {401: Outcome.AUTH, 402: Outcome.PAYMENT, 429: Outcome.THROTTLED}
MISSING_STATUSES = frozenset({404, 410})
TRANSIENT_STATUSES = frozenset({408, 409, 425})
REFUSALS: dict[Outcome, ErrorCode] = {
    Outcome.NOT_FOUND: "not_found",
    Outcome.AUTH: "authentication",
    Outcome.PAYMENT: "payment_required",
    Outcome.THROTTLED: "rate_limited",
}


def classify(
    definition: Definition,
    status_code: int,
    headers: Headers,
    body: bytes,
    now: datetime,
    *,
    pending_again: int = 0,
    is_truncated: bool = False,
) -> Observation:
    """
    What a look's answer says. Never raises, whatever came.

    `pending_again` is how many looks in a row before this one said AWAITS_LINK; give a large number on the last
    look before a deadline, so that a success without a link is taken as it is.
    """
    return judge(definition, read_answer(status_code, headers, body, is_truncated=is_truncated), now, pending_again)


def judge(definition: Definition, answer: Answer, now: datetime, pending_again: int = 0) -> Observation:
    """The same for an answer that has been read: pending words first, then rules, words, and the HTTP status."""
    reading = _Reading(definition, answer, now)
    meaning = reading.meaning
    if meaning is Outcome.PENDING:
        return reading.observe(Outcome.PENDING)
    rule = next((rule for rule in definition.rules if reading.matches(rule, pending_again)), None)
    if rule is not None:
        return reading.observe(rule.outcome, AWAITS_LINK if rule.at_most_looks else "", rule.error)
    if meaning is not None:
        return reading.observe(meaning)
    return reading.observe(*by_status(answer))


def by_status(answer: Answer) -> tuple[Outcome, str]:
    """What the HTTP status alone says, for what no word and no rule explained."""
    status = answer.status_code
    if status in BY_STATUS:
        return BY_STATUS[status], f"HTTP {status}"
    if status == 403:  # a content network's own page says nothing about the credential
        return (Outcome.AUTH, "HTTP 403") if answer.is_json else (Outcome.TRANSIENT, "HTTP 403 without JSON")
    if status in MISSING_STATUSES:  # a page is a gateway's or a proxy's: the API itself was not asked
        return (Outcome.TRANSIENT if answer.is_html else Outcome.NOT_FOUND), f"HTTP {status}"
    if status in TRANSIENT_STATUSES or not 200 <= status < 500:
        return Outcome.TRANSIENT, f"HTTP {status}"
    if 300 <= status < 400:
        return Outcome.TRANSIENT, f"HTTP {status}: redirects are not followed"
    if answer.fault is not None:
        return Outcome.TRANSIENT, f"HTTP {status}: {answer.fault}"
    return Outcome.UNKNOWN, f"HTTP {status}: nothing in the definition explains this answer"


@dataclass(slots=True)
class _Reading:
    """One answer under one definition; what is costly is found when it is first asked for."""

    definition: Definition
    answer: Answer
    now: datetime
    document: dict[str, Any] = field(init=False)
    word: str | None = field(init=False)
    meaning: Outcome | None = field(init=False)  # None: no word, or one that the definition does not list
    _code: str | None = field(init=False, default=None)
    _has_code: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        answer, state = self.answer, self.definition.state
        self.document = answer.document()
        is_read = answer.body is not None and answer.status_code in state.status
        self.word = word_of(state.at.search(self.document)) if is_read else None
        self.meaning = state.meanings.get(self.word.casefold()) if self.word is not None else None
        self.document |= {"word": self.word, "meaning": self.meaning}

    @property
    def code(self) -> str | None:
        """The provider's code for what went wrong."""
        if not self._has_code:
            self._code = provider_code_of(self.definition, self.document)
            self._has_code = True
        return self._code

    def matches(self, rule: Rule, pending_again: int) -> bool:
        if rule.status is not None and self.answer.status_code not in rule.status:
            return False
        if rule.at_most_looks is not None and pending_again >= rule.at_most_looks:
            return False
        if rule.code is not None and not covers(rule.code, self.code):
            return False
        return rule.when is None or rule.when.holds(self.document)

    def observe(self, outcome: Outcome, detail: str = "", told: Meaning | None = None) -> Observation:
        error = self._error(outcome, detail, told)
        is_payment = error is not None and error.code == "payment_required"
        return Observation(
            outcome,
            provider_status=self.word,
            result=self._result() if outcome is Outcome.COMPLETED else None,
            error=error,
            retry_after_seconds=self._retry_after(outcome),
            pauses="auth_failed" if outcome is Outcome.AUTH else "payment_required" if is_payment else None,
            status_code=self.answer.status_code,
            detail=self._detail(outcome, detail, error),
            sample=self.answer.sample() if outcome is Outcome.UNKNOWN else None,
        )

    def _error(self, outcome: Outcome, detail: str, told: Meaning | None) -> JobError | None:
        if outcome is Outcome.FAILED:
            return failure_of(self.definition, self.document, self.word, self.code, told)
        if outcome not in REFUSALS:
            return None
        message = reason_of(self.definition, self.document) or detail or f"HTTP {self.answer.status_code}"
        return JobError(REFUSALS[outcome], message, self.code, outcome is Outcome.THROTTLED)

    def _detail(self, outcome: Outcome, detail: str, error: JobError | None) -> str:
        if error is not None:
            return error.message
        if outcome is Outcome.UNKNOWN and self.word is not None:
            return f"the state {self.word!r} is not known"
        if outcome in (Outcome.TRANSIENT, Outcome.UNKNOWN):
            return reason_of(self.definition, self.document) or detail or f"HTTP {self.answer.status_code}"
        return detail

    def _result(self) -> Result:
        mapping = self.definition.result
        files, warnings = files_of(mapping.files, self.document, mapping.lifetime_seconds, self.now)
        return Result(
            files=files,
            result_id=word_of(mapping.id.search(self.document)) if mapping.id else None,
            raw=presentable(self.answer.body),
            warnings=warnings,
        )

    def _retry_after(self, outcome: Outcome) -> float | None:
        if outcome in (Outcome.COMPLETED, Outcome.FAILED):
            return None
        is_refused = outcome is Outcome.THROTTLED or self.answer.status_code == 503
        headers = self.answer.headers.items()
        return retry_after_seconds(headers, self.now, is_refused=is_refused, max_seconds=PROVIDER_SECONDS_MAX)
