"""What each answer makes of a delivery, and when the next attempt is."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.backoff import ATTEMPTS_BEFORE_EXPIRY, RETRY_AFTER_SECONDS_MAX
from relay.domain.delivery import (
    CONNECTION_FAULTS,
    TRANSITIONS,
    Answer,
    AnswerClass,
    Blame,
    Delivery,
    DeliveryStatus,
    Next,
    Trigger,
    answer_class,
    attempt_view,
    delivery_view,
    disabling_reason,
    has_failed_too_long,
    step,
)
from relay.domain.retry_after import retry_after_seconds
from relay.domain.subscription import SubscriptionStatus
from tests.domain.specimens import NOW, a_delivery, a_subscription, an_attempt, later

SCHEDULE = (5.0, 30.0, 120.0, 300.0, 600.0, 1200.0, 1500.0, 3600.0, 7200.0, 18000.0, 36000.0, 36000.0)
DICE = st.floats(0, 1, exclude_max=True)
CLASSES: tuple[AnswerClass, ...] = get_args(AnswerClass)
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
STATUS_CODES = st.integers(100, 999)
NO_STATUS: tuple[AnswerClass, ...] = ("timeout", "refused", "reset", "dns", "tls", "blocked", "too_large")


def answered(status_code: int, **more: Any) -> Answer:
    """The answer with that status code."""
    return Answer(answer_class(status_code), "receiver", status_code, **more)


def unanswered(kind: AnswerClass, blame: Blame = "receiver") -> Answer:
    """An attempt that brought no answer."""
    return Answer(kind, blame)


def following(delivery: Delivery, answer: Answer, *, seconds: float = 0, schedule: Sequence[float] = SCHEDULE) -> Next:
    """What follows the answer, so many seconds after NOW, with dice that change nothing."""
    return step(delivery, answer, later(seconds), schedule, 0.5)


def delays(answer: Answer, schedule: Sequence[float] = SCHEDULE, **changes: Any) -> list[float]:
    """The waits between attempts at a receiver that always answers so, until the delivery is closed."""
    delivery, waits = a_delivery(**changes), []
    while (then := following(delivery, answer, schedule=schedule)).delay_seconds is not None:
        waits.append(then.delay_seconds)
        delivery = then.delivery
        assert len(waits) <= len(schedule) + 1
    return waits


ANSWERS = st.one_of(
    STATUS_CODES.map(answered),
    st.sampled_from(NO_STATUS).map(unanswered),
    st.builds(
        lambda code, seconds, wish: answered(
            code, retry_after_seconds=seconds, response_headers=(("Webhook-Delivery", wish),)
        ),
        STATUS_CODES,
        st.none() | st.floats(0, 1e6),
        st.sampled_from(["", "abort", "disable", " ABORT ", "nonsense"]),
    ),
)
DELIVERIES = st.builds(
    lambda steps, has_quick_retried, trigger, life: a_delivery(
        steps=steps,
        attempts_made=steps,
        has_quick_retried=has_quick_retried,
        next_trigger=trigger,
        expires_at=None if life is None else later(life),
    ),
    st.integers(0, len(SCHEDULE)),
    st.booleans(),
    st.sampled_from(TRIGGERS),
    st.none() | st.floats(-1000, 1e6),
)


@pytest.mark.parametrize("status_code", [200, 201, 202, 204, 299])
def test_every_2xx_succeeds(status_code: int) -> None:
    """D1."""
    then = following(a_delivery(), answered(status_code), seconds=2)
    assert then == Next(then.delivery, None)
    assert (then.delivery.status, then.delivery.completed_at) == (DeliveryStatus.SUCCEEDED, later(2))
    assert (then.delivery.attempts_made, then.delivery.next_attempt_at) == (1, None)


@pytest.mark.parametrize("status_code", [301, 302, 303, 304, 307, 308])
def test_every_redirect_fails(status_code: int) -> None:
    """D2."""
    assert answer_class(status_code) == "redirect"
    assert following(a_delivery(), answered(status_code)).delay_seconds == 5


@given(STATUS_CODES)
def test_only_2xx_is_a_success(status_code: int) -> None:
    assert (answer_class(status_code) == "success") == (200 <= status_code <= 299)


@pytest.mark.parametrize(
    ("status_code", "kind"),
    [
        (100, "server_error"),
        (199, "server_error"),
        (300, "redirect"),
        (399, "redirect"),
        (400, "client_error"),
        (408, "client_error"),
        (409, "client_error"),
        (410, "gone"),
        (411, "client_error"),
        (413, "client_error"),
        (429, "throttled"),
        (499, "client_error"),
        (500, "server_error"),
        (503, "server_error"),
        (599, "server_error"),
        (999, "server_error"),
    ],
)
def test_a_status_code_has_its_class(status_code: int, kind: AnswerClass) -> None:
    assert answer_class(status_code) == kind


@given(DELIVERIES, ANSWERS, DICE)
def test_whatever_the_answer_the_table_allows_what_follows(delivery: Delivery, answer: Answer, jitter: float) -> None:
    then = step(delivery, answer, NOW, SCHEDULE, jitter)
    after = then.delivery
    assert after.status in TRANSITIONS[DeliveryStatus.PENDING]
    assert after.attempts_made == delivery.attempts_made + 1
    assert after.next_trigger == "schedule"
    is_due = then.delay_seconds is not None
    assert is_due == (after.status is DeliveryStatus.PENDING) == (after.next_attempt_at is not None)
    assert (after.completed_at is not None) == (after.status in (DeliveryStatus.SUCCEEDED, DeliveryStatus.EXHAUSTED))
    assert (after.status is DeliveryStatus.HELD) == (then.disables is not None and answer.answer != "success")
    assert then.disables == disabling_reason(answer)
    if then.delay_seconds is not None and after.next_attempt_at is not None:
        assert then.delay_seconds >= 0
        assert abs((after.next_attempt_at - NOW).total_seconds() - then.delay_seconds) <= 0.001


@pytest.mark.parametrize("status", [one for one in DeliveryStatus if one is not DeliveryStatus.PENDING])
@pytest.mark.parametrize("status_code", [200, 410, 500])
def test_nothing_follows_an_answer_to_a_delivery_that_is_not_pending(status: DeliveryStatus, status_code: int) -> None:
    with pytest.raises(ValueError, match=status):
        following(a_delivery(status=status), answered(status_code))


def test_every_status_has_its_row_in_the_table_and_a_cancelled_delivery_stays_so() -> None:
    assert set(TRANSITIONS) == set(DeliveryStatus)
    assert TRANSITIONS[DeliveryStatus.CANCELLED] == frozenset()


@pytest.mark.parametrize("kind", [one for one in CLASSES if one not in ("success", "gone")])
def test_every_other_failure_is_retried(kind: AnswerClass) -> None:
    """D7."""
    assert following(a_delivery(), unanswered(kind)).delay_seconds == (1 if kind in CONNECTION_FAULTS else 5)


def test_attempts_stand_at_the_offsets_of_the_schedule() -> None:
    """D4."""
    assert delays(answered(500)) == list(SCHEDULE)
    offsets = [0.0]
    for delay in delays(answered(500)):
        offsets.append(offsets[-1] + delay)
    assert offsets[-1] == 104_555
    assert len(offsets) == 13


def test_ten_thousand_draws_of_each_gap_stay_within_a_fifth_and_fill_it() -> None:
    """D4."""
    dice = random.Random(11)
    for used, seconds in enumerate(SCHEDULE):
        delivery = a_delivery(steps=used)
        draws = [step(delivery, answered(500), NOW, SCHEDULE, dice.random()).delay_seconds or 0 for _ in range(10_000)]
        assert seconds * 0.8 <= min(draws) < seconds * 0.801
        assert seconds * 1.199 < max(draws) < seconds * 1.2
        assert sum(draws) / len(draws) == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize("answer", [answered(500), answered(503), unanswered("refused"), unanswered("timeout")])
def test_an_empty_schedule_means_one_attempt(answer: Answer) -> None:
    """D5."""
    then = following(a_delivery(), answer, schedule=())
    assert (then.delivery.status, then.delay_seconds) == (DeliveryStatus.EXHAUSTED, None)
    assert then.delivery.attempts_made == 1


def test_a_used_up_schedule_exhausts_the_delivery() -> None:
    """D6."""
    then = following(a_delivery(steps=len(SCHEDULE), attempts_made=12), answered(500), seconds=9)
    assert (then.delivery.status, then.delivery.completed_at) == (DeliveryStatus.EXHAUSTED, later(9))


@pytest.mark.parametrize(
    "said",
    ["120", "120.5", "Wed, 04 Mar 2026 05:08:07 GMT", "0", "-5", "soon", "99999999", "Tue, 03 Mar 2026 00:00:00 GMT"],
)
def test_retry_after_in_any_spelling_lengthens_and_never_shortens(said: str) -> None:
    """D14."""
    asked = retry_after_seconds([("Retry-After", said)], NOW)
    for used, gap in enumerate(SCHEDULE):
        then = following(a_delivery(steps=used), answered(500, retry_after_seconds=asked))
        assert then.delay_seconds == max(gap, min(asked or 0, RETRY_AFTER_SECONDS_MAX))


@pytest.mark.parametrize("answer", [answered(400), answered(500), answered(302), answered(503), answered(502)])
def test_retry_after_is_honoured_on_any_failure(answer: Answer) -> None:
    """D14."""
    assert following(a_delivery(), replace(answer, retry_after_seconds=600)).delay_seconds == 600


@given(st.floats(0, 1e9), DICE)
def test_nobody_is_stayed_away_from_for_more_than_an_hour_at_his_own_wish(seconds: float, jitter: float) -> None:
    then = step(a_delivery(), answered(429, retry_after_seconds=seconds), NOW, SCHEDULE, jitter)
    assert then.delay_seconds is not None
    assert then.delay_seconds <= RETRY_AFTER_SECONDS_MAX
    assert then.hold_seconds == min(seconds, RETRY_AFTER_SECONDS_MAX)


@pytest.mark.parametrize(
    ("status_code", "hold_seconds"), [(429, 90), (503, 90), (500, 0), (502, 0), (504, 0), (400, 0), (200, 0)]
)
def test_only_429_and_503_hold_the_whole_subscription(status_code: int, hold_seconds: float) -> None:
    """D15."""
    assert following(a_delivery(), answered(status_code, retry_after_seconds=90)).hold_seconds == hold_seconds


def test_a_429_without_a_wish_holds_nothing() -> None:
    assert following(a_delivery(), answered(429)).hold_seconds == 0


def test_the_last_attempt_holds_the_subscription_too() -> None:
    then = following(a_delivery(steps=len(SCHEDULE)), answered(429, retry_after_seconds=90))
    assert (then.delivery.status, then.hold_seconds) == (DeliveryStatus.EXHAUSTED, 90)


@pytest.mark.parametrize(
    "answer",
    [answered(502), answered(503), answered(504), *map(unanswered, sorted(CONNECTION_FAULTS))],
)
def test_what_a_cold_start_looks_like_gets_one_quick_retry(answer: Answer) -> None:
    """D21."""
    assert delays(answer) == [1, *SCHEDULE]


@pytest.mark.parametrize("answer", [answered(500), answered(429), answered(404), unanswered("timeout")])
def test_what_is_no_cold_start_gets_none(answer: Answer) -> None:
    """D21."""
    assert delays(answer) == list(SCHEDULE)


def test_the_quick_retry_comes_once_whenever_the_first_cold_answer_does() -> None:
    """D21."""
    then = following(a_delivery(steps=3, attempts_made=3), answered(503))
    assert (then.delay_seconds, then.delivery.steps) == (1, 3)
    then = following(then.delivery, answered(503))
    assert (then.delay_seconds, then.delivery.steps) == (SCHEDULE[3], 4)


@given(DICE)
def test_the_quick_retry_is_spread_too(jitter: float) -> None:
    delay = step(a_delivery(), unanswered("reset"), NOW, SCHEDULE, jitter).delay_seconds
    assert delay is not None
    assert 0.8 <= delay <= 1.2


def test_410_disables_and_holds_the_delivery_for_a_later_activation() -> None:
    """D13."""
    then = following(a_delivery(), answered(410, retry_after_seconds=90))
    assert then.disables == "the receiver answered 410 Gone"
    assert (then.delivery.status, then.delivery.next_attempt_at) == (DeliveryStatus.HELD, None)
    assert (then.delay_seconds, then.delivery.completed_at, then.hold_seconds) == (None, None, 0)


@pytest.mark.parametrize("status_code", [302, 400, 429, 500])
@pytest.mark.parametrize("wish", ["disable", " Disable "])
def test_a_receiver_may_ask_to_be_disabled(status_code: int, wish: str) -> None:
    then = following(a_delivery(), answered(status_code, response_headers=(("Webhook-Delivery", wish),)))
    assert then.disables == "the receiver asked to be disabled"
    assert then.delivery.status is DeliveryStatus.HELD


@pytest.mark.parametrize("wish", ["abort", "abort-message", " Abort"])
def test_a_receiver_may_ask_that_one_delivery_be_given_up(wish: str) -> None:
    then = following(a_delivery(), answered(503, response_headers=(("webhook-delivery", wish),)))
    assert (then.delivery.status, then.delay_seconds, then.disables) == (DeliveryStatus.EXHAUSTED, None, None)


@pytest.mark.parametrize("wish", ["disable", "abort", "abort-message"])
def test_a_success_is_one_whatever_its_headers_wish_and_may_be_the_last(wish: str) -> None:
    then = following(a_delivery(), answered(200, response_headers=(("webhook-delivery", wish),)))
    assert (then.delivery.status, then.delay_seconds) == (DeliveryStatus.SUCCEEDED, None)
    assert then.disables == ("the receiver asked to be disabled" if wish == "disable" else None)


@pytest.mark.parametrize("used", [0, 3, len(SCHEDULE)])
def test_a_fault_of_ours_costs_the_receiver_no_attempt(used: int) -> None:
    """A3."""
    then = following(a_delivery(steps=used), unanswered("refused", "relay"))
    assert (then.delivery.status, then.delivery.steps) == (DeliveryStatus.PENDING, used)
    assert (then.delay_seconds, then.delivery.has_quick_retried) == (SCHEDULE[min(used, len(SCHEDULE) - 1)], False)
    only = following(a_delivery(), unanswered("refused", "relay"), schedule=())
    assert only.delivery.status is DeliveryStatus.EXHAUSTED


@pytest.mark.parametrize("trigger", ["manual", "recovery"])
@pytest.mark.parametrize("used", range(1, len(SCHEDULE) + 1))
def test_an_attempt_by_hand_takes_the_planned_ones_place_and_leaves_it_its_slot(trigger: Trigger, used: int) -> None:
    """M2."""
    then = following(a_delivery(steps=used, attempts_made=used, next_trigger=trigger), answered(500))
    assert (then.delay_seconds, then.delivery.steps) == (SCHEDULE[used - 1], used)


def test_however_often_somebody_tries_by_hand_the_whole_schedule_is_still_to_come() -> None:
    """M2."""
    delivery = following(a_delivery(), answered(500)).delivery
    for _ in range(50):
        delivery = following(replace(delivery, next_trigger="manual"), answered(500)).delivery
    waits = []
    while (then := following(delivery, answered(500))).delay_seconds is not None:
        waits.append(then.delay_seconds)
        delivery = then.delivery
    assert waits == list(SCHEDULE[1:])
    assert delivery.attempts_made == 51 + len(SCHEDULE) - 1


@given(
    life_seconds=st.floats(15, 3 * 86_400),
    dice=st.lists(DICE, min_size=20, max_size=20),
    answers=st.lists(st.sampled_from([500, 503, 404, 302]), min_size=20, max_size=20),
    attempt_seconds=st.floats(0, 15),
)
def test_eight_attempts_begin_while_the_links_of_a_result_live(
    life_seconds: float, dice: list[float], answers: list[int], attempt_seconds: float
) -> None:
    attempt_seconds = min(attempt_seconds, life_seconds / 40)
    delivery, elapsed, alive = a_delivery(expires_at=later(life_seconds)), 0.0, 0
    for jitter, status_code in zip(dice, answers, strict=True):
        alive += elapsed < life_seconds
        elapsed += attempt_seconds
        then = step(delivery, answered(status_code), later(elapsed), SCHEDULE, jitter)
        if then.delay_seconds is None:
            break
        delivery, elapsed = then.delivery, elapsed + then.delay_seconds
    assert alive >= ATTEMPTS_BEFORE_EXPIRY


def test_links_that_die_between_two_attempts_get_a_last_call_that_costs_no_slot() -> None:
    delivery, elapsed, began, steps = a_delivery(expires_at=later(86_400)), 0.0, [0.0], [0]
    while (then := following(delivery, answered(500), seconds=elapsed)).delay_seconds is not None:
        delivery, elapsed = then.delivery, elapsed + then.delay_seconds
        began.append(round(elapsed))
        steps.append(delivery.steps)
    assert began[10:] == [32_555, 68_555, 85_062, 86_300, 86_392, 122_392]
    assert steps[10:] == [10, 11, 11, 11, 11, 12]


def test_a_delivery_whose_links_have_died_is_still_tried_to_the_end() -> None:
    """M6."""
    assert delays(answered(500), expires_at=later(-1)) == list(SCHEDULE)


@given(st.lists(DICE, min_size=20, max_size=20))
def test_gaps_grow_as_the_schedule_does(dice: list[float]) -> None:
    delivery, waits = a_delivery(), []
    for jitter in dice:
        then = step(delivery, answered(500), NOW, (1.0, 2.0, 4.0, 8.0), jitter)
        if then.delay_seconds is None:
            break
        waits.append(then.delay_seconds)
        delivery = then.delivery
    assert len(waits) == 4
    assert all(early < late for early, late in pairwise(waits))


def test_a_subscription_is_given_up_after_so_many_hours_without_a_success() -> None:
    """A1."""
    failing = a_subscription(failing_since=NOW)
    assert not has_failed_too_long(failing, NOW + timedelta(hours=120) - timedelta(milliseconds=1), 120)
    assert has_failed_too_long(failing, NOW + timedelta(hours=120), 120)


def test_a_subscription_that_does_not_fail_or_is_not_called_is_not_given_up() -> None:
    """A2."""
    long_after = NOW + timedelta(days=365)
    assert not has_failed_too_long(a_subscription(failing_since=None), long_after, 120)
    for status in (SubscriptionStatus.PAUSED, SubscriptionStatus.DISABLED):
        assert not has_failed_too_long(a_subscription(failing_since=NOW, status=status), long_after, 120)


def test_a_response_header_is_found_in_any_case_and_the_first_one_counts() -> None:
    answer = answered(500, response_headers=(("X-One", "1"), ("x-one", "2")))
    assert (answer.header("x-one"), answer.header("x-two")) == ("1", None)


def test_response_headers_of_one_name_are_shown_together() -> None:
    answer = answered(200, response_headers=(("set-cookie", "a"), ("x", "1"), ("set-cookie", "b")))
    assert attempt_view(an_attempt(answer))["response_headers"] == {"set-cookie": "a, b", "x": "1"}


def test_a_list_of_deliveries_leaves_the_attempts_null_and_one_delivery_carries_them() -> None:
    attempt = an_attempt(answered(500, timing={"dns_ms": None, "wait_ms": 3}, duration_ms=9, hint="look there"))
    assert delivery_view(a_delivery())["attempts"] is None
    assert delivery_view(a_delivery(), [])["attempts"] == []
    assert delivery_view(a_delivery(), [attempt])["attempts"] == [attempt_view(attempt)]


def test_an_attempt_is_shown_with_everything_the_contract_names() -> None:
    answer = answered(500, response_headers=(("a", "b"),), response_body="oh", is_truncated=True, hint="look there")
    assert attempt_view(an_attempt(answer)) == {
        "id": "att_00000000000000000000000001",
        "object": "attempt",
        "number": 1,
        "trigger": "schedule",
        "started_at": "2026-03-04T05:06:07.890Z",
        "duration_ms": 0,
        "timing": {},
        "answer": "server_error",
        "blame": "receiver",
        "status_code": 500,
        "request_headers": {"webhook-id": "evt_00000000000000000000000001"},
        "response_headers": {"a": "b"},
        "response_body": "oh",
        "response_truncated": True,
        "hint": "look there",
    }
