"""Recorded answers beside each definition: its proof, and what the simulator of `relay dev` plays."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from relay.domain.errors import BadDefinition
from relay.domain.observation import ErrorCode, File, FileKind, JobError, Observation, Outcome
from relay.providers.answer import read_answer
from relay.providers.classify import classify
from relay.providers.definition import Definition
from relay.providers.listing import classify_list
from relay.providers.look import Fetched, classify_fetch
from relay.providers.submit import NotSubmitted, Submitted, Unclear, classify_submit

ALWAYS_PLAYED = (Outcome.PENDING, Outcome.COMPLETED, Outcome.FAILED)  # every definition has a sample of each


class SampleFile(BaseModel):
    """What a sample expects of a file; what is not given is not compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FileKind
    url: str
    content_type: str | None = None
    size_bytes: int | None = None
    duration_seconds: float | None = None


class SampleError(BaseModel):
    """What a sample expects of an error; what is not given is not compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: ErrorCode
    provider_code: str | None = None
    message: str | None = None
    retryable: bool | None = None


class Sample(BaseModel):
    """
    One recorded answer and what it must be taken for. `source` says how sure it is (doc: on the provider's page;
    schema: made from its schema; sdk; guess …); `call` which request it answers; `body` is JSON, `text` anything.

    `outcome` of a look is an Outcome; of a fetch `fetched` or `not_fetched`; of a list `listed`, with `jobs` by id; of
    a submit `submitted` (with `provider_job_id`), `not_submitted` or `unclear`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    call: Literal["look", "fetch", "list", "submit"] = "look"
    status: int
    headers: dict[str, str] = {}
    body: Any = None
    text: str | None = None
    outcome: str
    note: str = ""
    pending_again: int = 0
    provider_status: str | None = None
    files: tuple[SampleFile, ...] | None = None
    result_id: str | None = None
    error: SampleError | None = None
    retry_after_seconds: float | None = None
    pauses: Literal["auth_failed", "payment_required"] | None = None
    jobs: dict[str, Outcome] | None = None
    provider_job_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_body_or_text(cls, given: Any) -> Any:
        if isinstance(given, dict) and ("body" in given) == ("text" in given):
            raise ValueError("either body (JSON) or text")
        return given

    def payload(self) -> bytes:
        """The bytes of the answer."""
        return json.dumps(self.body).encode() if self.text is None else self.text.encode()

    def header_items(self) -> list[tuple[str, str]]:
        """The headers of the answer, with a content type that fits when none was recorded."""
        named = {name.lower() for name in self.headers}
        fitting = "application/json" if self.text is None else "text/html; charset=utf-8"
        given = [] if "content-type" in named else [("content-type", fitting)]
        return [*given, *self.headers.items()]


SAMPLES: TypeAdapter[tuple[Sample, ...]] = TypeAdapter(tuple[Sample, ...])


