"""Requests beyond the one that a lease pays for: each takes from its credential's budget before it goes out."""

from dataclasses import replace

import structlog

from relay import metrics
from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.egress import Answered, Egress, Outgoing, Timing, Unanswered
from relay.schedule import Schedule

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 10.0  # longer than this nobody waits for leave: a hold, or a budget that is far behind
UNMETERED_SECONDS = 1.0  # between requests while Redis, which knows the budget, is away


class Meter:
    """
    Sends for one credential as Egress does, never faster than its budget allows. `paid` requests have been paid for
    already, by a lease. A request that finds no leave is not sent, and `is_spent` says so. One that a kept connection
    has lost goes out again, on a new one and paid for again, for the provider may well have had both.
    """

    def __init__(
        self,
        egress: Egress,
        schedule: Schedule,
        clock: Clock,
        credential: str,
        provider: str,
        *kinds: str,
        paid: int = 1,
    ) -> None:
        self._egress = egress
        self._schedule = schedule
        self._clock = clock
        self._credential = credential
        self._provider = provider
        self._kinds = kinds or ("look",)
        self._paid = paid
        self._sent = 0
        self.is_spent = False

    async def send(self, request: Outgoing) -> Answered | Unanswered:
        """The answer, or Unanswered for a request that was not sent for want of leave."""
        if self._paid <= 0 and not await self.pay():
            return Unanswered("blocked", "the credential's budget leaves no room", Timing(), "relay", was_sent=False)
        kind = self._kinds[min(self._sent, len(self._kinds) - 1)]
        self._sent += 1
        began = self._clock.monotonic()
        said = await self._send(replace(request, is_metered=True), kind)
        left_seconds = request.timeout_seconds - (self._clock.monotonic() - began)
        if not (isinstance(said, Unanswered) and said.is_stale) or left_seconds <= 0:
            return said
        if self._paid <= 0 and not await self.pay():
            return said
        return await self._send(replace(request, is_repeatable=False, timeout_seconds=left_seconds), kind)

    async def _send(self, request: Outgoing, kind: str) -> Answered | Unanswered:
        self._paid -= 1
        metrics.REQUESTS.labels(self._provider, kind).inc()
        return await self._egress.send(request)

    async def pay(self) -> bool:
        """Waits for leave to send one more; False when that would take too long."""
        try:
            wait_ms = await self._schedule.reserve(self._credential, round(PATIENCE_SECONDS * 1000))
        except Unreachable as error:
            log.warning("request_unmetered", credential=self._credential, reason=str(error))
            wait_ms = round(UNMETERED_SECONDS * 1000)
        if wait_ms is None:
            self.is_spent = True
            return False
        if wait_ms > 0:
            await self._clock.sleep(wait_ms / 1000)
        self._paid += 1
        return True
