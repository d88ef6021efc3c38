"""Write a provider's job down, due at once, or say everything that is wrong with the request."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from relay.clock import Clock
from relay.domain.credential import Credential, CredentialStatus
from relay.domain.errors import Fault, Invalid, Refused, Unreachable
from relay.domain.ids import NewId
from relay.domain.job import Job, JobStatus, deadline, tracking_of
from relay.domain.moments import to_ms
from relay.domain.subscription import (
    JOB_EVENTS,
    MAX_IN_FLIGHT_DEFAULT,
    Filter,
    SigningSecret,
    Subscription,
    SubscriptionStatus,
)
from relay.egress import Guard
from relay.looking.rounds import enrol
from relay.looking.standing import budget
from relay.providers.catalog import Catalog
from relay.providers.check import check_credential, check_job, check_params, warnings_of
from relay.providers.definition import Definition
from relay.schedule import Item, Schedule
from relay.store import Registration, Store
from relay.webhooks.signing import check_secret, new_secret

log = structlog.get_logger(__name__)

IdsOf = Callable[[str], NewId]  # by what tells one thing of a call from the others

DEADLINE_SECONDS_MAX = 31_536_000
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class JobRequest:
    """
    What a caller asked for; None where a field was absent or of the wrong shape.

    `submit` is the provider's own create body, for a job that has no `provider_job_id` yet. `trace_id` is the caller's
    W3C trace, which the job's webhooks go on with.
    """

    provider: str | None
    provider_job_id: str | None
    credential: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    deadline_seconds: float | None = None
    callback_url: str | None = None
    callback_secret: str | None = field(default=None, repr=False)
    submit: Mapping[str, Any] | None = field(default=None, repr=False)
    trace_id: str | None = None


class Register:
    """The first station."""

    def __init__(
        self,
        store: Store,
        schedule: Schedule,
        catalog: Catalog,
        guard: Guard,
        clock: Clock,
        default_deadline_seconds: float,
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._catalog = catalog
        self._guard = guard
        self._clock = clock
        self._default_deadline_seconds = default_deadline_seconds

    async def jobs(
        self, tenant: str, requests: Sequence[JobRequest | Refused], ids_of: IdsOf | None = None
    ) -> list[tuple[Job, bool] | Refused]:
        """
        Each request's job and whether it is new, or why it was refused, in order; one refusal harms no other.

        A job that its credential already tracks is given back as it is. `ids_of` gives what is made for the same thing
        the same ids when a call is made again: what that has written before is given back as new.
        """
        usable = await self._usable(tenant, requests)
        answers: list[tuple[Job, bool] | Refused | None] = []
        registrations: list[Registration] = []
        for request in requests:
            prepared = request if isinstance(request, Refused) else self._prepare(tenant, request, usable, ids_of)
            if isinstance(prepared, Refused):
                answers.append(prepared)
            else:
                answers.append(None)
                registrations.append(prepared)
        written = iter(await self._store.register_jobs(registrations) if registrations else [])
        told = [next(written) if answer is None else answer for answer in answers]
        new = [one[0] for one in told if not isinstance(one, Refused) and one[1]]
        await self.schedule(new, {one.id: one for known in usable.values() for one in known})
        return told

    async def submission(
        self, tenant: str, request: JobRequest, mark: str | None
    ) -> tuple[Registration, Credential] | Refused:
        """
        The job that `request.submit` asks for, not yet written down, and the credential to ask with.

        `mark` is what the same call would have again; None: a call that is made twice asks twice.
        """
        usable = await self._usable(tenant, [request])
        prepared = self._prepare(tenant, request, usable)
        credential = self._credential(request, usable)
        if isinstance(prepared, Refused) or not isinstance(credential, Credential):
            return prepared if isinstance(prepared, Refused) else _invalid([])
        return replace(prepared, job=replace(prepared.job, submission=mark)), credential

    async def faults(self, tenant: str, request: JobRequest) -> list[Fault]:
        """Everything wrong with the parts that are there; absent parts are skipped."""
        return self._faults(request, await self._usable(tenant, [request]))

    def check_callback_url(self, url: str, pointer: str) -> list[Fault]:
        """The faults of a URL that the relay would be asked to call."""
        return [Fault(pointer, fault, "url_refused") for fault in self._guard.check_url(url)]

    def check_credential(
        self, provider: str, secrets: Mapping[str, str], params: Mapping[str, str], base_url: str | None
    ) -> list[Fault]:
        """The faults of a credential as its provider's definition sees it, and of its base URL as the guard does."""
        definition = self._catalog.get(provider)
        faults = [] if definition else [self._unknown(provider)]
        if definition:
            faults += check_credential(definition, secrets, params, base_url)
        if base_url:
            faults += [Fault("/base_url", fault, "url_refused") for fault in self._guard.check_url(base_url)]
        return faults

    async def _usable(self, tenant: str, requests: Sequence[JobRequest | Refused]) -> dict[str, list[Credential]]:
        providers = {one.provider for one in requests if isinstance(one, JobRequest) and one.provider}
        known = [name for name in sorted(providers) if self._catalog.get(name)]
        return {name: await self._store.find_credentials(tenant, provider=name, limit=200) for name in known}

    def _prepare(
        self,
        tenant: str,
        request: JobRequest,
        usable: Mapping[str, list[Credential]],
        ids_of: IdsOf | None = None,
    ) -> Registration | Refused:
        faults = self._faults(request, usable)
        credential = self._credential(request, usable)
        definition = self._catalog.get(request.provider or "")
        is_nameless = request.provider_job_id is None and request.submit is None
        if faults or not isinstance(credential, Credential) or definition is None or is_nameless:
            return _invalid(faults)
        now = self._clock.now()
        provider_job_id = request.provider_job_id
        tracking = tracking_of(credential.id, provider_job_id) if provider_job_id else None
        new_id = ids_of(tracking or "") if ids_of else self._clock.new_id
        job = Job(
            id=new_id("job"),
            tenant=tenant,
            provider=definition.name,
            credential_id=credential.id,
            provider_job_id=provider_job_id,
            params=dict(request.params),
            metadata=dict(request.metadata),
            status=JobStatus.PENDING if provider_job_id else JobStatus.SUBMITTING,
            provider_status=None,
            created_at=now,
            started_at=None,
            completed_at=None,
            deadline_at=deadline(now, request.deadline_seconds or self._default_deadline_seconds),
            polls=0,
            result=None,
            error=None,
            warnings=tuple(warnings_of(definition)),
            tracking=tracking,
            trace_id=request.trace_id,
        )
        return Registration(job, self._callback(new_id("sub"), job, request) if request.callback_url else None)

    def _faults(self, request: JobRequest, usable: Mapping[str, list[Credential]]) -> list[Fault]:
        faults: list[Fault] = []
        definition: Definition | None = None
        if request.provider is not None:
            definition = self._catalog.get(request.provider)
            if definition is None:
                faults.append(self._unknown(request.provider))
        if definition is not None:
            faults += _faults_of_content(definition, request)
            credential = self._credential(request, usable)
            if isinstance(credential, Fault):
                faults.append(credential)
        if request.deadline_seconds is not None and not 1 <= request.deadline_seconds <= DEADLINE_SECONDS_MAX:
            detail = f"the deadline is 1 to {DEADLINE_SECONDS_MAX} seconds"
            faults.append(Fault("/deadline_seconds", detail, "out_of_range"))
        if request.callback_url is not None:
            faults += self.check_callback_url(request.callback_url, "/callback/url")
        if request.callback_secret is not None and (fault := check_secret(request.callback_secret)):
            faults.append(Fault("/callback/secret", fault, "bad_secret"))
        return faults

    def _credential(self, request: JobRequest, usable: Mapping[str, list[Credential]]) -> Credential | Fault:
        known = usable.get(request.provider or "", [])
        names = ", ".join(sorted(one.name for one in known)) or "none; create one with POST /v1/credentials"
        if request.credential is not None:
            named = [one for one in known if request.credential in (one.id, one.name)]
            if named:
                return named[0]
            detail = f"no credential of this provider has that id or name (there are: {names})"
            return Fault("/credential", detail, "unknown_credential")
        active = [one for one in known if one.status in (CredentialStatus.ACTIVE, CredentialStatus.THROTTLED)]
        if len(active) == 1:
            return active[0]
        why = "several credentials could be used" if active else "no active credential of this provider"
        return Fault("/credential", f"{why}: name one (there are: {names})", "credential_needed")

    def _unknown(self, provider: str) -> Fault:
        names = ", ".join(sorted(self._catalog.names()))
        return Fault("/provider", f"no provider of that name; known are {names}", "unknown_provider")

    def _callback(self, callback_id: str, job: Job, request: JobRequest) -> Subscription:
        now = job.created_at
        secret = request.callback_secret or new_secret(self._clock.entropy(SECRET_BYTES))
        return Subscription(
            id=callback_id,
            tenant=job.tenant,
            url=request.callback_url or "",
            event_types=JOB_EVENTS,
            filter=Filter(),
            description=None,
            metadata={},
            headers={},
            payload="full",
            max_in_flight=MAX_IN_FLIGHT_DEFAULT,
            secrets=(SigningSecret(secret, now, None),),
            status=SubscriptionStatus.ACTIVE,
            disabled_reason=None,
            job_id=job.id,
            failing_since=None,
            last_success_at=None,
            hold_until=None,
            created_at=now,
            updated_at=now,
        )

    async def schedule(
        self, jobs: Sequence[Job], credentials: Mapping[str, Credential], delay_seconds: float = 0.0
    ) -> None:
        """Makes jobs that are written down due after so long, under the limits of their credentials."""
        if not jobs:
            return
        delay_ms = round(delay_seconds * 1000)
        providers = {job.credential_id: job.provider for job in jobs}
        definitions = {credential_id: self._catalog.get(provider) for credential_id, provider in providers.items()}
        try:
            for credential_id, definition in definitions.items():
                credential = credentials[credential_id]
                version = str(to_ms(credential.updated_at))
                await self._schedule.limit(credential_id, budget(credential, definition), version)
            items = [Item(job.credential_id, job.id, delay_ms) for job in jobs]
            await enrol(self._schedule, items, definitions)
        except Unreachable as error:
            # The jobs are written down, which is the promise; the sweep makes them due once Redis is back.
            log.warning("jobs_not_scheduled", count=len(jobs), reason=str(error))


def _faults_of_content(definition: Definition, request: JobRequest) -> list[Fault]:
    """What is wrong with the id and the params of a job, or with asking its provider for one."""
    faults = []
    if request.provider_job_id is not None:
        faults += check_job(definition, request.provider_job_id, request.params)
    elif request.submit is not None:
        faults += check_params(definition, request.params)
    if request.submit is None:
        return faults
    if request.provider_job_id is not None:
        detail = "give the id of a job that exists, or `submit` to have one made, not both"
        faults.append(Fault("/submit", detail, "conflict"))
    if definition.submit is None:
        detail = f"jobs of {definition.title} cannot be submitted through the relay: start them there, and give the id"
        faults.append(Fault("/submit", detail, "not_supported"))
    return faults


def _invalid(faults: Sequence[Fault]) -> Invalid:
    return Invalid("invalid_request", "The request has faults; each is named.", faults)
