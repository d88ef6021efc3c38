"""A host that only answers with faults is left in peace, and tried by one look at a time, until it does better."""

from collections import defaultdict
from dataclasses import dataclass

import structlog

from relay.clock import Clock
from relay.domain.backoff import after_faults

log = structlog.get_logger(__name__)

FAULTS_BORNE = 5  # in a row, at one host
SECONDS_FIRST = 5.0
SECONDS_MAX = 60.0
TRIAL_SECONDS = 10.0  # so long at most a look takes; then the next one may try


@dataclass(slots=True)
class _Breaker:
    faults: int = 0
    closed_until: float = 0.0
    is_tried: bool = False


class Breakers:
    """One for each host, in each process: what one process learns, the others learn as quickly by themselves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._breakers: defaultdict[str, _Breaker] = defaultdict(_Breaker)

    def wait_seconds(self, host: str) -> float:
        """Until the host may be asked again; 0 when it may be asked now, which then counts as the trial."""
        breaker = self._breakers.get(host)
        if breaker is None or breaker.faults < FAULTS_BORNE:
            return 0.0
        now = self._clock.monotonic()
        if now >= breaker.closed_until:
            breaker.closed_until, breaker.is_tried = now + TRIAL_SECONDS, True
            return 0.0
        # Spread, or all that wait would come at the same moment and but one of them be sent away again.
        return breaker.closed_until - now + self._clock.dice()

    def note(self, host: str, *, is_fault: bool) -> None:
        """One more answer, or none."""
        if not is_fault:
            self._breakers.pop(host, None)
            return
        breaker = self._breakers[host]
        if breaker.faults >= FAULTS_BORNE and not breaker.is_tried:
            return  # of those that were on their way together the first has said it
        breaker.faults += 1
        breaker.is_tried = False
        if breaker.faults >= FAULTS_BORNE:
            rounds = breaker.faults - FAULTS_BORNE + 1
            pause_seconds = after_faults(rounds, SECONDS_FIRST, self._clock.dice(), SECONDS_MAX)
            breaker.closed_until = self._clock.monotonic() + pause_seconds
            log.warning("host_down", host=host, faults_in_a_row=breaker.faults, pause_seconds=round(pause_seconds, 1))
