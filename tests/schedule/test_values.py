"""Limits in the words of people."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.schedule import Limits

UNEVEN_MS = 100


@given(st.floats(min_value=0.01, max_value=10_000))
def test_the_burst_of_a_rate_keeps_every_ten_seconds_within_five_percent(requests: float) -> None:
    limits = Limits.per_second(requests, concurrency=3)
    assert limits.concurrency == 3
    # Ten seconds of arrivals are up to so many ms more of departures; nobody counts parts of a request.
    most = math.floor((10_000 + UNEVEN_MS) / limits.interval_ms) + limits.burst
    assert most <= max(10 * requests * 1.05, math.ceil(10 * requests))


def test_a_rate_of_fractions_is_kept_to_the_microsecond() -> None:
    assert Limits.per_second(300).interval_ms == pytest.approx(3.4)
