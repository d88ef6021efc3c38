"""How long to wait after something failed: spread out, bounded, and never shorter than what was asked for."""

from collections.abc import Sequence
from datetime import datetime

SCHEDULE_JITTER = 0.2  # ±20 %: receivers that failed together do not come back together
ATTEMPTS_BEFORE_EXPIRY = 8
EXPIRY_MARGIN = 0.95  # the last attempt before expiry leaves the receiver some time with a living link
LAST_CALL_SPREAD = 0.05  # of the life that is left: what dies together is not sent together
LAST_CALL_SECONDS_MIN = 30.0  # a life shorter than that has had its last call
COMPRESSED_GAP_SECONDS_MIN = 0.1  # a link that is all but dead is no reason to send the eight at once
QUICK_RETRY_SECONDS = 1.0  # a serverless receiver that was cold is warm by then
RETRY_AFTER_SECONDS_MAX = 3600.0
FAULT_SECONDS_MAX = 120.0


def jittered(seconds: float, jitter: float, spread: float = SCHEDULE_JITTER) -> float:
    """`seconds` moved evenly within ±`spread` by `jitter` in [0, 1)."""
    return seconds * (1.0 + spread * (2.0 * jitter - 1.0))


def after_faults(faults: int, base_seconds: float, jitter: float, max_seconds: float = FAULT_SECONDS_MAX) -> float:
    """The wait after the n-th transient fault in a row (n from 1): doubling, capped, ±20 %."""
    ceiling = min(max_seconds, base_seconds * 2.0 ** min(faults - 1, 30))
    return jittered(ceiling, jitter)


def compression(gaps: Sequence[float], available_seconds: float) -> float:
    """
    The factor in (0, 1] by which the gaps shrink so that all of them fit into `available_seconds`.

    Jitter is taken at its worst, so that the promise holds whatever the dice say.
    """
    needed = sum(gaps) * (1.0 + SCHEDULE_JITTER)
    return 1.0 if needed <= available_seconds else available_seconds / needed


def attempt_gap(
    schedule: Sequence[float], step: int, expires_at: datetime | None, now: datetime, jitter: float
) -> float | None:
    """
    Seconds until the attempt after `step` used slots of the schedule, or None when it is exhausted.

    While the result's links live, the gaps up to the eighth attempt are compressed so that it sees them alive:
    into what is left of their life, for attempts and holds use it up as well. Afterwards the schedule runs at its
    own pace, for `result_url` still works.
    """
    if step >= len(schedule):
        return None
    gap = schedule[step]
    if expires_at is not None and now < expires_at:
        life_seconds = (expires_at - now).total_seconds()
        factor = compression(schedule[step : ATTEMPTS_BEFORE_EXPIRY - 1], life_seconds * EXPIRY_MARGIN)
        gap = max(gap * factor, min(gap, COMPRESSED_GAP_SECONDS_MIN))
    return jittered(gap, jitter)


def last_call(gap_seconds: float, expires_at: datetime | None, now: datetime, jitter: float) -> float | None:
    """
    Seconds until one more attempt just before the result's links die, where the next one would come after that.

    It is an extra: whoever makes it uses no slot of the schedule. None where there is no call for it.
    """
    life_seconds = (expires_at - now).total_seconds() if expires_at is not None else 0.0
    call_seconds = life_seconds * (EXPIRY_MARGIN - LAST_CALL_SPREAD * jitter)
    return call_seconds if life_seconds >= LAST_CALL_SECONDS_MIN and call_seconds < gap_seconds else None
