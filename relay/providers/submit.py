"""Creating a job at its provider, where doubt is an answer of its own: nothing is ever created twice to be sure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay.clock import Clock
from relay.domain.observation import JobError, Observation, Outcome
from relay.egress import Sends, Unanswered
from relay.providers.answer import read_answer
from relay.providers.check import ID_CHARACTERS_MAX, check_id
from relay.providers.classify import judge
from relay.providers.definition import Definition, SubmitCall, covers
from relay.providers.look import scrubbed, unanswered
from relay.providers.mapping import Document, provider_code_of, reason_of, word_of
from relay.providers.request import Target, submit_request

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job exists, under this id."""

    provider_job_id: str


@dataclass(frozen=True, slots=True)
class NotSubmitted:
    """The job does not exist. `observation` says what this means for the credential, as a look's would."""

    error: JobError
    observation: Observation


@dataclass(frozen=True, slots=True)
class Unclear:
    """The job may exist: the request went out, and no answer names an id. It must not be sent again by itself."""

    detail: str
    observation: Observation


Submission = Submitted | NotSubmitted | Unclear


async def submit(egress: Sends, target: Target, content: Mapping[str, Any], clock: Clock) -> Submission:
    """Create a job from the provider's own create body, once. Raises LookupError when the provider has no submit."""
    call = _call(target.definition)
    answered = await egress.send(submit_request(target, call, content, clock.now()))
    if isinstance(answered, Unanswered):
        observation = unanswered(answered)
        if answered.was_sent:
            return Unclear(observation.detail, observation)
        return NotSubmitted(JobError("provider_error", observation.detail, retryable=True), observation)
    return classify_submit(
        target.definition,
        answered.status_code,
        answered.headers,
        scrubbed(answered.body, target),
        clock.now(),
        is_truncated=answered.is_truncated,
    )


def classify_submit(
    definition: Definition,
    status_code: int,
    headers: Headers,
    body: bytes,
    now: datetime,
    *,
    is_truncated: bool = False,
) -> Submission:
    """
    What the answer of a create call says; pure. Raises LookupError when the provider has no submit.

    An id in a 2xx is a job. A refusal that names its reason is none. The rest is unclear: a 5xx, and a 2xx that
    nobody can read.
    """
    call = _call(definition)
    answer = read_answer(status_code, headers, body, is_truncated=is_truncated)
    document = answer.document()
    is_success = 200 <= status_code < 300
    provider_job_id = word_of(call.id.search(document), ID_CHARACTERS_MAX) if is_success else None
    if provider_job_id is not None and not check_id(definition, provider_job_id):
        return Submitted(provider_job_id)
    observation = judge(definition, answer, now)
    if covers(call.unclear, provider_code_of(definition, document)):
        return Unclear(reason_of(definition, document) or f"HTTP {status_code}", observation)
    if 400 <= status_code < 500 or observation.error is not None:
        return NotSubmitted(_refusal(definition, document, observation), observation)
    return Unclear(observation.detail or f"HTTP {status_code}", observation)


def _call(definition: Definition) -> SubmitCall:
    if definition.submit is None:
        raise LookupError(f"{definition.name} has no way to submit a job")
    return definition.submit


def _refusal(definition: Definition, document: Document, observation: Observation) -> JobError:
    """A look's "not found" is, of a create call, something in the body that the provider does not know or take."""
    if observation.error is not None and observation.outcome is not Outcome.NOT_FOUND:
        return observation.error
    code = provider_code_of(definition, document)
    message = reason_of(definition, document) or observation.detail
    meaning = definition.error.meaning_of(code)
    if meaning is not None:
        return JobError(meaning.code, message, code, meaning.is_retryable)
    if observation.outcome is Outcome.TRANSIENT:
        return JobError("provider_error", message, code, retryable=True)
    return JobError("invalid_request", message, code)