def parse_samples(text: str, source: str) -> tuple[Sample, ...]:
    """The samples in `text` (a JSON list). Raises BadDefinition with every fault."""
    try:
        return SAMPLES.validate_json(text)
    except ValidationError as error:
        faults = [f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise BadDefinition(source, faults) from None


def check_samples(definition: Definition, samples: tuple[Sample, ...], now: datetime) -> list[str]:
    """A sentence for each sample that is not taken for what it says, and for each kind of sample that is missing."""
    faults = [
        f"sample {number} ({sample.source}, {sample.call}, HTTP {sample.status}): {fault}"
        for number, sample in enumerate(samples)
        for fault in check_sample(definition, sample, now)
    ]
    return [*faults, *_missing(definition, samples)]


def _missing(definition: Definition, samples: tuple[Sample, ...]) -> Iterator[str]:
    """A call that the definition has and no sample shows has never been held against an answer."""
    shown = {(sample.call, sample.outcome) for sample in samples}
    for outcome in ALWAYS_PLAYED:
        if ("look", outcome) not in shown:
            yield f"there is no sample of a look that is {outcome}"
    if definition.fetch is not None and ("fetch", "fetched") not in shown:
        yield 'there is no sample of a fetch that is fetched ("call": "fetch", "outcome": "fetched", "files": […])'
    listed = {outcome for sample in samples if sample.call == "list" for outcome in (sample.jobs or {}).values()}
    if definition.listing is not None and not listed & set(ALWAYS_PLAYED):
        yield (
            'there is no sample of a list with a job ("call": "list", "outcome": "listed", "jobs": {"<id>": "pending"})'
        )
    if definition.submit is not None and not any(sample.provider_job_id for sample in samples):
        yield (
            'there is no sample of a submit that made a job ("call": "submit", "outcome": "submitted",'
            ' "provider_job_id": "<id>")'
        )


def check_sample(definition: Definition, sample: Sample, now: datetime) -> list[str]:
    """What differs between what a sample is taken for and what it says."""
    checks = {"look": _check_look, "fetch": _check_fetch, "list": _check_list, "submit": _check_submit}
    return list(checks[sample.call](definition, sample, now))


def _check_look(definition: Definition, sample: Sample, now: datetime) -> Iterator[str]:
    observation = classify(
        definition,
        sample.status,
        sample.header_items(),
        sample.payload(),
        now,
        pending_again=sample.pending_again,
    )
    yield from _differs("outcome", sample.outcome, str(observation.outcome))
    yield from _check_observation(sample, observation)


def _check_observation(sample: Sample, observation: Observation) -> Iterator[str]:
    expected = {
        "provider_status": (sample.provider_status, observation.provider_status),
        "retry_after_seconds": (sample.retry_after_seconds, observation.retry_after_seconds),
        "pauses": (sample.pauses, observation.pauses),
        "result_id": (sample.result_id, observation.result.result_id if observation.result else None),
    }
    for name, (wanted, found) in expected.items():
        if wanted is not None:
            yield from _differs(name, wanted, found)
    if sample.files is not None:
        yield from _check_files(sample.files, observation.result.files if observation.result else ())
    if sample.error is not None:
        yield from _check_error(sample.error, observation.error)


def _check_error(wanted: SampleError, found: JobError | None) -> Iterator[str]:
    for name, value in wanted.model_dump(exclude_none=True).items():
        yield from _differs(f"error.{name}", value, getattr(found, name, None))


def _check_files(wanted: tuple[SampleFile, ...], found: tuple[File, ...]) -> Iterator[str]:
    yield from _differs("number of files", len(wanted), len(found))
    for number, (expected, file) in enumerate(zip(wanted, found, strict=False)):
        for name, value in expected.model_dump(exclude_none=True).items():
            yield from _differs(f"files.{number}.{name}", value, getattr(file, name))


def _check_fetch(definition: Definition, sample: Sample, now: datetime) -> Iterator[str]:
    if definition.fetch is None:
        yield "the definition has no fetch"
        return
    answer = read_answer(sample.status, sample.header_items(), sample.payload())
    step = classify_fetch(definition, answer, now)
    yield from _differs("outcome", sample.outcome, "fetched" if isinstance(step, Fetched) else "not_fetched")
    yield from _check_files(sample.files or (), step.result.files if isinstance(step, Fetched) else ())


def _check_list(definition: Definition, sample: Sample, now: datetime) -> Iterator[str]:
    if definition.listing is None:
        yield "the definition has no list"
        return
    page = classify_list(definition, sample.status, sample.header_items(), sample.payload(), now)
    yield from _differs("outcome", sample.outcome, "listed" if page.problem is None else str(page.problem.outcome))
    if sample.jobs is not None:
        found = {provider_job_id: seen.outcome for provider_job_id, seen in page.observations.items()}
        yield from _differs("jobs", sample.jobs, found)


def _check_submit(definition: Definition, sample: Sample, now: datetime) -> Iterator[str]:
    if definition.submit is None:
        yield "the definition has no submit"
        return
    submission = classify_submit(definition, sample.status, sample.header_items(), sample.payload(), now)
    names = {Submitted: "submitted", NotSubmitted: "not_submitted", Unclear: "unclear"}
    yield from _differs("outcome", sample.outcome, names[type(submission)])
    if sample.provider_job_id is not None:
        yield from _differs("provider_job_id", sample.provider_job_id, getattr(submission, "provider_job_id", None))
    if sample.error is not None:
        yield from _check_error(sample.error, submission.error if isinstance(submission, NotSubmitted) else None)


def _differs(name: str, wanted: object, found: object) -> Iterator[str]:
    if wanted != found:
        yield f"{name} is {found!r}, should be {wanted!r}"
