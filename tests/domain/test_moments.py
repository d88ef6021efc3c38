"""A moment survives being written down, to the millisecond and in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.moments import EPOCH, from_ms, parse_rfc3339, rfc3339, seconds_after, to_ms, whole_ms

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.builds(
    lambda seconds, microseconds, zone: (EPOCH + timedelta(seconds=seconds, microseconds=microseconds)).astimezone(
        zone
    ),
    st.integers(-2_000_000_000, 200_000_000_000),
    st.integers(0, 999_999),
    OFFSETS,
)


@given(MOMENTS)
def test_milliseconds_there_and_back_lose_only_what_is_finer(moment: datetime) -> None:
    back = from_ms(to_ms(moment))
    assert timedelta() <= moment - back < timedelta(milliseconds=1)
    assert back == whole_ms(moment)
    assert back.tzinfo is UTC


@given(MOMENTS)
def test_the_text_of_a_moment_reads_back_as_that_moment(moment: datetime) -> None:
    text = rfc3339(moment)
    assert text is not None
    assert parse_rfc3339(text) == whole_ms(moment)


@given(MOMENTS, MOMENTS)
def test_texts_of_moments_sort_as_the_moments_do(one: datetime, other: datetime) -> None:
    texts = sorted([rfc3339(one) or "", rfc3339(other) or ""])
    assert texts == [rfc3339(min(one, other)), rfc3339(max(one, other))]


def test_a_moment_is_written_in_utc_with_exactly_three_digits() -> None:
    eastern = timezone(timedelta(hours=-5))
    assert rfc3339(datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=eastern)) == "2026-01-02T08:04:05.678Z"
    assert rfc3339(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000Z"


def test_no_moment_is_written_as_none() -> None:
    assert rfc3339(None) is None


def test_a_moment_before_the_epoch_is_rounded_down_too() -> None:
    assert to_ms(EPOCH - timedelta(microseconds=1)) == -1


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05",
        "2026-01-02",
        "yesterday",
        "",
        "2026-13-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_what_is_no_moment_with_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)


@given(MOMENTS.map(whole_ms), st.floats(-1e8, 1e8))
def test_seconds_are_added_to_the_millisecond(moment: datetime, seconds: float) -> None:
    moved = seconds_after(moment, seconds)
    assert moved == whole_ms(moved)
    assert abs((moved - moment).total_seconds() - seconds) <= 0.001
