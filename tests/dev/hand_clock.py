"""A clock that goes only when it is moved."""

from datetime import UTC, datetime, timedelta

from relay.clock import Clock


class HandClock(Clock):
    """`move` is the only thing that makes time pass; nobody may sleep on it."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        """So many seconds later."""
        self.moment += timedelta(seconds=seconds)
        self.seconds += seconds
