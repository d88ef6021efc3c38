"""The next look comes when the job has probably ended: neither sooner nor later than its provider bears."""

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.domain.pacing import AGE_SHARE, CHANCE_PER_LOOK, JITTER, Pace, duration_at, next_gap, share_ended

PACE = Pace(interval_seconds=3.0, min_seconds=1.0, max_seconds=60.0)
FREE = Pace(interval_seconds=3.0, min_seconds=0.0, max_seconds=math.inf)
AGES = st.floats(0, 1e6)
DICE = st.floats(0, 1, exclude_max=True)
QUANTILES = st.lists(st.floats(0, 1e5), min_size=1, max_size=65).map(sorted)
# A duration longer than the one before by something that floats can tell apart.
RISING = st.lists(st.integers(1, 10_000), min_size=2, max_size=65, unique=True).map(sorted)


@given(AGES, st.one_of(st.just([]), QUANTILES), DICE)
def test_a_gap_never_leaves_its_bounds(age: float, quantiles: list[float], jitter: float) -> None:
    assert PACE.min_seconds <= next_gap(age, PACE, quantiles, jitter) <= PACE.max_seconds


@given(AGES, st.one_of(st.just([]), QUANTILES), DICE)
def test_jitter_moves_a_gap_by_a_tenth_at_most(age: float, quantiles: list[float], jitter: float) -> None:
    middle = next_gap(age, FREE, quantiles, 0.5)
    gap = next_gap(age, FREE, quantiles, jitter)
    assert middle * (1 - JITTER) * (1 - 1e-9) <= gap <= middle * (1 + JITTER) * (1 + 1e-9)


@given(st.floats(0, PACE.interval_seconds / AGE_SHARE))
def test_before_anything_is_learned_a_young_job_is_looked_at_in_its_providers_own_interval(age: float) -> None:
    assert next_gap(age, PACE, [], 0.5) == PACE.interval_seconds


def test_before_anything_is_learned_an_old_job_is_looked_at_in_proportion_to_its_age() -> None:
    assert next_gap(1000, PACE, [], 0.5) == pytest.approx(20)
    assert next_gap(100_000, PACE, [], 0.5) == PACE.max_seconds


@given(RISING)
def test_the_first_look_comes_when_a_quarter_of_the_jobs_have_ended(quantiles: list[float]) -> None:
    assert next_gap(0, FREE, quantiles, 0.5) == pytest.approx(duration_at(CHANCE_PER_LOOK, quantiles))


@given(RISING, st.integers(1, 12))
def test_look_number_i_comes_at_the_quantile_of_one_minus_three_quarters_to_the_i(
    quantiles: list[float], number: int
) -> None:
    age = 0.0
    for _ in range(number):
        age += next_gap(age, FREE, quantiles, 0.5)
    expected = duration_at(1 - (1 - CHANCE_PER_LOOK) ** number, quantiles)
    assert age == pytest.approx(expected, rel=1e-6)


@given(RISING, st.floats(0, 0.99))
def test_each_look_finds_the_job_ended_with_the_same_chance(quantiles: list[float], share: float) -> None:
    age = duration_at(share, quantiles)
    before = share_ended(age, quantiles)
    assume(before < 0.99)
    after = share_ended(age + next_gap(age, FREE, quantiles, 0.5), quantiles)
    assert (after - before) / (1 - before) == pytest.approx(CHANCE_PER_LOOK, rel=1e-4)


@given(QUANTILES, st.floats(1, 1e5))
def test_a_job_older_than_all_that_were_seen_is_looked_at_ever_more_rarely(
    quantiles: list[float], beyond: float
) -> None:
    age = quantiles[-1] + beyond
    assert next_gap(age, FREE, quantiles, 0.5) >= age * AGE_SHARE
    assert next_gap(age, FREE, quantiles, 0.5) <= age


@given(st.floats(1, 1e5), st.integers(1, 65), st.floats(0, 2e5))
def test_durations_that_were_all_the_same_do_no_harm(duration: float, count: int, age: float) -> None:
    gap = next_gap(age, PACE, [duration] * count, 0.5)
    assert PACE.min_seconds <= gap <= PACE.max_seconds


@given(QUANTILES, st.floats(0, 1), st.floats(0, 1))
def test_longer_durations_have_larger_shares(quantiles: list[float], one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert duration_at(low, quantiles) <= duration_at(high, quantiles) * (1 + 1e-12)
    early, late = sorted([one * 1e5, other * 1e5])
    assert share_ended(early, quantiles) <= share_ended(late, quantiles) + 1e-12


@given(RISING, st.floats(0, 1))
def test_a_share_and_its_duration_are_each_others_inverse(quantiles: list[float], share: float) -> None:
    assert share_ended(duration_at(share, quantiles), quantiles) == pytest.approx(share, abs=1e-6)


def test_the_ends_of_the_quantiles_are_the_shortest_and_the_longest() -> None:
    assert [duration_at(share, [10, 20, 40]) for share in (-1, 0, 0.5, 0.75, 1, 2)] == [10, 10, 20, 30, 40, 40]
    assert [share_ended(seconds, [10, 20, 40]) for seconds in (0, 10, 15, 20, 30, 40, 50)] == (
        [0, 0, 0.25, 0.5, 0.75, 1, 1]
    )


def test_jobs_of_one_minute_are_seen_within_seconds_of_their_end() -> None:
    """Design section 6: about six looks and a mean delay near 6 s for jobs of 105 s and narrow spread."""
    durations = [105 * math.exp(0.25 * z / 10) for z in range(-20, 21)]
    delays, looks = [], 0
    for duration in durations:
        age = 0.0
        while age < duration:
            age += next_gap(age, Pace(3, 1, 60), durations, 0.5)
            looks += 1
        delays.append(age - duration)
    assert sum(delays) / len(delays) < 12
    assert looks / len(durations) < 10


@given(st.lists(DICE, min_size=60, max_size=60))
def test_looks_at_one_job_always_move_on(dice: list[float]) -> None:
    ages = [0.0]
    for jitter in dice:
        ages.append(ages[-1] + next_gap(ages[-1], PACE, [5, 10, 10, 10, 90], jitter))
    assert all(late - early >= PACE.min_seconds * (1 - 1e-9) for early, late in pairwise(ages))
