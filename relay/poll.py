"""Look at every job when it is due, and write down its ending with everything that follows, once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from relay import metrics
from relay.clock import Clock
from relay.domain.job import Again
from relay.domain.observation import Observation
from relay.looking.desk import Desk, Docket, Sight
from relay.looking.ledger import Found, Ledger
from relay.looking.looks import ABSENT_SECONDS, Looks
from relay.looking.rounds import Rounds
from relay.looking.standing import Standing
from relay.schedule import Done, Later, Lease, Schedule
from relay.stream import Stream

log = structlog.get_logger(__name__)

IN_FLIGHT_MAX = 256
LEASE_MS = 6_000


@dataclass(frozen=True, slots=True)
class Looked:
    """A lease whose look has found something that goes on record."""

    lease: Lease
    sight: Sight
    observation: Observation


Outcome = Looked | Done | Later


class Poll:
    """The station between the provider and the record; several run side by side and never meet."""

    def __init__(
        self,
        schedule: Schedule,
        desk: Desk,
        looks: Looks,
        rounds: Rounds,
        standing: Standing,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._schedule = schedule
        self._desk = desk
        self._looks = looks
        self._rounds = rounds
        self._standing = standing
        self._ledger = ledger
        self._clock = clock

    async def drain(self, seconds: float, stopping: asyncio.Event) -> None:
        """Take what is due for that long; return when what was in flight has come back."""
        await self._desk.refresh_pace()
        stream: Stream[Docket, Outcome] = Stream(
            lease=self._lease,
            work=self._work,
            flush=self._record,
            renew=lambda dockets: self._schedule.renew([docket.lease for docket in dockets], LEASE_MS),
            wait=self._schedule.wait,
            clock=self._clock,
            in_flight_max=IN_FLIGHT_MAX,
        )
        await stream.run(seconds, stopping)

    async def _lease(self, want: int) -> tuple[Sequence[Docket], float]:
        leases, wait_seconds = await self._schedule.lease(want, LEASE_MS)
        for lease in leases:
            metrics.LATENESS.labels("poll").observe(lease.late_ms / 1000)
        return (await self._desk.lay_out(leases) if leases else []), wait_seconds

    async def _work(self, docket: Docket) -> Outcome:
        lease, sight = docket.lease, docket.sight
        if docket.is_round:
            return await self._rounds.ask(lease)
        if sight is None:
            return Done(lease) if docket.is_over else _later(lease, ABSENT_SECONDS)
        look = await self._looks.at(sight)
        if look.observation is None:
            return _later(lease, look.wait_seconds)
        _tell(sight, look.observation)
        return Looked(lease, sight, look.observation)

    async def _record(self, outcomes: Sequence[Outcome]) -> None:
        settled = [one for one in outcomes if not isinstance(one, Looked)]
        looked = [one for one in outcomes if isinstance(one, Looked)]
        if looked:
            await self._standing.learn([(one.sight, one.observation) for one in looked])
            found = [Found(one.sight, one.observation, self._clock.dice()) for one in looked]
            following = list(zip(looked, await self._ledger.enter(found), strict=True))
            settled += [_settled(one.lease, again) for one, again in following]
            await self._rounds.include([(one.sight, again) for one, again in following if again])
        await self._schedule.settle(settled)


def _tell(sight: Sight, observation: Observation) -> None:
    log.debug(
        "looked",
        job=sight.job.id,
        provider=sight.job.provider,
        credential=sight.credential.id,
        outcome=str(observation.outcome),
        provider_status=observation.provider_status,
        status_code=observation.status_code,
        reason=observation.detail,
    )


def _settled(lease: Lease, again: Again | None) -> Done | Later:
    return _later(lease, again.delay_seconds, again.memo.dump()) if again else Done(lease)


def _later(lease: Lease, seconds: float, memo: str | None = None) -> Later:
    return Later(lease, round(seconds * 1000), memo)
