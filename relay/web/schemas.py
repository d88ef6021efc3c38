"""What bodies and queries may hold, declared once for the checks and for the reference alike."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError
from typing_extensions import TypeAliasType

from relay.domain.ids import ALPHABET, LENGTH
from relay.domain.key import NAME_CHARACTERS_MAX, NAME_PATTERN, SCOPES
from relay.domain.subscription import (
    EVENT_TYPES,
    JOB_EVENTS,
    MAX_IN_FLIGHT_DEFAULT,
    OVERLAP_SECONDS_DEFAULT,
    OVERLAP_SECONDS_MAX,
    PayloadForm,
    SignatureForm,
)
from relay.register import DEADLINE_SECONDS_MAX
from relay.web.checks import (
    HEADER_NAME,
    HEADER_NAME_CHARACTERS_MAX,
    HEADER_VALUE_CHARACTERS_MAX,
    HEADERS_MAX,
    METADATA_KEY_CHARACTERS_MAX,
    METADATA_KEYS_MAX,
    METADATA_PREFIX,
    METADATA_VALUE_CHARACTERS_MAX,
)

PROVIDER_JOB_ID_CHARACTERS_MAX = 512
DESCRIPTION_CHARACTERS_MAX = 512
URL_CHARACTERS_MAX = 2048
SECRET_CHARACTERS_MAX = 128
PARAMS_MAX = 32
PARAM_CHARACTERS_MAX = 512
CREDENTIAL_SECRET_CHARACTERS_MAX = 8192
FILTER_ENTRIES_MAX = 100
IN_FLIGHT_MAX = 256
REQUESTS_PER_SECOND_MAX = 10_000
CONCURRENCY_MAX = 1000
BATCH_JOBS_MAX = 1000
PAGE_LIMIT_DEFAULT = 50
PAGE_LIMIT_MAX = 200
CURSOR_CHARACTERS_MAX = 256
SIGNATURES_DEFAULT: list[SignatureForm] = ["v1"]
WAIT_SECONDS_MAX = 30


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def known(text: str) -> str:
        if text not in choices:
            raise PydanticCustomError(
                "literal_error", "input should be one of {choices}", {"choices": ", ".join(choices)}
            )
        return text

    return known


def _with_v1(forms: list[SignatureForm]) -> list[SignatureForm]:
    if "v1" not in forms:
        raise PydanticCustomError("literal_error", "v1 is always among the signatures")
    return forms


@dataclass(frozen=True)
class ShownAs:
    """For the reference alone: what is checked elsewhere, one by one, is in the shape of that model."""

    model: type[BaseModel]

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """As pydantic asks for it."""
        return handler(self.model.__pydantic_core_schema__)


IDENTIFIER = rf"[{ALPHABET}]{{{LENGTH}}}"

Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS_MAX, pattern=NAME_PATTERN)]
Text = Annotated[str, Field(min_length=1, max_length=256)]
Time = Annotated[str, Field(max_length=64), WithJsonSchema({"type": "string", "format": "date-time"})]
Url = Annotated[str, Field(min_length=1, max_length=URL_CHARACTERS_MAX, json_schema_extra={"format": "uri"})]
Secret = Annotated[
    str, Field(max_length=SECRET_CHARACTERS_MAX, json_schema_extra={"pattern": "^whsec_[A-Za-z0-9+/]{32,86}={0,2}$"})
]
Description = Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS_MAX)]
ProviderJobId = Annotated[str, Field(min_length=1, max_length=PROVIDER_JOB_ID_CHARACTERS_MAX)]
Param = Annotated[str, Field(max_length=PARAM_CHARACTERS_MAX)]
Params = Annotated[dict[Annotated[str, Field(max_length=NAME_CHARACTERS_MAX)], Param], Field(max_length=PARAMS_MAX)]
CredentialSecret = Annotated[str, Field(min_length=1, max_length=CREDENTIAL_SECRET_CHARACTERS_MAX)]
CredentialSecrets = Annotated[
    dict[Annotated[str, Field(max_length=NAME_CHARACTERS_MAX)], CredentialSecret], Field(max_length=PARAMS_MAX)
]
DeadlineSeconds = Annotated[  # checked with what the provider says, so that all faults are told together
    float, WithJsonSchema({"type": "number", "minimum": 1, "maximum": DEADLINE_SECONDS_MAX})
]
RequestsPerSecond = Annotated[float, Field(gt=0, le=REQUESTS_PER_SECOND_MAX)]
Concurrency = Annotated[int, Field(ge=1, le=CONCURRENCY_MAX)]
Signatures = Annotated[
    list[SignatureForm],
    Field(min_length=1, max_length=2, json_schema_extra={"contains": {"const": "v1"}}),
    AfterValidator(_with_v1),
]
# An alias with a name of its own is a schema with that name. What these say is checked by relay.web.checks, which
# tells all faults of meaning together.
EventName = TypeAliasType("EventName", Annotated[str, WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)})])
Metadata = TypeAliasType(
    "Metadata",
    Annotated[
        dict[str, Any],
        WithJsonSchema(
            {
                "type": "object",
                "description": "Flat and small: it goes into every event and is filtered by.",
                "maxProperties": METADATA_KEYS_MAX,
                "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_CHARACTERS_MAX},
                "additionalProperties": {
                    "type": ["string", "number", "boolean", "null"],
                    "maxLength": METADATA_VALUE_CHARACTERS_MAX,
                },
            }
        ),
    ],
)
Headers = Annotated[
    dict[str, str],
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": HEADERS_MAX,
            "propertyNames": {"pattern": f"^{HEADER_NAME.pattern}$", "maxLength": HEADER_NAME_CHARACTERS_MAX},
            "additionalProperties": {"type": "string", "maxLength": HEADER_VALUE_CHARACTERS_MAX},
        }
    ),
]
MetadataFilter = Annotated[
    dict[str, str],
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{re.escape(METADATA_PREFIX)}"},
            "additionalProperties": {"type": "string"},
            "examples": [{"metadata.order": "42"}],
        }
    ),
]
EventTypes = Annotated[list[EventName], Field(min_length=1, max_length=len(EVENT_TYPES))]
Listed = Annotated[list[Text], Field(max_length=FILTER_ENTRIES_MAX)]
Scope = Annotated[str, AfterValidator(_one_of(SCOPES)), WithJsonSchema({"type": "string", "enum": list(SCOPES)})]
EventType = Annotated[
    str, AfterValidator(_one_of(EVENT_TYPES)), WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)})
]

JobId = Annotated[str, Field(pattern=f"^job_{IDENTIFIER}$")]
SubscriptionId = Annotated[str, Field(pattern=f"^sub_{IDENTIFIER}$")]
EventId = Annotated[str, Field(pattern=f"^evt_{IDENTIFIER}$")]


class Document(BaseModel):
    """
    A JSON body: no field that is not named here, no value of another type. Null is the same as absent. `apart` is the
    field whose items harm no other.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    apart: ClassVar[str | None] = None


