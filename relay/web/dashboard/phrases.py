"""Moments, lengths and ids as a page writes them, so that no script has to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from relay.domain.moments import parse_rfc3339

UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))
NOW_SECONDS = 1.0  # nearer than this nobody tells apart
ID_LENGTH_SHOWN_MAX = 16
PHASES = {"dns_ms": "DNS", "connect_ms": "connect", "tls_ms": "TLS", "wait_ms": "wait", "read_ms": "read"}


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of an attempt; `start` and `width` are its place in a bar that is 100 wide."""

    name: str
    milliseconds: int
    start: float
    width: float


def length(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h`, `5 d`: as coarse as a glance wants it."""
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{int(seconds)} s"


def distance(moment: str, now: datetime) -> str:
    """`3 min ago` or `in 3 min`, for a moment in RFC 3339."""
    seconds = (now - parse_rfc3339(moment)).total_seconds()
    if abs(seconds) < NOW_SECONDS:
        return "just now"
    return f"{length(seconds)} ago" if seconds > 0 else f"in {length(-seconds)}"


def clock_time(moment: str) -> str:
    """`2026-01-02 03:04:05 UTC`, for a moment in RFC 3339."""
    return f"{parse_rfc3339(moment):%Y-%m-%d %H:%M:%S} UTC"


def short(text: str) -> str:
    """An id by its ends, where the whole of it would fill the line; the end tells those apart that came together."""
    return text if len(text) <= ID_LENGTH_SHOWN_MAX else f"{text[:8]}…{text[-5:]}"


def phases(timing: Mapping[str, int | None]) -> list[Phase]:
    """The parts of an attempt that were reached, one behind the other."""
    reached = [(name, timing.get(field)) for field, name in PHASES.items()]
    total = sum(milliseconds or 0 for _, milliseconds in reached) or 1
    start, found = 0.0, []
    for name, milliseconds in reached:
        if milliseconds is not None:
            width = 100 * milliseconds / total
            found.append(Phase(name, milliseconds, round(start, 2), round(width, 2)))
            start += width
    return found
