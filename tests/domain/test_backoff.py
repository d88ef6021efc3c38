"""Waits are spread out, bounded, and fit eight attempts into the life of a link."""

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.backoff import (
    ATTEMPTS_BEFORE_EXPIRY,
    COMPRESSED_GAP_SECONDS_MIN,
    EXPIRY_MARGIN,
    FAULT_SECONDS_MAX,
    LAST_CALL_SECONDS_MIN,
    LAST_CALL_SPREAD,
    SCHEDULE_JITTER,
    after_faults,
    attempt_gap,
    compression,
    jittered,
    last_call,
)
from tests.domain.specimens import NOW, later

SCHEDULE = (5.0, 30.0, 120.0, 300.0, 600.0, 1200.0, 1500.0, 3600.0, 7200.0, 18000.0, 36000.0, 36000.0)
DICE = st.floats(0, 1, exclude_max=True)
SCHEDULES = st.lists(st.floats(0, 36_000), min_size=1, max_size=15)


def test_ten_thousand_draws_stay_within_a_fifth_and_fill_it_evenly() -> None:
    dice = random.Random(7)
    draws = [jittered(100.0, dice.random()) for _ in range(10_000)]
    assert min(draws) >= 80
    assert max(draws) < 120
    counts = [sum(80 + 4 * bin_ <= draw < 84 + 4 * bin_ for draw in draws) for bin_ in range(10)]
    assert min(counts) > 850
    assert max(counts) < 1150


@given(st.floats(0, 1e6), DICE, st.floats(0, 1))
def test_jitter_never_leaves_its_spread(seconds: float, jitter: float, spread: float) -> None:
    low, high = seconds * (1 - spread), seconds * (1 + spread)
    assert low * (1 - 1e-9) <= jittered(seconds, jitter, spread) <= high * (1 + 1e-9)


def test_waits_after_faults_double() -> None:
    waits = [after_faults(faults, 3.0, 0.5) for faults in range(1, 6)]
    assert waits == [3, 6, 12, 24, 48]


@given(st.integers(1, 10**9), st.floats(0.1, 60), DICE)
def test_waits_after_faults_never_exceed_their_ceiling_by_more_than_the_jitter(
    faults: int, base_seconds: float, jitter: float
) -> None:
    assert 0 < after_faults(faults, base_seconds, jitter) <= FAULT_SECONDS_MAX * (1 + SCHEDULE_JITTER)


@given(st.integers(1, 100), st.floats(0.1, 60), DICE)
def test_one_more_fault_never_shortens_the_wait(faults: int, base_seconds: float, jitter: float) -> None:
    assert after_faults(faults, base_seconds, jitter) <= after_faults(faults + 1, base_seconds, jitter)


@given(SCHEDULES, st.floats(0, 1e6))
def test_compressed_gaps_fit_into_what_is_available_at_the_worst_of_the_dice(
    gaps: list[float], available_seconds: float
) -> None:
    factor = compression(gaps, available_seconds)
    assert 0 <= factor <= 1
    assert sum(gap * factor * (1 + SCHEDULE_JITTER) for gap in gaps) <= available_seconds * (1 + 1e-9) + 1e-9


def test_nothing_is_compressed_that_fits_as_it_is() -> None:
    assert compression(SCHEDULE[:7], 4506) == 1
    assert compression(SCHEDULE[:7], 4505) < 1
    assert compression([], 0) == 1


@pytest.mark.parametrize("step", range(len(SCHEDULE)))
def test_without_an_expiry_each_gap_is_the_schedules_own(step: int) -> None:
    assert attempt_gap(SCHEDULE, step, None, NOW, 0.5) == SCHEDULE[step]


def test_a_used_up_schedule_has_no_further_gap() -> None:
    assert attempt_gap(SCHEDULE, len(SCHEDULE), None, NOW, 0.5) is None
    assert attempt_gap((), 0, later(60), NOW, 0.5) is None


@given(st.integers(0, 6), st.floats(0.0, 1e6), DICE)
def test_once_the_links_are_dead_the_schedule_runs_at_its_own_pace(step: int, past: float, jitter: float) -> None:
    assert attempt_gap(SCHEDULE, step, later(-past), NOW, jitter) == jittered(SCHEDULE[step], jitter)


