"""Tests of how a page writes moments, lengths, ids and the parts of an attempt."""

import pytest

from relay.domain.moments import rfc3339, seconds_after
from relay.web.dashboard.phrases import clock_time, distance, length, phases, short
from tests.trips import utc

NOW = utc(2026, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86_399, "23 h"), (1e6, "11 d")],
)
def test_a_length_is_told_by_its_largest_whole_unit(seconds: float, told: str) -> None:
    assert length(seconds) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "just now"), (0.9, "just now"), (-125, "2 min ago"), (125, "in 2 min")]
)
def test_a_moment_is_told_by_its_distance_from_now(seconds: float, told: str) -> None:
    assert distance(rfc3339(seconds_after(NOW, seconds)) or "", NOW) == told


def test_a_moment_is_told_whole_in_utc() -> None:
    assert clock_time("2026-01-02T04:04:05.678+01:00") == "2026-01-02 03:04:05 UTC"


def test_an_id_is_shown_by_its_ends_and_a_short_text_whole() -> None:
    assert short("job_01kc0000000000000000000abc") == "job_01kc…00abc"
    assert short("key_environment") == "key_environment"


def test_the_parts_of_an_attempt_lie_behind_each_other_and_fill_the_bar() -> None:
    told = phases({"dns_ms": None, "connect_ms": 10, "tls_ms": 30, "wait_ms": 60, "read_ms": 0})
    assert [(one.name, one.start, one.width) for one in told] == [
        ("connect", 0, 10),
        ("TLS", 10, 30),
        ("wait", 40, 60),
        ("read", 100, 0),
    ]
    assert phases({}) == []
    assert [one.width for one in phases({"connect_ms": 0})] == [0]
