"""What a question to a provider outside the poll must mind: whether it may be asked now, and what an answer teaches."""

from dataclasses import dataclass
from typing import Literal

import structlog

from relay.clock import Clock
from relay.domain.credential import Credential, CredentialStatus
from relay.domain.errors import Unreachable
from relay.domain.job import Job, Memo
from relay.domain.moments import to_ms
from relay.domain.observation import Observation
from relay.egress import Egress
from relay.looking.desk import Sight
from relay.looking.meter import PATIENCE_SECONDS, Meter
from relay.looking.standing import Standing, budget
from relay.providers.definition import Definition
from relay.providers.request import target_for
from relay.schedule import Schedule

log = structlog.get_logger(__name__)

RETRY_SECONDS = 5.0  # where nobody has said how long to wait
USED_UP = "the credential's budget at the provider is used up for the moment"


@dataclass(frozen=True, slots=True)
class NotNow:
    """Why the provider is not asked: its credential waits for its owner, is throttled, or the host is down."""

    reason: Literal["paused", "throttled", "host_down"]
    detail: str
    retry_after_seconds: float


class Errands:
    """For callers that wait for the answer; they have the poll's holds and budgets, and teach it what they saw."""

    def __init__(self, schedule: Schedule, standing: Standing, egress: Egress, clock: Clock) -> None:
        self._schedule = schedule
        self._standing = standing
        self._egress = egress
        self._clock = clock

    def sight(self, job: Job, credential: Credential, definition: Definition) -> Sight:
        """The job with all that asking for it takes."""
        return Sight(job, Memo(), credential, definition, target_for(definition, credential, job))

    async def leave(self, sight: Sight, *kinds: str) -> Meter | NotNow:
        """
        What to ask the provider through, its first request paid for, or why it may not be asked now. Waits for room in
        the budget, if that is not long. Whoever asks tells `learn` what came of it.
        """
        credential = sight.credential
        if credential.is_paused or not credential.secrets:
            detail = f"the credential {credential.name} is not usable ({credential.status_reason or credential.status})"
            return NotNow("paused", detail, RETRY_SECONDS)
        wait_seconds = self._hold_seconds(credential)
        if wait_seconds > PATIENCE_SECONDS:
            return NotNow("throttled", USED_UP, wait_seconds)
        wait_seconds = self._standing.breaker_wait(sight.host)
        if wait_seconds > 0:
            return NotNow("host_down", "the provider's host has not answered well for a while", wait_seconds)
        await self._limit(sight)
        meter = Meter(self._egress, self._schedule, self._clock, credential.id, credential.provider, *kinds, paid=0)
        return meter if await meter.pay() else NotNow("throttled", USED_UP, RETRY_SECONDS)

    def _hold_seconds(self, credential: Credential) -> float:
        """What is left of a hold that this process knows of, or that the database does."""
        until = credential.throttled_until
        is_held = credential.status is CredentialStatus.THROTTLED and until is not None
        told_seconds = (until - self._clock.now()).total_seconds() if is_held and until else 0.0
        return max(told_seconds, self._standing.hold_seconds(credential))

    async def _limit(self, sight: Sight) -> None:
        """Redis may have forgotten the budget of a credential that nothing was asked with for long."""
        credential = sight.credential
        try:
            limits = budget(credential, sight.definition)
            await self._schedule.limit(credential.id, limits, str(to_ms(credential.updated_at)))
        except Unreachable as error:
            log.warning("limits_not_scheduled", credential=credential.id, reason=str(error))

    async def learn(self, sight: Sight, observation: Observation) -> None:
        """What the answer says of host and credential; the caller has it even when this cannot be written."""
        try:
            await self._standing.learn([(sight, observation)])
        except Unreachable as error:
            log.warning("answer_not_learned", credential=sight.credential.id, reason=str(error))
