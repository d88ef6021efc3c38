"""The format in which a provider is described, so that adding one takes a file and no code."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from relay.domain.observation import ErrorCode, FileKind, Outcome
from relay.domain.pacing import Pace
from relay.providers.expression import Expression, over_answer, over_item
from relay.providers.pattern import Pattern
from relay.providers.template import Template

NAME = r"^[a-z][a-z0-9_]{0,62}$"
VALUE = Pattern(r"^[A-Za-z0-9_.:-]{1,128}$")  # what an id or a param may look like unless the file says otherwise
RETRYABLE: frozenset[ErrorCode] = frozenset({"rate_limited", "timeout"})
ERROR_CODES: tuple[ErrorCode, ...] = get_args(ErrorCode)
SUCCESSES = frozenset(range(200, 300))


def _status_codes(given: object) -> frozenset[int]:
    """`[404, "5xx"]` as the set of what it covers."""
    if not isinstance(given, list) or not given:
        raise ValueError('a list of HTTP status codes or classes such as "5xx"')
    codes: set[int] = set()
    for item in given:
        if isinstance(item, str) and re.fullmatch("[1-5]xx", item):
            codes.update(range(int(item[0]) * 100, int(item[0]) * 100 + 100))
        elif isinstance(item, int) and not isinstance(item, bool) and 100 <= item <= 599:
            codes.add(item)
        else:
            raise ValueError(f'{item!r} is neither an HTTP status code nor a class such as "5xx"')
    return frozenset(codes)


def _base_url(given: str) -> str:
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("scheme and host only, such as https://api.example.com; paths belong to the calls")
    return given.rstrip("/")


def _path(given: object) -> Template:
    if not isinstance(given, str) or not given.startswith("/") or "?" in given or "#" in given:
        raise ValueError("a path begins with / and has no query; `query` is a table of its own")
    return Template(given)


def _meaning(given: object) -> object:
    """A bare code is short for a table that says nothing else."""
    return {"code": given} if isinstance(given, str) else given


OverAnswer = Annotated[Expression, PlainValidator(over_answer)]
OverItem = Annotated[Expression, PlainValidator(over_item)]
Text = Annotated[Template, PlainValidator(Template)]
Path = Annotated[Template, PlainValidator(_path)]
FullPattern = Annotated[Pattern, PlainValidator(Pattern)]
StatusCodes = Annotated[frozenset[int], PlainValidator(_status_codes)]
Name = Annotated[str, Field(pattern=NAME)]
Method = Literal["GET", "POST"]


def covers(patterns: Iterable[str], text: str | None) -> bool:
    """True when `text` is there and matches one of the patterns (`*` and `?`); case is ignored."""
    return text is not None and any(fnmatchcase(text.casefold(), pattern.casefold()) for pattern in patterns)


class Part(BaseModel):
    """Frozen, and an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Retired(Part):
    """The provider has closed, or closes `since`; registering a job answers with the notice as a warning."""

    since: date
    notice: str


class JobId(Part):
    """What the provider's ids look like, and one that could be real."""

    pattern: FullPattern = VALUE
    example: str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

    @model_validator(mode="after")
    def _example_fits(self) -> Self:
        if not self.pattern.fits(self.example):
            raise ValueError(f"the example {self.example!r} does not match the pattern; give one that does")
        return self


class Secret(Part):
    """Something to sign in with; one that only names the account (`is_identifier`) may appear in answers."""

    about: str = ""
    is_identifier: bool = False


class Param(Part):
    """
    Something a path needs beside the job's id, given with the credential or with the job.

    `choices` lists what it may be, and for each choice the further places that it fills:
    `dub = { run = "dub-result" }`. `example` is one that could be real, where the pattern does not say it.
    """

    source: Literal["credential", "job"] = Field(alias="from")
    about: str = ""
    pattern: FullPattern = VALUE
    is_required: bool = Field(default=False, alias="required")
    default: str | None = None
    example: str | None = None
    choices: dict[str, dict[Name, str]] | None = None

    @model_validator(mode="after")
    def _choices_agree(self) -> Self:
        if self.choices is not None:
            if len({frozenset(derived) for derived in self.choices.values()}) != 1:
                raise ValueError("every choice fills the same places")
            if self.default is not None and self.default not in self.choices:
                raise ValueError(f"the default {self.default!r} is not a choice")
        elif self.default is not None and not self.pattern.fits(self.default):
            raise ValueError(f"the default {self.default!r} does not match the pattern")
        return self

    @model_validator(mode="after")
    def _example_fits(self) -> Self:
        if self.example is not None and (self.choices is not None or not self.pattern.fits(self.example)):
            raise ValueError(f"the example {self.example!r} does not match the pattern, or there are choices")
        return self

    @property
    def derived_names(self) -> frozenset[str]:
        """The further places that a choice fills."""
        return frozenset(next(iter(self.choices.values()))) if self.choices else frozenset()

    @property
    def has_value(self) -> bool:
        """True when a request can count on it."""
        return self.is_required or self.default is not None


