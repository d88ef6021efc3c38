"""When to look next at a job that is still working: its age says when it is likely to end."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

JITTER = 0.1  # ±10 %, so that jobs registered together are not looked at together
AGE_SHARE = 0.02  # before anything was learned: the end is seen at most 2 % of the job's age late
# p: how likely the job should have ended at the next look, given that it has not yet. One look in four finds the end:
# four or five looks for a job, short or long, which is seen late by about a tenth of its time. With p = 1/8 it would be
# half as late for twice the looks, with p = 1/2 more than twice as late for half of them.
CHANCE_PER_LOOK = 0.25
ENDINGS_NEEDED = 30


@dataclass(frozen=True, slots=True)
class Pace:
    """A provider's manners: first interval and bounds of a gap, in seconds."""

    interval_seconds: float
    min_seconds: float
    max_seconds: float


def next_gap(age_seconds: float, pace: Pace, quantiles: Sequence[float], jitter: float) -> float:
    """
    Seconds to the next look at a job of that age.

    `quantiles` are the durations of past jobs of its kind in ascending order, evenly spaced in probability
    (empty: nothing learned, so the provider's own interval, stretched with age). With them the next look comes
    when the job, given that it is still running, has ended with probability p: look i is at
    F⁻¹(1 − (1 − p)^i) (Munford & Shahani 1972). `jitter` in [0, 1).
    """
    gap = _learned_gap(age_seconds, quantiles) if quantiles else max(pace.interval_seconds, age_seconds * AGE_SHARE)
    gap *= 1.0 + JITTER * (2.0 * jitter - 1.0)
    return min(max(gap, pace.min_seconds), pace.max_seconds)


def _learned_gap(age_seconds: float, quantiles: Sequence[float]) -> float:
    survival = 1.0 - share_ended(age_seconds, quantiles)
    target = 1.0 - (1.0 - CHANCE_PER_LOOK) * survival
    if survival <= 0.0:
        return max(age_seconds * AGE_SHARE, age_seconds - quantiles[-1])
    return duration_at(target, quantiles) - age_seconds


def learned_view(durations: Sequence[float], looks_mean: float, kind: str) -> dict[str, object]:
    """What was learned of one kind of job, as the API shows it; `durations` in seconds, ascending, not empty."""
    return {
        "kind": kind or None,
        "samples": len(durations),
        "median_seconds": round(duration_at(0.5, durations), 3),
        "p95_seconds": round(duration_at(0.95, durations), 3),
        "looks_per_job": round(looks_mean, 2),
        "is_used": len(durations) >= ENDINGS_NEEDED,
    }


def share_ended(seconds: float, quantiles: Sequence[float]) -> float:
    """F(seconds) by linear interpolation between the quantiles."""
    last = len(quantiles) - 1
    if seconds <= quantiles[0]:
        return 0.0
    if seconds >= quantiles[-1]:
        return 1.0
    above = bisect_right(quantiles, seconds)
    low, high = quantiles[above - 1], quantiles[above]
    inside = (seconds - low) / (high - low) if high > low else 0.0
    return (above - 1 + inside) / last


def duration_at(share: float, quantiles: Sequence[float]) -> float:
    """F⁻¹(share), share in [0, 1]."""
    last = len(quantiles) - 1
    position = min(max(share, 0.0), 1.0) * last
    below = min(int(position), last - 1) if last else 0
    if last == 0:
        return quantiles[0]
    return quantiles[below] + (quantiles[below + 1] - quantiles[below]) * (position - below)
