"""How long a peer asks us to stay away, in any of the dialects in which services say so."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from relay.domain.backoff import RETRY_AFTER_SECONDS_MAX

PROVIDER_SECONDS_MAX = 86_400.0  # a provider may close its door for the rest of the day; nobody's link dies of that
EPOCH_SECONDS_MIN = 1_000_000_000  # a reset beyond this is a moment, below it a number of seconds from now
EPOCH_MILLISECONDS_MIN = 1_000_000_000_000

MILLISECOND_HEADERS = ("retry-after-ms", "x-ms-retry-after-ms", "openai-poll-after-ms")
RESET_HEADERS = ("x-ratelimit-reset", "ratelimit-reset")
REMAINING_HEADERS = ("x-ratelimit-remaining", "ratelimit-remaining")

NUMBER = re.compile(r"\s*([+-]?[0-9]{1,18}(?:\.[0-9]{0,18})?)\s*")


def retry_after_seconds(
    headers: Iterable[tuple[str, str]],
    now: datetime,
    *,
    is_refused: bool = True,
    max_seconds: float = RETRY_AFTER_SECONDS_MAX,
) -> float | None:
    """
    Seconds from `now`, within 0 and `max_seconds`, or None when nothing legible was said.

    Milliseconds are preferred to `Retry-After` (a number, possibly with a fraction, or a date: RFC 9110 10.2.3),
    and that to the end of the peer's rate window. The window is believed only when `is_refused` (429, 503) and
    it has nothing left: many services send it along with every success.
    """
    said: dict[str, str] = {}
    for name, value in headers:
        said.setdefault(name.lower(), value)
    seconds = _from_milliseconds(said)
    if seconds is None:
        seconds = _from_retry_after(said.get("retry-after"), now)
    if seconds is None and is_refused:
        seconds = _from_reset(said, now)
    return None if seconds is None else min(max(seconds, 0.0), max_seconds)


def _from_milliseconds(said: dict[str, str]) -> float | None:
    numbers = (_number(said.get(name)) for name in MILLISECOND_HEADERS)
    return next((number / 1000 for number in numbers if number is not None), None)


def _from_retry_after(text: str | None, now: datetime) -> float | None:
    number = _number(text)
    if number is not None or text is None:
        return number
    moment = _http_date(text)
    return None if moment is None else (moment - now).total_seconds()


def _from_reset(said: dict[str, str], now: datetime) -> float | None:
    if any((_number(said.get(name)) or 0) > 0 for name in REMAINING_HEADERS):
        return None
    numbers = (_number(said.get(name)) for name in RESET_HEADERS)
    number = next((number for number in numbers if number is not None), None)
    if number is None or number < EPOCH_SECONDS_MIN:
        return number
    moment_seconds = number / 1000 if number >= EPOCH_MILLISECONDS_MIN else number
    return moment_seconds - now.timestamp()


def _number(text: str | None) -> float | None:
    found = NUMBER.fullmatch(text) if text is not None else None
    return float(found[1]) if found else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
