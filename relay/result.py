"""Lead whoever holds a job's link to a URL at the provider that is valid now, and fetch a new one where needed."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

import structlog

from relay import metrics
from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.domain.job import Job, JobStatus
from relay.domain.links import is_link
from relay.domain.moments import parse_rfc3339, seconds_after
from relay.domain.observation import Observation, Outcome
from relay.looking.desk import Sight
from relay.looking.errands import RETRY_SECONDS, USED_UP, Errands, NotNow
from relay.looking.meter import Meter
from relay.providers.catalog import Catalog
from relay.providers.look import REDACTED, look
from relay.schedule import Turns
from relay.store import Store
from relay.tasks import end

log = structlog.get_logger(__name__)

MARGIN_SECONDS = 60.0  # a link that dies sooner is fetched anew: whoever is led there needs time to follow
SHARED_SECONDS = 3.0  # so long a link that was just fetched serves everybody, also when nobody knows how long it lives
REFUSAL_SHARED_MS = 2_000  # and so long the news that there is none
FETCH_SECONDS_MAX = 20.0  # both steps and their repetitions; somebody waits
FOREIGN_FETCH_SECONDS_MAX = 25.0  # how long another process's fetch is waited for
FOREIGN_FETCH_ASKED_EVERY_SECONDS = 0.1
SETTLED = 1_000_000  # looks: a success without a link is taken as it is, for the job ended long ago
LINK_EXPECTED_SECONDS = 3600.0  # so long after its end a job that has had no link yet may still be given one

CANNOT_ASK = "The provider cannot be asked for this result now."
CANNOT_ANSWER = "The provider did not give this result just now."
NO_MORE = "The provider has this result no more."
NOT_YET = "The job has completed, and its provider has not given a link to a file yet."
NEVER = "The provider has given no file with this result."

GONE = frozenset({Outcome.NOT_FOUND, Outcome.FAILED})
PASSING = frozenset({Outcome.PENDING, Outcome.THROTTLED, Outcome.TRANSIENT})

Reason = Literal["absent", "not_ended", "without_result", "not_yet", "gone", "unavailable", "refused"]


@dataclass(frozen=True, slots=True)
class Located:
    """Where the file is now."""

    url: str


@dataclass(frozen=True, slots=True)
class NotLocated:
    """Why there is no URL; `detail` may be read by anybody, `cause` is in the provider's words and for the tenant."""

    reason: Reason
    detail: str
    cause: str = ""
    retry_after_seconds: float | None = None


class Results:
    """
    Stored links are used while they are known to live. Of all that want one job's at once, one asks its provider: in
    a process they share its task, over several processes a turn in Redis, and what it brought stands in the database.
    """

    def __init__(self, store: Store, catalog: Catalog, errands: Errands, turns: Turns, clock: Clock) -> None:
        self._store = store
        self._catalog = catalog
        self._errands = errands
        self._turns = turns
        self._clock = clock
        self._flights: dict[str, asyncio.Task[Job | NotLocated]] = {}

    async def locate(self, job: Job, place: int) -> Located | NotLocated:
        """Where file number `place` of the job's result is. Raises Unreachable when the database does not answer."""
        refusal = _refusal(job, place)
        if refusal is not None:
            return refusal
        if _lives(job, place, self._clock.now(), MARGIN_SECONDS):
            return _located(job, place)
        fetched = await self._fetched_once(job)
        if isinstance(fetched, Job):
            return _located(fetched, place)
        if fetched.reason in ("unavailable", "refused") and _lives(job, place, self._clock.now(), 0.0):
            return _located(job, place)
        return fetched

    async def close(self) -> None:
        """Ends what nobody waits for any more."""
        await end(self._flights.values())

    async def _fetched_once(self, job: Job) -> Job | NotLocated:
        flight = self._flights.get(job.id)
        if flight is None:
            flight = asyncio.create_task(self._fetched_in_turn(job.id))
            self._flights[job.id] = flight
            flight.add_done_callback(lambda done: self._land(job.id, done))
        # Shielded: who goes away must not take the answer from those who stay.
        return await asyncio.shield(flight)

    def _land(self, job_id: str, flight: asyncio.Task[Job | NotLocated]) -> None:
        self._flights.pop(job_id, None)
        if not flight.cancelled() and (error := flight.exception()) is not None:
            log.warning("result_not_fetched", job=job_id, error=type(error).__name__)

    async def _fetched_in_turn(self, job_id: str) -> Job | NotLocated:
        ends_at = self._clock.monotonic() + FOREIGN_FETCH_SECONDS_MAX
        while self._clock.monotonic() < ends_at:
            async with self._turns.taking(f"result:{job_id}") as turn:
                if turn is not None:
                    fetched = await self._fetched(job_id)
                    if isinstance(fetched, NotLocated):
                        turn.word, turn.word_ms = json.dumps(asdict(fetched)), REFUSAL_SHARED_MS
                    return fetched
            heard = await self._heard(job_id)
            if heard is not None:
                return heard
            await self._clock.sleep(FOREIGN_FETCH_ASKED_EVERY_SECONDS)
        return _unavailable("Another process is still asking the provider.")

    async def _heard(self, job_id: str) -> NotLocated | None:
        try:
            word = await self._turns.word(f"result:{job_id}")
        except Unreachable:
            return None
        return NotLocated(**json.loads(word)) if word else None

    async def _fetched(self, job_id: str) -> Job | NotLocated:
        """The job with new links, by this process or by one that was quicker."""
        job = (await self._store.load_jobs([job_id])).get(job_id)
        if job is None:
            return NotLocated("absent", "There is no such object.")
        if _is_fresh(job, self._clock.now()):
            return job
        sight = await self._sight(job)
        if isinstance(sight, NotLocated):
            return sight
        meter = await self._errands.leave(sight, "look", "fetch")
        if isinstance(meter, NotNow):
            reason: Reason = "refused" if meter.reason == "paused" else "unavailable"
            return NotLocated(reason, CANNOT_ASK, meter.detail, meter.retry_after_seconds)
        observation = await self._look(sight, meter)
        if meter.is_spent:
            return _unavailable(CANNOT_ASK, USED_UP)
        await self._errands.learn(sight, observation)
        result = observation.result
        if result is not None and result.files:
            return await self._kept(replace(job, result=result.to_json(), result_fetched_at=self._clock.now()))
        return _not_given(job, observation, is_awaited=self._is_awaited(job, sight))

    async def _sight(self, job: Job) -> Sight | NotLocated:
        credential = (await self._store.load_credentials([job.credential_id])).get(job.credential_id)
        if credential is None:
            return NotLocated("gone", "The relay can no longer ask for this result.", "its credential was deleted")
        definition = self._catalog.get(job.provider)
        if definition is None:
            return _unavailable(CANNOT_ASK, f"no definition of the provider {job.provider} is loaded")
        return self._errands.sight(job, credential, definition)

    async def _look(self, sight: Sight, meter: Meter) -> Observation:
        if sight.target is None:
            raise LookupError(sight.job.provider)
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                observation = await look(meter, sight.target, self._clock, pending_again=SETTLED)
        except TimeoutError:
            observation = Observation(Outcome.TRANSIENT, detail=f"no answer within {FETCH_SECONDS_MAX:g} s")
        metrics.LOOKS.labels(sight.job.provider, str(observation.outcome)).inc()
        return observation

    def _is_awaited(self, job: Job, sight: Sight) -> bool:
        """True while the provider may still mint the first link of a job that has only just completed."""
        if _files(job) or sight.definition is None or not sight.definition.gives_files:
            return False
        return self._clock.now() < seconds_after(job.completed_at or job.created_at, LINK_EXPECTED_SECONDS)

    async def _kept(self, job: Job) -> Job:
        """The same; those who come next need not ask again. The event stays as it was committed."""
        try:
            await self._store.renew_result(job.tenant, job.id, job.result or {}, self._clock.now())
        except Unreachable as error:
            log.warning("links_not_kept", job=job.id, reason=str(error))
        return job


