"""What a look needs to know of its job, read in bulk and kept in bounded caches, so that most looks touch no SQL."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from relay.clock import Clock
from relay.domain.credential import Credential
from relay.domain.job import Job, JobStatus, Memo
from relay.domain.pacing import ENDINGS_NEEDED, Pace
from relay.providers.catalog import Catalog
from relay.providers.definition import Definition
from relay.providers.request import Target, target_for
from relay.schedule import Lease
from relay.store import Store

log = structlog.get_logger(__name__)

JOBS_KEPT_MAX = 20_000
CREDENTIAL_SECONDS_MAX = 30.0  # a credential is read again after that, should a change not have been heard of
PACE_SECONDS = 60.0
QUANTILES = 64


@dataclass(frozen=True, slots=True)
class Sight:
    """One leased job with all that looking at it takes; `target` is None where its definition is gone."""

    job: Job
    memo: Memo
    credential: Credential
    definition: Definition | None
    target: Target | None

    @property
    def kind(self) -> str:
        """What of the provider's work this is, for the learned pace; "" where it has one kind only."""
        return self.job.params.get("kind", "")

    @property
    def host(self) -> str:
        """The host that a look asks, in lower case."""
        base = self.credential.base_url or (self.definition.base_url if self.definition else "")
        return urlsplit(base).netloc.lower()


@dataclass(frozen=True, slots=True)
class Docket:
    """
    One lease with what it takes. Without a sight the job `is_over`, or its credential cannot be found; a round, whose
    id is its credential's, has none either.
    """

    lease: Lease
    sight: Sight | None
    is_over: bool

    @property
    def is_round(self) -> bool:
        """True for the lease under which many jobs are asked for at once."""
        return self.lease.id == self.lease.group


@dataclass(slots=True)
class _Kept:
    credential: Credential
    version: str
    read_at: float
    is_stale: bool = False


class Desk:
    """Lays out what the leased jobs need; one for each process."""

    def __init__(self, store: Store, catalog: Catalog, clock: Clock, jobs_kept_max: int = JOBS_KEPT_MAX) -> None:
        self._jobs_kept_max = jobs_kept_max
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._credentials: dict[str, _Kept] = {}
        self._quantiles: dict[tuple[str, str], tuple[float, ...]] = {}
        self._pace_read_at: float | None = None

    async def lay_out(self, leases: Sequence[Lease]) -> list[Docket]:
        """What these leases need, read where it is not at hand: two queries at most, none when all is."""
        await self._refresh_credentials({lease.group: lease.version for lease in leases})
        await self._load_jobs([lease.id for lease in leases if lease.id != lease.group])
        return [Docket(lease, self._sight(lease.id, lease.memo), self._is_over(lease.id)) for lease in leases]

    async def sights(self, memos: Mapping[str, str]) -> list[Sight]:
        """Those of the jobs that have not ended, with their memos; their credential is at hand."""
        await self._load_jobs(memos)
        told = (self._sight(job_id, memo) for job_id, memo in memos.items())
        return [sight for sight in told if sight is not None]

    def definition_of(self, credential_id: str) -> Definition | None:
        """The definition of the provider that the credential belongs to; the credential is at hand."""
        kept = self._credentials.get(credential_id)
        return self._catalog.get(kept.credential.provider) if kept else None

    def forget(self, job_ids: Iterable[str]) -> None:
        """Drops jobs that have ended."""
        for job_id in job_ids:
            self._jobs.pop(job_id, None)

    def forget_credential(self, credential_id: str) -> None:
        """Makes the next lease read the credential again; what is on its way goes on with what there is."""
        kept = self._credentials.get(credential_id)
        if kept is not None:
            kept.is_stale = True

    def _is_over(self, job_id: str) -> bool:
        job = self._jobs.get(job_id)
        return job is None or job.status is not JobStatus.PENDING

    def _sight(self, job_id: str, memo: str) -> Sight | None:
        job = self._jobs.get(job_id)
        kept = self._credentials.get(job.credential_id) if job else None
        if job is None or kept is None or job.status is not JobStatus.PENDING:
            return None
        definition = self._catalog.get(job.provider)
        target = target_for(definition, kept.credential, job) if definition else None
        return Sight(job, Memo.parse(memo), kept.credential, definition, target)

    async def _load_jobs(self, job_ids: Collection[str]) -> None:
        unknown = [job_id for job_id in job_ids if job_id not in self._jobs]
        if unknown:
            self._jobs.update(await self._store.load_jobs(unknown))
        for job_id in job_ids:
            if job_id in self._jobs:
                self._jobs.move_to_end(job_id)
        # Never what was just asked for, and whoever asked reads it before anybody else can: absent means ended.
        while len(self._jobs) > max(self._jobs_kept_max, len(job_ids)):
            self._jobs.popitem(last=False)

    def pace_of(self, sight: Sight) -> tuple[Pace, tuple[float, ...]]:
        """The provider's manners and what was learned of jobs of this kind."""
        if sight.definition is None:
            raise LookupError(sight.job.provider)
        return sight.definition.pacing(), self._quantiles.get((sight.job.provider, sight.kind), ())

    async def refresh_pace(self) -> None:
        """Reads the learned durations again, at most once a minute."""
        now = self._clock.monotonic()
        if self._pace_read_at is not None and now - self._pace_read_at < PACE_SECONDS:
            return
        self._pace_read_at = now
        durations = await self._store.durations(None)
        self._quantiles = {key: spread(told) for key, told in durations.items() if len(told) >= ENDINGS_NEEDED}

    async def _refresh_credentials(self, versions: dict[str, str]) -> None:
        now = self._clock.monotonic()
        stale = [
            credential_id
            for credential_id, version in versions.items()
            if (kept := self._credentials.get(credential_id)) is None
            or kept.is_stale
            or kept.version != version
            or now - kept.read_at > CREDENTIAL_SECONDS_MAX
        ]
        if not stale:
            return
        loaded = await self._store.load_credentials(stale)
        for credential_id in stale:
            if credential_id in loaded:
                self._credentials[credential_id] = _Kept(loaded[credential_id], versions[credential_id], now)
            else:
                self._credentials.pop(credential_id, None)


def spread(durations: Sequence[float]) -> tuple[float, ...]:
    """Evenly spaced quantiles of the durations, ascending, at most QUANTILES + 1 of them."""
    ordered = sorted(durations)
    last = len(ordered) - 1
    steps = min(QUANTILES, last)
    return tuple(ordered[round(last * index / steps)] for index in range(steps + 1)) if steps else tuple(ordered)
