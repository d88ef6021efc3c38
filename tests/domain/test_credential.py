"""What one look says of the account it was made with."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.credential import (
    GOOD,
    PAUSED,
    THROTTLE_SECONDS_FIRST,
    THROTTLE_SECONDS_MAX,
    TRANSITIONS,
    CredentialStatus,
    credential_view,
    judge,
)
from relay.domain.observation import Observation, Outcome
from tests.domain.specimens import a_credential, later

DICE = st.floats(0, 1, exclude_max=True)
AGAINST = {
    Outcome.THROTTLED: CredentialStatus.THROTTLED,
    Outcome.AUTH: CredentialStatus.AUTH_FAILED,
    Outcome.PAYMENT: CredentialStatus.PAYMENT_REQUIRED,
}
PAUSES = PAUSED


@pytest.mark.parametrize("outcome", Outcome)
def test_only_refusals_say_something_against_a_credential(outcome: Outcome) -> None:
    verdict = judge(Observation(outcome, detail="why"), 0, 0.5)
    assert (verdict.status if verdict else None) == AGAINST.get(outcome)
    if verdict:
        assert verdict.reason == "why"


@pytest.mark.parametrize("outcome", AGAINST)
def test_a_refusal_is_no_good_answer(outcome: Outcome) -> None:
    assert outcome not in GOOD


def test_a_failure_of_the_network_speaks_neither_for_nor_against() -> None:
    assert set(Outcome) - GOOD - set(AGAINST) == {Outcome.TRANSIENT}


@pytest.mark.parametrize(("status", "outcome"), list(product(CredentialStatus, Outcome)))
def test_the_table_of_states_says_what_the_verdicts_say(status: CredentialStatus, outcome: Outcome) -> None:
    verdict = judge(Observation(outcome), 0, 0.5)
    said = verdict.status if verdict else CredentialStatus.ACTIVE if outcome in GOOD else status
    if said is CredentialStatus.THROTTLED and status in PAUSES:
        said = status
    assert TRANSITIONS.get((status, outcome), status) is said


def test_no_entry_of_the_table_leaves_things_as_they_are() -> None:
    assert all(before is not after for (before, _), after in TRANSITIONS.items())


@given(st.floats(0, 3600), st.integers(0, 1000), DICE)
def test_the_providers_own_retry_after_is_taken_as_it_is(asked: float, throttles: int, jitter: float) -> None:
    verdict = judge(Observation(Outcome.THROTTLED, retry_after_seconds=asked), throttles, jitter)
    assert verdict is not None
    assert verdict.hold_seconds == asked


@given(st.integers(0, 10**6), DICE)
def test_without_one_the_hold_has_full_jitter_below_a_doubling_ceiling(throttles: int, jitter: float) -> None:
    verdict = judge(Observation(Outcome.THROTTLED), throttles, jitter)
    assert verdict is not None
    ceiling = min(THROTTLE_SECONDS_MAX, THROTTLE_SECONDS_FIRST * 2 ** min(throttles, 16))
    assert verdict.hold_seconds == pytest.approx(ceiling * jitter)


def test_ceilings_double_up_to_a_quarter_of_an_hour() -> None:
    holds = [judge(Observation(Outcome.THROTTLED), number, 1.0) for number in range(10)]
    assert [verdict.hold_seconds if verdict else None for verdict in holds] == (
        [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    )


@pytest.mark.parametrize("outcome", [Outcome.AUTH, Outcome.PAYMENT])
def test_a_pause_holds_nothing_by_itself(outcome: Outcome) -> None:
    verdict = judge(Observation(outcome, retry_after_seconds=60), 3, 0.5)
    assert verdict is not None
    assert verdict.hold_seconds == 0


@pytest.mark.parametrize("status", CredentialStatus)
def test_only_what_needs_the_owner_is_a_pause(status: CredentialStatus) -> None:
    assert a_credential(status=status).is_paused == (status in PAUSES)


def test_secrets_are_in_no_repr_and_in_no_view() -> None:
    credential = a_credential(secrets={"b": "hidden-1", "a": "hidden-2"}, throttled_until=later(5))
    assert "hidden" not in repr(credential)
    assert "hidden" not in str(credential_view(credential))
    assert credential_view(credential)["secrets"] == ["a", "b"]
    assert credential_view(credential)["throttled_until"] == "2026-03-04T05:06:12.890Z"