class Nothing(Document):
    """A body that says nothing: `{}` or none at all."""


class Callback(Document):
    """A one-off subscription for one job."""

    url: Url
    secret: Secret | None = None


class NewJob(Document):
    """A provider's job to watch; `submit`, its own create body, has the job made there first."""

    provider: Text
    provider_job_id: ProviderJobId | None = None
    submit: dict[str, Any] | None = None
    credential: Text | None = None
    params: Params | None = None
    metadata: Metadata | None = None
    deadline_seconds: DeadlineSeconds | None = None
    callback: Callback | None = None


class NewJobs(Document):
    """Up to a thousand of them, none with `submit`; each is checked by itself, as a `NewJob`."""

    apart: ClassVar[str | None] = "jobs"

    jobs: Annotated[list[Annotated[Any, ShownAs(NewJob)]], Field(min_length=1, max_length=BATCH_JOBS_MAX)]


class JobFilter(Document):
    """Which jobs' events a subscription wants; what is absent excludes nothing."""

    providers: Listed | None = None
    credentials: Listed | None = None
    metadata: Metadata | None = None


class SubscriptionBody(Document):
    """What a subscription's owner decides."""

    url: Url
    event_types: EventTypes | None = Field(list(JOB_EVENTS))
    filter: JobFilter | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    headers: Headers | None = None
    payload: PayloadForm | None = "full"
    signatures: Signatures | None = Field(SIGNATURES_DEFAULT)
    handshake: bool | None = False
    max_in_flight: Annotated[int, Field(ge=1, le=IN_FLIGHT_MAX)] | None = MAX_IN_FLIGHT_DEFAULT


