"""How long peers ask us to stay away, in all their dialects."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.retry_after import PROVIDER_SECONDS_MAX, retry_after_seconds

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "86400"}, 3600.0),
        ({"Retry-After": "Fri, 02 Jan 2026 03:05:05 GMT"}, 60.0),
        ({"Retry-After": "Friday, 02-Jan-26 03:05:05 GMT"}, 60.0),
        ({"Retry-After": "Fri Jan  2 03:05:05 2026"}, 60.0),
        ({"Retry-After": "Fri, 02 Jan 2026 03:00:00 GMT"}, 0.0),
        ({"Retry-After": "Fri, 02 Jan 2026 04:05:05 +0100"}, 60.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"openai-poll-after-ms": "5000"}, 5.0),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5),
        ({"retry-after-ms": "soon", "Retry-After": "9"}, 9.0),
        ({"X-RateLimit-Reset": str(EPOCH + 30)}, 30.0),
        ({"X-RateLimit-Reset": str((EPOCH + 30) * 1000)}, 30.0),
        ({"X-RateLimit-Reset": str(EPOCH - 30)}, 0.0),
        ({"X-RateLimit-Reset": "12"}, 12.0),
        ({"RateLimit-Reset": "12", "RateLimit-Remaining": "0"}, 12.0),
        ({"X-RateLimit-Reset": "12", "X-RateLimit-Remaining": "3"}, None),
        ({"Retry-After": "1", "X-RateLimit-Reset": "12"}, 1.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Fri, 99 Foo 2026 03:05:05 GMT"}, None),
        ({}, None),
    ],
)
def test_what_was_asked_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers.items(), NOW) == seconds


def test_the_end_of_a_rate_window_is_no_request_to_wait_unless_the_call_was_refused() -> None:
    assert retry_after_seconds([("X-RateLimit-Reset", "12")], NOW, is_refused=False) is None
    assert retry_after_seconds([("Retry-After", "12")], NOW, is_refused=False) == 12.0


def test_the_first_of_two_equal_headers_counts() -> None:
    assert retry_after_seconds([("Retry-After", "1"), ("retry-after", "2")], NOW) == 1.0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Retry-After", "retry-after-ms", "X-RateLimit-Reset", "X-RateLimit-Remaining", "Date"]),
            st.one_of(st.text(), st.integers().map(str), st.floats().map(str), st.datetimes().map(str)),
        )
    )
)
def test_anything_legible_lies_within_an_hour_and_nothing_raises(headers: list[tuple[str, str]]) -> None:
    seconds = retry_after_seconds(headers, NOW)
    assert seconds is None or 0.0 <= seconds <= 3600.0


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=3600))
def test_a_date_means_the_same_as_its_distance(seconds: int) -> None:
    date = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after_seconds([("Retry-After", date)], NOW) == seconds


def test_a_provider_may_close_its_door_for_a_day_and_no_longer() -> None:
    def asked(seconds: int) -> float | None:
        return retry_after_seconds([("Retry-After", str(seconds))], NOW, max_seconds=PROVIDER_SECONDS_MAX)

    assert [asked(seconds) for seconds in (7200, 86_400, 1_000_000)] == [7200.0, 86_400.0, 86_400.0]
