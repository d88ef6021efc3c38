"""What the API tells of providers, for the type checkers of the programs that read it."""

from typing import Literal, TypedDict


class Retirement(TypedDict):
    """The provider has closed, or closes on that day; jobs register with the notice as a warning."""

    since: str
    notice: str


class ProviderJobId(TypedDict):
    """The regular expression that the provider's ids match, and an id that could be real."""

    pattern: str
    example: str


# As a call, for a field is named `from`: whether the credential or the job gives the param.
Param = TypedDict(
    "Param",
    {
        "from": Literal["credential", "job"],
        "about": str,
        "required": bool,
        "default": str | None,
        "pattern": str | None,
        "choices": list[str] | None,
    },
)


class Pace(TypedDict):
    """How the provider's jobs are looked at until their durations are known; the bounds hold then, too."""

    interval_seconds: float
    min_seconds: float
    max_seconds: float


class Budget(TypedDict):
    """What one credential may ask of the provider, unless it says otherwise itself."""

    max_requests_per_second: float
    max_concurrency: int


class Provider(TypedDict):
    """A provider as its definition describes it; `secrets` lists the sets of secrets of which a credential has one."""

    object: Literal["provider"]
    name: str
    title: str
    docs_url: str
    base_url: str
    hosts: list[str]
    retired: Retirement | None
    provider_job_id: ProviderJobId
    secrets: list[list[str]]
    params: dict[str, Param]
    may_rerun: bool
    has_list: bool
    has_submit: bool
    pace: Pace
    budget: Budget


class LearnedPace(TypedDict):
    """What was learned of one kind of a provider's jobs; `is_used` once there are enough samples to pace looks by."""

    kind: str | None
    samples: int
    median_seconds: float
    p95_seconds: float
    looks_per_job: float
    is_used: bool


class UnknownWord(TypedDict):
    """A word for a job's state that the definition does not know; jobs that it is said of stay pending."""

    word: str
    count: int
    last_seen_at: str


class ProviderInFull(Provider):
    """A provider with what was learned of its jobs, and what it said that nobody understood."""

    learned: list[LearnedPace]
    unknown_words: list[UnknownWord] | None