class NewSubscription(SubscriptionBody):
    """A subscription to make; without a secret it gets one."""

    secret: Secret | None = None


class ChangedSubscription(SubscriptionBody):
    """A subscription after a merge patch."""

    status: Literal["active", "paused", "disabled"]
    disabled_reason: Description | None = None


class Rotation(Document):
    """A new signing secret; the one before signs on for `overlap_seconds`."""

    secret: Secret | None = None
    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_SECONDS_MAX)] | None = OVERLAP_SECONDS_DEFAULT


class NewRecovery(Document):
    """Send again what was decided from `since` (RFC 3339) to before `until`, or until now, and never succeeded."""

    since: Time
    until: Time | None = None


class CredentialBody(Document):
    """What a credential's owner decides."""

    secrets: CredentialSecrets
    params: Params | None = None
    base_url: Url | None = None
    max_requests_per_second: RequestsPerSecond | None = None
    max_concurrency: Concurrency | None = None


class NewCredential(CredentialBody):
    """A tenant's account at a provider."""

    name: Name
    provider: Text


class ChangedCredential(NewCredential):
    """A credential after a merge patch; `status: "active"` asks to try it again."""

    status: Literal["active"] | None = None


class NewKey(Document):
    """An API key to make; without scopes it gets all but `admin`."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1)] | None = None


class Query(BaseModel):
    """A query string: no parameter that is not named here."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    """One page of a list, newest first."""

    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT
    cursor: Annotated[str, Field(max_length=CURSOR_CHARACTERS_MAX)] | None = None


class JobsQuery(PageQuery):
    """`metadata.<key>` filters by a value of the metadata, written as text."""

    status: Literal["submitting", "pending", "completed", "failed", "expired", "cancelled"] | None = None
    provider: Text | None = None
    credential: Text | None = None
    provider_job_id: ProviderJobId | None = None
    metadata: MetadataFilter = {}


class ResultQuery(Query):
    """Which file of the result, counted from 0."""

    file: Annotated[int, Field(ge=0)] = 0


class JobQuery(Query):
    """`wait` holds the answer back for so many seconds, or until the job has ended."""

    wait: Annotated[int, Field(ge=1, le=WAIT_SECONDS_MAX)] | None = None


class SubscriptionsQuery(PageQuery):
    """Subscriptions by status."""

    status: Literal["active", "paused", "disabled"] | None = None


class EventsQuery(PageQuery):
    """
    Events by type and job, newest first; with `after` a feed, oldest first: `start`, `now` or the `next_cursor` of the
    page before. `wait` holds an empty page of the feed back for so many seconds, or until an event passes the filters.
    """

    after: Annotated[str, Field(max_length=CURSOR_CHARACTERS_MAX)] | None = None
    wait: Annotated[int, Field(ge=0, le=WAIT_SECONDS_MAX)] | None = None

    type: EventType | None = None
    job: JobId | None = None


class DeliveriesQuery(PageQuery):
    """Deliveries by status and by what they belong to."""

    status: Literal["pending", "succeeded", "held", "exhausted", "cancelled"] | None = None
    subscription: SubscriptionId | None = None
    event: EventId | None = None
    job: JobId | None = None


class CredentialsQuery(PageQuery):
    """Credentials by provider, name and status."""

    provider: Text | None = None
    name: Text | None = None
    status: Literal["active", "auth_failed", "payment_required", "throttled", "unreachable"] | None = None