class Auth(Part):
    """One way to sign in: usable when all of `secrets` are there; the first usable one is used."""

    scheme: str
    secrets: tuple[Name, ...] = Field(min_length=1)
    optional: tuple[Name, ...] = ()
    headers: dict[str, Text] = {}


class Call(Part):
    """A request: `query` entries and `headers` whose places have no value are left out."""

    method: Method = "GET"
    path: Path
    query: dict[str, Text] = {}
    headers: dict[str, Text] = {}


class FileMapping(Part):
    """A file of a result; with `each`, one for every element of that list, the rest being relative to it."""

    kind: FileKind
    each: OverAnswer | None = None
    url: OverItem
    content_type: OverItem | None = None
    size_bytes: OverItem | None = None
    duration_seconds: OverItem | None = None

    @model_validator(mode="after")
    def _is_over_the_answer_without_each(self) -> Self:
        if self.each is None:
            for expression in (self.url, self.content_type, self.size_bytes, self.duration_seconds):
                if expression is not None:
                    over_answer(expression.source)
        return self


class Fetch(Call):
    """
    The second step of a completed job; `{result_id}` is what `result.id` found. Its failure fails nothing.

    `when`, if given, holds for an answer that is a result: for services that put errors into a 200.
    """

    when: OverAnswer | None = None
    files: tuple[FileMapping, ...] = ()


class ListCall(Call):
    """
    One request for many jobs. `items` is the list in the answer, `id` each element's job id, `answer` rewrites an
    element into what a look would have answered, so that states, rules and mappings are written once.
    """

    page_size: int = Field(ge=1, le=1000)
    items: OverAnswer
    id: OverItem
    answer: OverItem
    total: OverAnswer | None = None


class SubmitCall(Call):
    """
    Creates a job from the provider's own body; `id` is where the answer has the job's id. `unclear` lists codes of
    refusals after which the job may exist all the same.
    """

    method: Method = "POST"
    id: OverAnswer
    unclear: tuple[str, ...] = ()


class State(Part):
    """Where the state is and what its words mean; case is ignored. Read when the HTTP status is in `status`."""

    at: OverAnswer
    pending: tuple[str, ...]
    completed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    status: StatusCodes = SUCCESSES

    @cached_property
    def meanings(self) -> dict[str, Outcome]:
        """Outcome by word, case folded."""
        listed = {Outcome.PENDING: self.pending, Outcome.COMPLETED: self.completed, Outcome.FAILED: self.failed}
        return {word.casefold(): outcome for outcome, words in listed.items() for word in words}


class Meaning(Part):
    """What a provider's error code is in the relay's words."""

    code: ErrorCode
    retryable: bool | None = None

    @property
    def is_retryable(self) -> bool:
        """Whether submitting the same job again may help."""
        return self.code in RETRYABLE if self.retryable is None else self.retryable


MeaningOrCode = Annotated[Meaning, BeforeValidator(_meaning)]


class Rule(Part):
    """
    An outcome for what words cannot say: all that is given must hold. `status` is looked at first for it costs
    nothing; `code` holds patterns (`BILLING_*`) for the code that `error.provider_code` finds; `at_most_looks` makes
    the rule hold only for so many looks in a row (a success whose link is not there yet).
    """

    status: StatusCodes | None = None
    code: tuple[str, ...] | None = None
    when: OverAnswer | None = None
    at_most_looks: int | None = Field(default=None, ge=1, le=100)
    outcome: Outcome
    error: MeaningOrCode | None = None

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if self.status is None and self.code is None and self.when is None:
            raise ValueError("a rule needs a condition: status, code or when")
        if self.at_most_looks is not None and self.outcome is not Outcome.PENDING:
            raise ValueError('at_most_looks is for a rule whose outcome is "pending"')
        return self


class ResultMapping(Part):
    """Where a completed answer has its files, and how long the provider keeps their links alive."""

    id: OverAnswer | None = None
    files: tuple[FileMapping, ...] = ()
    lifetime_seconds: int | None = Field(default=None, ge=1)


