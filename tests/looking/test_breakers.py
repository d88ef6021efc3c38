"""A host that only fails is tried by one look at a time, ever more rarely, and trusted again after one good answer."""

from relay.clock import Clock
from relay.looking.breakers import FAULTS_BORNE, SECONDS_FIRST, SECONDS_MAX, TRIAL_SECONDS, Breakers

HOST = "api.example"


class HandClock(Clock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def dice(self) -> float:
        return 0.5


def broken(clock: HandClock) -> Breakers:
    breakers = Breakers(clock)
    for _ in range(FAULTS_BORNE):
        assert breakers.wait_seconds(HOST) == 0
        breakers.note(HOST, is_fault=True)
    return breakers


def test_a_few_faults_in_a_row_are_borne_and_the_next_look_waits() -> None:
    breakers = broken(HandClock())
    assert SECONDS_FIRST <= breakers.wait_seconds(HOST) <= SECONDS_FIRST + 1
    assert breakers.wait_seconds("other.example") == 0


def test_a_good_answer_between_the_faults_begins_anew() -> None:
    breakers = Breakers(HandClock())
    for _ in range(20):
        for _ in range(FAULTS_BORNE - 1):
            breakers.note(HOST, is_fault=True)
        breakers.note(HOST, is_fault=False)
    assert breakers.wait_seconds(HOST) == 0


def test_one_look_tries_and_the_others_wait_for_it() -> None:
    clock = HandClock()
    breakers = broken(clock)
    clock.at += SECONDS_FIRST
    assert breakers.wait_seconds(HOST) == 0
    assert TRIAL_SECONDS <= breakers.wait_seconds(HOST) <= TRIAL_SECONDS + 1
    breakers.note(HOST, is_fault=False)
    assert breakers.wait_seconds(HOST) == 0


def test_failed_trials_come_ever_more_rarely_up_to_a_minute() -> None:
    clock = HandClock()
    breakers = broken(clock)
    waits = []
    for _ in range(8):
        waits.append(breakers.wait_seconds(HOST))
        clock.at += waits[-1]
        assert breakers.wait_seconds(HOST) == 0
        breakers.note(HOST, is_fault=True)
    assert waits == sorted(waits)
    assert waits[1] > waits[0]
    assert waits[-1] <= SECONDS_MAX * 1.2 + 1


def test_faults_of_looks_that_were_on_their_way_together_count_as_one() -> None:
    clock = HandClock()
    breakers = broken(clock)
    for _ in range(100):
        breakers.note(HOST, is_fault=True)
    assert breakers.wait_seconds(HOST) <= SECONDS_FIRST + 1


def test_a_trial_that_never_comes_back_does_not_close_the_host_for_ever() -> None:
    clock = HandClock()
    breakers = broken(clock)
    clock.at += SECONDS_FIRST
    assert breakers.wait_seconds(HOST) == 0
    clock.at += TRIAL_SECONDS
    assert breakers.wait_seconds(HOST) == 0
