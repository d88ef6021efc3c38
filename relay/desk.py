"""What a look needs to know of its job, read in bulk and kept in bounded caches, so that most looks touch no SQL."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from relay.clock import Clock
from relay.domain.credential import Credential
from relay.domain.job import Job, JobStatus, Memo
from relay.domain.pacing import ENDINGS_NEEDED, Pace
from relay.providers.catalog import Catalog
from relay.providers.definition import Definition
from relay.providers.request import Target
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


class Desk:
    """Lays out what the leased jobs need; one for each process."""

    def __init__(self, store: Store, catalog: Catalog, clock: Clock) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._credentials: dict[str, tuple[str, float, Credential]] = {}
        self._quantiles: dict[tuple[str, str], tuple[float, ...]] = {}
        self._pace_read_at: float | None = None

    async def lay_out(self, leases: Sequence[Lease]) -> None:
        """Reads what is not at hand for these leases: two queries at most, none when all is."""
        unknown = [lease.id for lease in leases if lease.id not in self._jobs]
        if unknown:
            self._jobs.update(await self._store.load_jobs(unknown))
        await self._refresh_credentials({lease.group: lease.version for lease in leases})

    def sight(self, lease: Lease) -> Sight | None:
        """The leased job with its credential, or None when there is nothing left to look at."""
        job = self._jobs.get(lease.id)
        if job is None or job.status is not JobStatus.PENDING:
            return None
        self._jobs.move_to_end(lease.id)
        while len(self._jobs) > JOBS_KEPT_MAX:
            self._jobs.popitem(last=False)
        kept = self._credentials.get(job.credential_id)
        if kept is None:
            return None
        credential = kept[2]
        definition = self._catalog.get(job.provider)
        target = _target(job, credential, definition) if definition else None
        return Sight(job, Memo.parse(lease.memo), credential, definition, target)

    def forget(self, job_ids: Iterable[str]) -> None:
        """Drops jobs that have ended."""
        for job_id in job_ids:
            self._jobs.pop(job_id, None)

    def forget_credential(self, credential_id: str) -> None:
        """Makes the next look read the credential again."""
        self._credentials.pop(credential_id, None)

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
            or kept[0] != version
            or now - kept[1] > CREDENTIAL_SECONDS_MAX
        ]
        if not stale:
            return
        loaded = await self._store.load_credentials(stale)
        for credential_id in stale:
            if credential_id in loaded:
                self._credentials[credential_id] = (versions[credential_id], now, loaded[credential_id])
            else:
                self._credentials.pop(credential_id, None)


def spread(durations: Sequence[float]) -> tuple[float, ...]:
    """Evenly spaced quantiles of the durations, ascending, at most QUANTILES + 1 of them."""
    ordered = sorted(durations)
    last = len(ordered) - 1
    steps = min(QUANTILES, last)
    return tuple(ordered[round(last * index / steps)] for index in range(steps + 1)) if steps else tuple(ordered)


def _target(job: Job, credential: Credential, definition: Definition) -> Target:
    return Target(
        definition=definition,
        base_url=credential.base_url,
        secrets=credential.secrets,
        params={**credential.params, **job.params},
        provider_job_id=job.provider_job_id,
    )