class ErrorMapping(Part):
    """
    Where an answer has its reason. `codes` (patterns allowed, an exact one wins) is asked for the provider's code and
    then for the state word; `ignore` lists codes that mean "no error"; `default` is for what it does not list.
    """

    message: OverAnswer | None = None
    provider_code: OverAnswer | None = None
    ignore: tuple[str, ...] = ()
    default: MeaningOrCode = Meaning(code="provider_error")
    codes: dict[str, MeaningOrCode] = {}

    @cached_property
    def folded_codes(self) -> dict[str, Meaning]:
        """`codes` with the case folded, exact ones before patterns."""
        ordered = sorted(self.codes.items(), key=lambda item: "*" in item[0])
        return {code.casefold(): meaning for code, meaning in ordered}

    def meaning_of(self, code: str | None) -> Meaning | None:
        """What the provider's code means, or None when the table is silent."""
        if code is None:
            return None
        folded = code.casefold()
        exact = self.folded_codes.get(folded)
        if exact is not None:
            return exact
        patterns = self.folded_codes.items()
        return next((meaning for pattern, meaning in patterns if fnmatchcase(folded, pattern)), None)


class PacePart(Part):
    """How often to look, in seconds: at first, at most and at least often."""

    interval_seconds: float = Field(default=3.0, gt=0)
    min_seconds: float = Field(default=1.0, gt=0)
    max_seconds: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.min_seconds <= self.interval_seconds <= self.max_seconds:
            raise ValueError("min_seconds <= interval_seconds <= max_seconds")
        return self


class Budget(Part):
    """What one credential may ask of the provider unless it says otherwise itself."""

    max_requests_per_second: float = Field(default=5.0, gt=0)
    max_concurrency: int = Field(default=10, ge=1)


class Definition(Part):
    """One provider, as its file describes it; `relay dev` makes the trip for those with `demo = true`."""

    name: Name
    title: str
    docs_url: str
    base_url: Annotated[str, AfterValidator(_base_url)]
    hosts: tuple[str, ...] = Field(min_length=1)
    retired: Retired | None = None
    may_rerun: bool = False
    is_demo: bool = Field(default=False, alias="demo")
    provider_job_id: JobId = JobId()
    secrets: dict[Name, Secret]
    params: dict[Name, Param] = {}
    auth: tuple[Auth, ...] = Field(min_length=1)
    look: Call
    state: State
    rules: tuple[Rule, ...] = ()
    result: ResultMapping = ResultMapping()
    error: ErrorMapping = ErrorMapping()
    fetch: Fetch | None = None
    listing: ListCall | None = Field(default=None, alias="list")
    submit: SubmitCall | None = None
    pace: PacePart = PacePart()
    budget: Budget = Budget()

    def __repr__(self) -> str:
        return f"Definition({self.name!r})"

    def secret_names(self) -> tuple[str, ...]:
        """The secrets that a credential may have."""
        return tuple(self.secrets)

    def credential_param_names(self) -> tuple[str, ...]:
        """The params that are given with the credential."""
        return tuple(name for name, param in self.params.items() if param.source == "credential")

    def job_param_names(self) -> tuple[str, ...]:
        """The params that are given with each job."""
        return tuple(name for name, param in self.params.items() if param.source == "job")

    @property
    def gives_files(self) -> bool:
        """False when no result of this provider has a file."""
        return bool(self.result.files or (self.fetch and self.fetch.files))

    def pacing(self) -> Pace:
        """The pace as the domain knows it."""
        return Pace(self.pace.interval_seconds, self.pace.min_seconds, self.pace.max_seconds)

    def covers_host(self, host: str) -> bool:
        """True for a host that the file lists, so that another one can be remarked upon."""
        return covers(self.hosts, host)

    def complete_params(self, params: Mapping[str, str]) -> dict[str, str]:
        """`params` with defaults, and with what choices fill beside them."""
        values = {name: param.default for name, param in self.params.items() if param.default is not None}
        values |= params
        for name, param in self.params.items():
            if param.choices:
                values |= param.choices.get(values.get(name, ""), {})
        return values

    def describe(self) -> dict[str, Any]:
        """The provider as the API shows it."""
        return {
            "name": self.name,
            "title": self.title,
            "docs_url": self.docs_url,
            "base_url": self.base_url,
            "hosts": list(self.hosts),
            "retired": self.retired.model_dump(mode="json") if self.retired else None,
            "provider_job_id": {
                "pattern": self.provider_job_id.pattern.source,
                "example": self.provider_job_id.example,
            },
            "secrets": [list(way.secrets) for way in self.auth],
            "params": {name: _described(param) for name, param in self.params.items()},
            "may_rerun": self.may_rerun,
            "has_list": self.listing is not None,
            "has_submit": self.submit is not None,
            "pace": self.pace.model_dump(),
            "budget": self.budget.model_dump(),
        }


def _described(param: Param) -> dict[str, Any]:
    return {
        "from": param.source,
        "about": param.about,
        "required": param.is_required,
        "default": param.default,
        "pattern": None if param.choices else param.pattern.source,
        "choices": list(param.choices) if param.choices else None,
    }
