"""Every (state, observation) pair, legal and illegal; grace, deadlines, and what one look leaves for the next."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta
from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.backoff import SCHEDULE_JITTER
from relay.domain.job import (
    AWAITS_LINK,
    EVENT_OF_ENDING,
    MEMO_NUMBER_MAX,
    NOT_FOUND_GAP_SECONDS_MAX,
    OPEN,
    SUBMISSIONS,
    TRANSITIONS,
    Again,
    Ended,
    Job,
    JobStatus,
    Memo,
    SubmissionAnswer,
    deadline,
    expire,
    links_expire_at,
    remember,
    step,
    submitted,
)
from relay.domain.moments import from_ms, to_ms
from relay.domain.observation import File, JobError, Observation, Outcome, Result
from relay.domain.pacing import Pace
from tests.domain.specimens import NOW, a_job, later

PACE = Pace(interval_seconds=3.0, min_seconds=1.0, max_seconds=60.0)
UNSEEN = [status for status in JobStatus if status is not JobStatus.PENDING]  # of which no look is made
ENDED = [status for status in JobStatus if status not in OPEN]
LASTING = [Outcome.PENDING, Outcome.UNKNOWN, Outcome.AUTH, Outcome.PAYMENT, Outcome.THROTTLED, Outcome.TRANSIENT]
DICE = st.floats(0, 1, exclude_max=True)
OBSERVATIONS = st.sampled_from(Outcome).map(Observation)


def again(job: Job, memo: Memo, observation: Observation, seconds: float = 1.0, jitter: float = 0.5) -> Again:
    """What follows `seconds` after NOW, which must be another look."""
    following = step(job, memo, observation, later(seconds), PACE, jitter=jitter)
    assert isinstance(following, Again)
    return following


def ended(job: Job, memo: Memo, observation: Observation, seconds: float = 1.0) -> Job:
    """What follows `seconds` after NOW, which must be an ending."""
    following = step(job, memo, observation, later(seconds), PACE)
    assert isinstance(following, Ended)
    return following.job


def run(job: Job, answers: Sequence[tuple[float, Outcome]]) -> Again | Ended:
    """What follows the last of the answers, each given at so many seconds after NOW."""
    memo, following = Memo(), None
    for seconds, outcome in answers:
        following = step(job, memo, Observation(outcome), later(seconds), PACE)
        if isinstance(following, Ended):
            return following
        memo = following.memo
    assert following is not None
    return following


def test_the_table_speaks_of_pending_jobs_alone_and_of_every_outcome() -> None:
    assert set(TRANSITIONS) == set(product([JobStatus.PENDING], Outcome))


@pytest.mark.parametrize(("status", "outcome"), list(product(UNSEEN, Outcome)))
def test_no_look_makes_anything_of_a_job_that_has_ended_or_has_not_begun(status: JobStatus, outcome: Outcome) -> None:
    with pytest.raises(KeyError):
        step(a_job(status=status), Memo(), Observation(outcome), NOW, PACE)


@pytest.mark.parametrize("outcome", LASTING)
def test_what_is_no_ending_leaves_the_job_pending(outcome: Outcome) -> None:
    assert again(a_job(), Memo(), Observation(outcome)).memo.polls == 1


@pytest.mark.parametrize(
    ("outcome", "status"), [(Outcome.COMPLETED, JobStatus.COMPLETED), (Outcome.FAILED, JobStatus.FAILED)]
)
def test_the_first_terminal_answer_ends_the_job(outcome: Outcome, status: JobStatus) -> None:
    assert ended(a_job(), Memo(), Observation(outcome)).status is status


def test_every_ending_but_the_owners_own_has_an_event() -> None:
    assert set(EVENT_OF_ENDING) == set(ENDED) - {JobStatus.CANCELLED}


@pytest.mark.parametrize("status", JobStatus)
def test_only_a_job_that_is_not_open_has_ended(status: JobStatus) -> None:
    assert a_job(status=status).has_ended == (status in ENDED)


@pytest.mark.parametrize(("status", "answer"), list(product(JobStatus, get_args(SubmissionAnswer))))
def test_only_a_job_that_is_being_submitted_can_be_answered(status: JobStatus, answer: SubmissionAnswer) -> None:
    assert ((status, answer) in SUBMISSIONS) == (status is JobStatus.SUBMITTING)
    if status is not JobStatus.SUBMITTING:
        with pytest.raises(KeyError):
            submitted(a_job(status=status), answer)


def test_a_submitted_job_claims_the_id_that_its_provider_gave_it() -> None:
    job = submitted(
        a_job(status=JobStatus.SUBMITTING, provider_job_id=None, tracking=None), "created", provider_job_id="7"
    )
    assert job is not None
    assert (job.status, job.provider_job_id, job.tracking) == (JobStatus.PENDING, "7", f"{job.credential_id}/7")


def test_a_refused_submission_leaves_nothing_and_an_unclear_one_says_its_doubt() -> None:
    asked = a_job(status=JobStatus.SUBMITTING, provider_job_id=None, tracking=None)
    assert submitted(asked, "refused") is None
    assert submitted(asked, "unclear", doubt="it may exist") == replace(asked, warnings=("it may exist",))


def test_a_job_that_was_never_named_expires_for_want_of_that_word() -> None:
    job = expire(a_job(status=JobStatus.SUBMITTING, provider_job_id=None, tracking=None), Memo(), later(86_400))
    assert "had created the job" in (job.error or {})["message"]


def test_a_completed_job_has_its_result_and_no_error() -> None:
    result = Result((File("audio", "https://files.example/a.mp3"),), "res-1", {"state": "done"})
    job = ended(a_job(), Memo(), Observation(Outcome.COMPLETED, "done", result=result), 9.5)
    assert (job.result, job.error) == (result.to_json(), None)
    assert (job.provider_status, job.completed_at) == ("done", later(9.5))


def test_a_completed_job_without_a_result_is_completed_all_the_same() -> None:
    assert ended(a_job(), Memo(), Observation(Outcome.COMPLETED)).result is None


def test_what_of_a_result_could_not_be_used_is_added_to_the_warnings() -> None:
    observation = Observation(Outcome.COMPLETED, result=Result(warnings=("no link",)))
    job = ended(a_job(warnings=("retired",)), Memo(), observation)
    assert job.warnings == ("retired", "no link")
    assert job.result == {"files": [], "result_id": None, "raw": None}


def test_a_failed_job_has_its_error_and_no_result() -> None:
    error = JobError("content_rejected", "not that", "E42")
    looked = Observation(Outcome.FAILED, "error", result=Result(), error=error)
    job = ended(a_job(), Memo(), looked)
    assert (job.result, job.error) == (None, error.to_json())


def test_a_failure_that_gives_no_reason_is_the_providers_error() -> None:
    error = ended(a_job(), Memo(), Observation(Outcome.FAILED, detail="it said so")).error
    assert error == {"code": "provider_error", "message": "it said so", "provider_code": None, "retryable": False}
    assert (ended(a_job(), Memo(), Observation(Outcome.FAILED)).error or {})["message"]


def test_an_ending_without_a_word_keeps_the_last_word_that_was_heard() -> None:
    job = ended(a_job(), Memo(polls=4, provider_status="running"), Observation(Outcome.FAILED))
    assert job.provider_status == "running"


def test_an_ending_counts_the_looks_and_says_when_the_first_was() -> None:
    memo = again(a_job(), Memo(), Observation(Outcome.PENDING), 2).memo
    memo = again(a_job(), memo, Observation(Outcome.TRANSIENT), 5).memo
    job = ended(a_job(), memo, Observation(Outcome.COMPLETED), 9)
    assert (job.polls, job.started_at, job.completed_at) == (3, later(2), later(9))


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.FAILED])
def test_a_job_that_its_provider_ended_keeps_its_claim_on_the_id(outcome: Outcome) -> None:
    assert ended(a_job(), Memo(), Observation(outcome)).tracking == a_job().tracking


def test_a_job_that_its_provider_never_knew_and_one_that_expired_let_their_id_go() -> None:
    unknown = run(a_job(), [(0, Outcome.NOT_FOUND), (30, Outcome.NOT_FOUND), (60, Outcome.NOT_FOUND)])
    assert isinstance(unknown, Ended)
    assert unknown.job.tracking is None
    assert expire(a_job(), Memo(), NOW).tracking is None


def test_not_found_fails_after_three_answers_and_a_minute() -> None:
    following = run(a_job(), [(0, Outcome.NOT_FOUND), (30, Outcome.NOT_FOUND), (60, Outcome.NOT_FOUND)])
    assert isinstance(following, Ended)
    assert following.job.status is JobStatus.FAILED
    assert (following.job.error or {})["code"] == "not_found"


def test_three_answers_within_a_minute_are_too_soon() -> None:
    answers = [(float(seconds), Outcome.NOT_FOUND) for seconds in (0, 20, 40, 59.999)]
    assert isinstance(run(a_job(), answers), Again)


def test_two_answers_over_any_time_are_too_few() -> None:
    assert isinstance(run(a_job(), [(0, Outcome.NOT_FOUND), (3600, Outcome.NOT_FOUND)]), Again)


@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.UNKNOWN])
def test_a_job_that_was_seen_in_between_has_its_whole_grace_again(outcome: Outcome) -> None:
    answers = [(0, Outcome.NOT_FOUND), (30, Outcome.NOT_FOUND), (40, outcome), (70, Outcome.NOT_FOUND)]
    assert isinstance(run(a_job(), answers), Again)


@pytest.mark.parametrize("outcome", [Outcome.TRANSIENT, Outcome.THROTTLED, Outcome.AUTH, Outcome.PAYMENT])
def test_what_says_nothing_of_the_job_does_not_begin_its_grace_anew(outcome: Outcome) -> None:
    answers = [(0, Outcome.NOT_FOUND), (30, Outcome.NOT_FOUND), (40, outcome), (60, Outcome.NOT_FOUND)]
    assert isinstance(run(a_job(), answers), Ended)


def test_the_grace_counts_from_the_first_miss_not_from_the_registration() -> None:
    answers = [(500.0, Outcome.NOT_FOUND), (520.0, Outcome.NOT_FOUND), (540.0, Outcome.NOT_FOUND)]
    assert isinstance(run(a_job(), answers), Again)


def test_a_missing_job_is_asked_for_often_enough_to_fail_within_two_minutes() -> None:
    memo, seconds = Memo(), 0.0
    while isinstance(following := step(a_job(), memo, Observation(Outcome.NOT_FOUND), later(seconds), PACE), Again):
        assert following.delay_seconds <= NOT_FOUND_GAP_SECONDS_MAX
        memo, seconds = following.memo, seconds + following.delay_seconds
    assert 60 <= seconds < 120


@pytest.mark.parametrize("outcome", [*LASTING, Outcome.NOT_FOUND])
@pytest.mark.parametrize("seconds", [10.0, 10.001, 5000.0])
def test_a_job_whose_deadline_has_passed_expires_unless_this_very_look_ended_it(
    outcome: Outcome, seconds: float
) -> None:
    job = ended(a_job(deadline_at=later(10)), Memo(polls=3), Observation(outcome, "busy"), seconds)
    assert (job.status, job.polls, job.provider_status) == (JobStatus.EXPIRED, 4, "busy")
    assert (job.error or {})["code"] == "expired"
    assert job.result is None


@pytest.mark.parametrize(
    ("outcome", "status"), [(Outcome.COMPLETED, JobStatus.COMPLETED), (Outcome.FAILED, JobStatus.FAILED)]
)
def test_the_last_look_after_the_deadline_still_ends_the_job_by_its_providers_word(
    outcome: Outcome, status: JobStatus
) -> None:
    assert ended(a_job(deadline_at=later(10)), Memo(), Observation(outcome), 3600).status is status


@given(st.sampled_from(LASTING), st.floats(0, 999), st.floats(0, 3600), DICE)
def test_the_next_look_is_never_put_beyond_the_deadline(
    outcome: Outcome, seconds: float, retry_after_seconds: float, jitter: float
) -> None:
    looked = Observation(outcome, retry_after_seconds=retry_after_seconds)
    following = again(a_job(deadline_at=later(1000)), Memo(), looked, seconds, jitter)
    assert 0 <= following.delay_seconds <= 1000 - seconds + 1e-3


def test_an_expired_job_keeps_its_looks_and_says_when_it_would_have_had_to_end() -> None:
    job = expire(a_job(deadline_at=later(10)), Memo(polls=7, first_looked_ms=to_ms(later(1))), later(12))
    assert (job.polls, job.started_at, job.completed_at) == (7, later(1), later(12))
    assert "2026-03-04T05:06:17.890Z" in (job.error or {})["message"]


def test_a_deadline_is_so_many_seconds_away() -> None:
    assert deadline(NOW, 86_400) - NOW == timedelta(days=1)


@given(st.sampled_from([*LASTING, Outcome.NOT_FOUND]), st.floats(0, 3600), DICE)
def test_retry_after_only_ever_lengthens(outcome: Outcome, retry_after_seconds: float, jitter: float) -> None:
    plain = again(a_job(), Memo(), Observation(outcome), jitter=jitter).delay_seconds
    asked = again(a_job(), Memo(), Observation(outcome, retry_after_seconds=retry_after_seconds), jitter=jitter)
    assert asked.delay_seconds == max(plain, retry_after_seconds)


@given(st.sampled_from([Outcome.PENDING, Outcome.UNKNOWN]), st.floats(-1e7, 8e4), st.lists(st.floats(0, 1e4)), DICE)
def test_a_wall_clock_that_steps_either_way_leaves_every_gap_within_its_bounds(
    outcome: Outcome, stepped_seconds: float, learned: list[float], jitter: float
) -> None:
    now = later(stepped_seconds)
    following = step(a_job(), Memo(), Observation(outcome), now, PACE, tuple(sorted(learned)), jitter)
    assert isinstance(following, Again)
    assert PACE.min_seconds <= following.delay_seconds <= PACE.max_seconds


@pytest.mark.parametrize("outcome", [Outcome.AUTH, Outcome.PAYMENT])
@pytest.mark.parametrize("learned", [(), (3000.0, 3600.0, 4000.0)])
def test_who_met_a_refusal_is_due_as_soon_as_its_credential_may_be_used_again(
    outcome: Outcome, learned: tuple[float, ...]
) -> None:
    following = step(a_job(), Memo(), Observation(outcome), later(60.0), PACE, learned)
    assert isinstance(following, Again)
    assert following.delay_seconds == PACE.min_seconds


def test_faults_in_a_row_back_off_and_one_good_answer_ends_that() -> None:
    memo, delays = Memo(), []
    for _ in range(8):
        following = again(a_job(), memo, Observation(Outcome.TRANSIENT))
        memo = following.memo
        delays.append(following.delay_seconds)
    assert delays == [3, 6, 12, 24, 48, 96, 120, 120]
    assert again(a_job(), memo, Observation(Outcome.PENDING)).memo.faults == 0


@given(st.integers(0, 1000), DICE)
def test_no_fault_keeps_a_job_unseen_for_long(faults: int, jitter: float) -> None:
    following = again(a_job(), Memo(faults=faults), Observation(Outcome.TRANSIENT), jitter=jitter)
    assert following.delay_seconds <= 120 * (1 + SCHEDULE_JITTER)


def test_a_memo_counts_endings_whose_link_is_awaited_and_forgets_them_at_any_other_answer() -> None:
    waiting = Observation(Outcome.PENDING, detail=AWAITS_LINK)
    memo = remember(remember(Memo(), waiting, NOW), waiting, later(3))
    assert memo.pending_again == 2
    assert remember(memo, Observation(Outcome.PENDING), later(6)).pending_again == 0


@given(st.lists(st.tuples(st.floats(0, 1000), OBSERVATIONS), max_size=30))
def test_a_memo_that_went_through_redis_is_the_same(looks: list[tuple[float, Observation]]) -> None:
    memo = Memo()
    for seconds, observation in sorted(looks, key=lambda look: look[0]):
        memo = remember(memo, observation, later(seconds))
        assert Memo.parse(memo.dump()) == memo
    assert memo.polls == len(looks)


def test_a_memo_without_anything_to_say_is_empty() -> None:
    assert Memo().dump() == ""
    assert Memo.parse("") == Memo()


def test_a_memo_is_short() -> None:
    memo = Memo(polls=10, provider_status="running", first_looked_ms=to_ms(NOW), last_looked_ms=to_ms(NOW))
    assert len(memo.dump()) < 120


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([field.name for field in fields(Memo)])
FOREIGN = st.one_of(st.text(), JSON.map(json.dumps), st.dictionaries(NAMES, JSON, max_size=4).map(json.dumps))


@given(FOREIGN)
def test_no_text_in_place_of_a_memo_makes_a_look_raise(text: str) -> None:
    memo = Memo.parse(text)
    for outcome in Outcome:
        step(a_job(), memo, Observation(outcome), later(5), PACE)
    expire(a_job(), memo, later(5))
    assert Memo.parse(memo.dump()).dump() == memo.dump()


@pytest.mark.parametrize(
    "text",
    [
        '{"polls":"3"}',
        '{"polls":true}',
        '{"polls":1.5}',
        '{"polls":-1}',
        '{"polls":null}',
        '{"polls":1,"of_a_later_version":1}',
        '{"first_looked_ms":1e300}',
        f'{{"first_looked_ms":{MEMO_NUMBER_MAX + 1}}}',
        '{"provider_status":1}',
        "[1]",
        "3",
        "null",
        "{",
        "[" * 100_000,
        "9" * 10_000,
    ],
)
def test_a_foreign_memo_is_an_empty_one(text: str) -> None:
    assert Memo.parse(text) == Memo()


def test_the_latest_moment_that_a_memo_may_hold_is_one() -> None:
    assert from_ms(Memo.parse(f'{{"first_looked_ms":{MEMO_NUMBER_MAX}}}').first_looked_ms or 0).year == 9999


def test_a_result_is_as_short_lived_as_the_first_of_its_links() -> None:
    files = (
        File("audio", "https://files.example/1", expires_at=later(90)),
        File("audio", "https://files.example/2"),
        File("audio", "https://files.example/3", expires_at=later(60)),
    )
    job = ended(a_job(), Memo(), Observation(Outcome.COMPLETED, result=Result(files)))
    assert links_expire_at(job) == "2026-03-04T05:07:07.890Z"


def test_links_that_do_not_say_when_they_die_and_jobs_without_links_have_no_expiry() -> None:
    files = (File("audio", "https://files.example/2"),)
    assert links_expire_at(ended(a_job(), Memo(), Observation(Outcome.COMPLETED, result=Result(files)))) is None
    assert links_expire_at(a_job()) is None
