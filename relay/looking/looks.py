"""One look at one job, made only when its host and its credential may be asked, and within the credential's budget."""

from dataclasses import dataclass
from datetime import datetime

from relay import metrics
from relay.clock import Clock
from relay.domain.observation import Observation, Outcome
from relay.egress import Egress
from relay.looking.desk import Sight
from relay.looking.meter import Meter
from relay.looking.standing import Standing
from relay.providers.look import look
from relay.schedule import Schedule

LAST_LOOK = 1_000_000
ABSENT_SECONDS = 60.0  # a job whose definition is away, or whose secrets no key opens, is asked about again then
UNPAID_SECONDS = 5.0  # and so one whose result could not be fetched within the budget


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has found; without an observation nobody was asked, and it is to be tried after `wait_seconds`."""

    observation: Observation | None
    wait_seconds: float = 0.0


class Looks:
    """Makes looks for the poll and for rounds alike."""

    def __init__(self, schedule: Schedule, standing: Standing, egress: Egress, clock: Clock) -> None:
        self._schedule = schedule
        self._standing = standing
        self._egress = egress
        self._clock = clock

    async def at(self, sight: Sight) -> Look:
        """The look that a lease has paid for, and the second step of a completed job."""
        if sight.target is None or not sight.credential.secrets:
            return Look(None, ABSENT_SECONDS)
        wait_seconds = self._standing.wait_seconds(sight)
        if wait_seconds > 0:
            return Look(None, wait_seconds)
        # A paused credential's one probe includes its second step: there is no budget for that before the next one.
        paid = 1 + sight.credential.is_paused
        credential = sight.credential
        meter = Meter(
            self._egress, self._schedule, self._clock, credential.id, credential.provider, "look", "fetch", paid=paid
        )
        observation = await look(meter, sight.target, self._clock, pending_again=_patience(sight, self._clock.now()))
        if meter.is_spent:
            return Look(None, UNPAID_SECONDS)
        metrics.LOOKS.labels(sight.job.provider, str(observation.outcome)).inc()
        if observation.outcome is Outcome.THROTTLED:
            await self._standing.hold(sight, observation)
        return Look(observation)


def _patience(sight: Sight, now: datetime) -> int:
    """How often an ending without its link was seen; on the last look before the deadline it is taken as it is."""
    return LAST_LOOK if now >= sight.job.deadline_at else sight.memo.pending_again
