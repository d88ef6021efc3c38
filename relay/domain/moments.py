"""How a moment is written: RFC 3339 in UTC with milliseconds for people, whole milliseconds for machines."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since the epoch; `moment` must be aware."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int) -> datetime:
    """The aware UTC moment that many milliseconds after the epoch."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def whole_ms(moment: datetime) -> datetime:
    """The same moment without what is finer than a millisecond, so that what is stored equals what is sent."""
    return from_ms(to_ms(moment))


def rfc3339(moment: datetime | None) -> str | None:
    """`2026-01-02T03:04:05.678Z`, or None for None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """The aware UTC moment written in `text`; raises ValueError for anything else, and for one without an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # its offset moves it out of the years that a datetime can hold
        raise ValueError("a time needs a year from 1 to 9999") from None


def next_version(before: datetime, now: datetime) -> datetime:
    """`now`, or just after `before`: an `updated_at` that differs, for compare-and-set goes by it."""
    return max(now, before + timedelta(milliseconds=1))


def seconds_after(moment: datetime, seconds: float) -> datetime:
    """`moment` moved by `seconds`, to the millisecond."""
    return moment + timedelta(milliseconds=round(seconds * 1000))
