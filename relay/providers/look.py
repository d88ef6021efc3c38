"""One look at a job, from the request to the Observation: whatever happens on the way comes back as a value."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from relay.clock import Clock
from relay.domain.observation import Observation, Outcome, Result
from relay.domain.retry_after import retry_after_seconds
from relay.egress import Answered, Sends, Unanswered
from relay.providers.answer import Answer, presentable, read_answer
from relay.providers.classify import by_status, classify
from relay.providers.definition import Definition
from relay.providers.mapping import files_of, reason_of
from relay.providers.request import Target, fetch_request, look_request

FETCH_ATTEMPTS_MAX = 3
FETCH_PAUSE_SECONDS = 0.5  # before the second attempt; doubles, spread by the dice
FETCH_BUDGET_SECONDS = 15.0  # for all attempts together; the job has ended, so nobody should wait long
SECRET_CHARACTERS_MIN = 8  # a shorter one would be found by chance
REDACTED = b"[redacted]"
NOT_FETCHED = "the result's files could not be fetched"


async def look(egress: Sends, target: Target, clock: Clock, *, pending_again: int = 0) -> Observation:
    """
    Ask once, and for a completed job take the second step as well.

    `pending_again` as in `classify`. Takes no longer than the look's timeout and the fetch's budget and timeout.
    """
    answered = await egress.send(look_request(target, clock.now()))
    if isinstance(answered, Unanswered):
        return unanswered(answered)
    observation = classify(
        target.definition,
        answered.status_code,
        answered.headers,
        scrubbed(answered.body, target),
        clock.now(),
        pending_again=pending_again,
        is_truncated=answered.is_truncated,
    )
    return await fetched(egress, target, observation, clock)


async def fetched(egress: Sends, target: Target, observation: Observation, clock: Clock) -> Observation:
    """
    `observation` with the files of the second step, where there is one and the job completed.

    When the second step does not succeed, the result has its id alone: the job did complete.
    """
    call, result = target.definition.fetch, observation.result
    if call is None or result is None or result.result_id is None:
        return observation
    ends_at = clock.monotonic() + FETCH_BUDGET_SECONDS
    pause_seconds = FETCH_PAUSE_SECONDS
    for attempt in range(1, FETCH_ATTEMPTS_MAX + 1):
        try:
            request = fetch_request(target, call, result.result_id, clock.now())
        except ValueError:  # an id of the provider's that would walk out of its path
            return replace(observation, detail=f"{NOT_FETCHED}: the result's id cannot stand in a path", is_lost=True)
        answered = await egress.send(request)
        step = read_fetch(target.definition, answered, target, clock.now())
        if isinstance(step, Fetched):
            return replace(observation, result=_joined(result, step))
        wait_seconds = max(pause_seconds * (0.5 + clock.dice()), step.retry_after_seconds or 0.0)
        is_over = attempt == FETCH_ATTEMPTS_MAX or clock.monotonic() + wait_seconds > ends_at
        if not step.is_worth_retrying or is_over:
            detail = f"{NOT_FETCHED}: {step.reason}"
            return replace(observation, detail=detail, is_partial=not step.is_gone, is_lost=step.is_gone)
        await clock.sleep(wait_seconds)
        pause_seconds *= 2
    return observation


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the second step brought."""

    result: Result


@dataclass(frozen=True, slots=True)
class NotFetched:
    """Why the second step brought nothing this time; `is_gone`: the provider no longer knows the result."""

    reason: str
    is_worth_retrying: bool
    is_gone: bool = False
    retry_after_seconds: float | None = None


def read_fetch(
    definition: Definition, answered: Answered | Unanswered, target: Target, now: datetime
) -> Fetched | NotFetched:
    """What the answer of the second step says; pure."""
    if isinstance(answered, Unanswered):
        return NotFetched(answered.detail, is_worth_retrying=answered.reason != "blocked")
    body = scrubbed(answered.body, target)
    answer = read_answer(answered.status_code, answered.headers, body, is_truncated=answered.is_truncated)
    return classify_fetch(definition, answer, now)


def classify_fetch(definition: Definition, answer: Answer, now: datetime) -> Fetched | NotFetched:
    """The same for an answer that has been read. An error in a 200 may pass, for the job did complete."""
    if not 200 <= answer.status_code < 300:
        outcome, reason = by_status(answer)
        wait_seconds = retry_after_seconds(answer.headers.items(), now, is_refused=answer.status_code in (429, 503))
        is_worth_retrying = outcome in (Outcome.TRANSIENT, Outcome.THROTTLED)
        return NotFetched(reason, is_worth_retrying, outcome is Outcome.NOT_FOUND, wait_seconds)
    if answer.fault is not None or definition.fetch is None:
        return NotFetched(answer.fault or "nothing to fetch", is_worth_retrying=False)
    document = answer.document()
    if definition.fetch.when is not None and not definition.fetch.when.holds(document):
        return NotFetched(reason_of(definition, document) or "the answer is no result", is_worth_retrying=True)
    files, warnings = files_of(definition.fetch.files, document, definition.result.lifetime_seconds, now)
    return Fetched(Result(files, raw=presentable(answer.body), warnings=warnings))


def _joined(result: Result, step: Fetched) -> Result:
    """The files of both; the second answer stands in the first, under `fetch`."""
    raw: Any = result.raw
    if isinstance(raw, dict):
        raw = presentable({**raw, "fetch": step.result.raw}) or raw
    found = step.result
    return Result(result.files + found.files, result.result_id, raw, result.warnings + found.warnings)


def unanswered(failure: Unanswered) -> Observation:
    """A look that brought no answer: never the job's fault."""
    # A lookup that failed on the way is the network's, and no word about the name.
    is_unresolved = failure.reason == "dns" and failure.blame == "receiver"
    return Observation(Outcome.TRANSIENT, detail=failure.detail, is_unresolved=is_unresolved)


def scrubbed(body: bytes, target: Target) -> bytes:
    """
    The body without the credential's secrets, should the provider repeat one in an answer or a URL.

    Secrets that only name the account stay: links may need them.
    """
    for secret in _confidential(target):
        body = body.replace(secret, REDACTED)
    return body


def _confidential(target: Target) -> Sequence[bytes]:
    kinds = target.definition.secrets
    return [
        value.encode()
        for name, value in target.secrets.items()
        if len(value) >= SECRET_CHARACTERS_MIN and not (name in kinds and kinds[name].is_identifier)
    ]