def _not_given(job: Job, observation: Observation, *, is_awaited: bool) -> NotLocated:
    """What a look without files says of them."""
    outcome, result = observation.outcome, observation.result
    if outcome in PASSING or observation.is_partial:
        return _unavailable(CANNOT_ANSWER, observation.detail, observation.retry_after_seconds)
    if outcome in GONE or observation.is_lost:
        return NotLocated("gone", NO_MORE, observation.detail)
    if result is not None and not result.warnings:
        if is_awaited:
            return NotLocated("not_yet", NOT_YET, observation.detail, RETRY_SECONDS)
        return NotLocated("gone", NO_MORE if _files(job) else NEVER, observation.detail)
    cause = result.warnings[0] if result is not None else observation.detail
    return NotLocated("refused", CANNOT_ANSWER, cause, RETRY_SECONDS)


def _unavailable(detail: str, cause: str = "", retry_after_seconds: float | None = None) -> NotLocated:
    return NotLocated("unavailable", detail, cause, retry_after_seconds or RETRY_SECONDS)


def _refusal(job: Job, place: int) -> NotLocated | None:
    """What can be said without asking anybody."""
    if not job.has_ended:
        return NotLocated("not_ended", f"The job is {job.status}: there is a result once it has completed.")
    if job.status is not JobStatus.COMPLETED:
        return NotLocated("without_result", f"The job has {job.status}, and so has no result.")
    count = len(_files(job))
    return _absent(place, count) if place >= count > 0 else None


def _absent(place: int, count: int) -> NotLocated:
    return NotLocated("absent", f"The result has no file {place}; it has {count}, counted from 0.")


def _files(job: Job) -> Sequence[dict[str, Any]]:
    files: Sequence[dict[str, Any]] = (job.result or {}).get("files", [])
    return files


def _is_fresh(job: Job, now: datetime) -> bool:
    fetched_at = job.result_fetched_at
    return fetched_at is not None and now < seconds_after(fetched_at, SHARED_SECONDS)


def _lives(job: Job, place: int, now: datetime, margin_seconds: float) -> bool:
    """True when the stored link is known to work for at least that long, or was fetched a moment ago."""
    files = _files(job)
    if place >= len(files) or not _may_be_given(files[place]["url"]):
        return False
    expires_at = files[place].get("expires_at")
    if expires_at is None:
        return _is_fresh(job, now)
    end = parse_rfc3339(expires_at)
    return end > seconds_after(now, margin_seconds) or (_is_fresh(job, now) and end > now)


def _may_be_given(url: object) -> bool:
    """Only what a browser can follow, and nothing that a secret was cut out of."""
    return isinstance(url, str) and is_link(url) and REDACTED.decode() not in url


def _located(job: Job, place: int) -> Located | NotLocated:
    files = _files(job)
    if place >= len(files):
        return _absent(place, len(files))
    url = files[place]["url"]
    return Located(url) if _may_be_given(url) else NotLocated("refused", CANNOT_ANSWER, "its link cannot be handed on")
