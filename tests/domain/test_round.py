"""A round is made when it is cheaper than the looks it spares, and never closer than the provider's interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.round import (
    FAULT_SECONDS_MAX,
    FAULTS_BORNE,
    RoundMemo,
    fault_gap,
    is_left_alone,
    net_seconds,
    round_gap,
)

GAPS = st.lists(st.floats(0.1, 3600), min_size=2, max_size=300)
PAGES = st.integers(1, 50)
INTERVAL = st.floats(0.1, 60)


@given(GAPS, PAGES, INTERVAL)
def test_a_round_is_never_closer_than_the_providers_interval(gaps: list[float], pages: int, interval: float) -> None:
    assert round_gap(gaps, pages, interval) >= interval


@given(GAPS, PAGES, INTERVAL)
def test_when_a_round_comes_at_least_as_many_jobs_are_due_as_it_takes_pages(
    gaps: list[float], pages: int, interval: float
) -> None:
    gap = round_gap(gaps, pages, interval)
    assert sum(one <= gap for one in gaps) >= min(pages, len(gaps))


@given(GAPS, PAGES, INTERVAL)
def test_those_left_to_single_looks_cost_no_more_than_a_round(gaps: list[float], pages: int, interval: float) -> None:
    gap = round_gap(gaps, pages, interval)
    if gap > interval:
        assert sum(is_left_alone(one, gap) for one in gaps) < pages


@given(st.floats(0.1, 3600), PAGES, INTERVAL)
def test_a_job_alone_keeps_its_own_pace(gap: float, pages: int, interval: float) -> None:
    assert round_gap([gap], pages, interval) == gap


def test_where_nothing_goes_on_the_next_round_comes_after_the_interval() -> None:
    assert round_gap([], 3, 5.0) == 5.0


@given(st.floats(0, 1e6))
def test_the_net_is_always_behind_the_round(gap: float) -> None:
    assert net_seconds(gap) > gap


def test_one_fault_is_borne_and_the_second_leaves_the_work_to_single_looks() -> None:
    assert [RoundMemo(faults=faults).is_failing for faults in range(4)] == [False, False, True, True]
    assert FAULTS_BORNE == 1


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_a_failing_list_is_tried_ever_more_rarely_but_always_again(faults: int, jitter: float) -> None:
    assert 0 < fault_gap(faults, 3.0, jitter) <= FAULT_SECONDS_MAX * 1.2
    assert fault_gap(faults + 1, 3.0, 0.5) >= fault_gap(faults, 3.0, 0.5)


@given(st.builds(RoundMemo, st.integers(0, 9), st.integers(0, 2), st.integers(0, 500)))
def test_a_memo_survives_its_text(memo: RoundMemo) -> None:
    assert RoundMemo.parse(memo.dump()) == memo


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"polls": 3}', '{"reach": -1}', '{"pages": "many"}', '{"pages": true}']
)
def test_a_foreign_text_is_an_empty_memo(text: str) -> None:
    assert RoundMemo.parse(text) == RoundMemo()


def test_a_reach_that_no_version_knows_is_forgotten() -> None:
    assert RoundMemo.parse('{"reach": 1000000}') == RoundMemo()
