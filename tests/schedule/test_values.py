"""Limits in the words of people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.schedule import Limits


@given(st.floats(min_value=0.01, max_value=10_000))
def test_the_burst_of_a_rate_keeps_every_ten_seconds_within_five_percent(requests: float) -> None:
    limits = Limits.per_second(requests, concurrency=3)
    assert limits.concurrency == 3
    most = 10_000 / limits.interval_ms + limits.burst
    assert most <= 10 * requests * 1.05 or limits.burst == 1


def test_a_rate_of_fractions_is_kept_exactly() -> None:
    assert Limits.per_second(300).interval_ms == pytest.approx(3.333333333)