@given(st.integers(7, 11), st.floats(1, 1e6), DICE)
def test_beyond_the_eighth_attempt_no_gap_is_compressed(step: int, left: float, jitter: float) -> None:
    assert attempt_gap(SCHEDULE, step, later(left), NOW, jitter) == jittered(SCHEDULE[step], jitter)


@given(st.floats(0.1, 1e6), st.floats(LAST_CALL_SECONDS_MIN, 1e6), DICE)
def test_a_gap_that_would_outlast_the_links_leaves_room_for_a_last_call(gap: float, left: float, jitter: float) -> None:
    call = last_call(gap, later(left), NOW, jitter)
    if gap >= left:
        assert call is not None
    if call is not None:
        assert call < gap
        assert left * (EXPIRY_MARGIN - LAST_CALL_SPREAD) - 0.001 <= call <= left * EXPIRY_MARGIN + 0.001


@given(st.floats(0.1, 1e6), st.floats(-1e6, LAST_CALL_SECONDS_MIN - 0.01), DICE)
def test_dead_and_dying_links_have_had_their_last_call(gap: float, left: float, jitter: float) -> None:
    assert last_call(gap, later(left), NOW, jitter) is None
    assert last_call(gap, None, NOW, jitter) is None


@given(SCHEDULES, st.integers(0, 14), st.floats(0.001, 1e6), DICE)
def test_an_expiry_never_lengthens_a_gap_nor_makes_it_a_hammer(
    schedule: list[float], step: int, left: float, jitter: float
) -> None:
    plain, gap = attempt_gap(schedule, step, None, NOW, jitter), attempt_gap(schedule, step, later(left), NOW, jitter)
    assert (plain is None) == (gap is None)
    if plain is not None and gap is not None:
        assert gap <= plain
        assert gap >= min(plain, COMPRESSED_GAP_SECONDS_MIN * (1 - SCHEDULE_JITTER)) * (1 - 1e-9)


def attempts(
    schedule: Sequence[float], life_seconds: float, dice: Sequence[float], attempt_seconds: float, held_seconds: float
) -> list[float]:
    """When each attempt begins, in seconds after NOW, at a receiver that takes its time and always fails."""
    began, elapsed = [], held_seconds
    for step, jitter in enumerate([*dice, 0.5]):
        began.append(elapsed)
        elapsed += attempt_seconds
        gap = attempt_gap(schedule, step, later(life_seconds), NOW + timedelta(seconds=elapsed), jitter)
        if gap is None:
            break
        elapsed += gap
    return began


@given(
    life_seconds=st.floats(10, 7 * 86_400),
    dice=st.lists(DICE, min_size=12, max_size=12),
    share_of_attempts=st.floats(0, 0.3),
    share_held=st.floats(0, 0.6),
)
def test_eight_attempts_begin_before_expiry_whatever_the_life_the_dice_the_receiver_and_a_hold(
    life_seconds: float, dice: list[float], share_of_attempts: float, share_held: float
) -> None:
    attempt_seconds = min(15.0, life_seconds * share_of_attempts / ATTEMPTS_BEFORE_EXPIRY)
    began = attempts(SCHEDULE, life_seconds, dice, attempt_seconds, life_seconds * share_held)
    assert sum(moment < life_seconds for moment in began) >= ATTEMPTS_BEFORE_EXPIRY
    assert all(early < late for early, late in pairwise(began))


@given(
    schedule=st.lists(st.floats(1, 36_000), min_size=7, max_size=15).map(sorted),
    life_seconds=st.floats(10, 7 * 86_400),
    dice=st.lists(DICE, min_size=15, max_size=15),
)
def test_eight_attempts_begin_before_expiry_on_any_schedule_of_seven_rising_gaps(
    schedule: list[float], life_seconds: float, dice: list[float]
) -> None:
    began = attempts(schedule, life_seconds, dice, 0.01, 0)
    assert sum(moment < life_seconds for moment in began) >= ATTEMPTS_BEFORE_EXPIRY


def test_a_life_that_is_long_enough_changes_nothing() -> None:
    began = attempts(SCHEDULE, 120_000, [0.5] * 12, 0, 0)
    assert began == [sum(SCHEDULE[:number]) for number in range(len(SCHEDULE) + 1)]
