"""Who wants to hear of what, and which secrets sign for them."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.subscription import (
    EVENT_TYPES,
    JOB_EVENTS,
    OPERATIONAL_EVENTS,
    OVERLAP_SECONDS_DEFAULT,
    OVERLAP_SECONDS_MAX,
    SECRETS_MAX,
    Filter,
    SigningSecret,
    Subscription,
    rotate,
    subscription_view,
    wants,
)
from tests.domain.specimens import NOW, SECRET, a_subscription, later

METADATA = st.dictionaries(st.sampled_from("abc"), st.sampled_from([1, 0, True, False, "1", None, [1], {"x": 1}]))


def rotated(subscription: Subscription, secret: str, seconds: float, overlap_seconds: int = 60) -> Subscription:
    """The subscription after a rotation so many seconds after NOW, which must be allowed."""
    after = rotate(subscription, secret, later(seconds), overlap_seconds)
    assert after is not None
    return after


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_only_the_types_that_were_asked_for_are_wanted(event_type: str) -> None:
    assert wants(a_subscription(event_types=(event_type,)), event_type)
    assert not wants(a_subscription(event_types=tuple(one for one in EVENT_TYPES if one != event_type)), event_type)


def test_a_subscription_without_a_filter_wants_every_job() -> None:
    assert wants(a_subscription(), "job.failed", job_id="job_1", provider="any", credentials=("c",), metadata={"a": 1})
    assert wants(a_subscription(event_types=OPERATIONAL_EVENTS), "credential.paused")


def test_a_jobs_own_callback_wants_that_job_alone_whatever_it_is() -> None:
    callback = a_subscription(job_id="job_1")
    assert all(wants(callback, one, job_id="job_1", provider="any") for one in JOB_EVENTS)
    assert not wants(callback, "job.completed", job_id="job_2")
    assert not wants(callback, "job.completed")


def test_a_filter_of_providers_wants_any_of_them() -> None:
    subscription = a_subscription(filter=Filter(providers=("one", "two")))
    assert [wants(subscription, "job.completed", provider=name) for name in ("one", "two", "three", None)] == (
        [True, True, False, False]
    )


def test_a_credential_is_meant_by_its_id_or_its_name() -> None:
    by_name = a_subscription(filter=Filter(credentials=("main",)))
    by_id = a_subscription(filter=Filter(credentials=("crd_1", "crd_9")))
    for subscription in (by_name, by_id):
        assert wants(subscription, "job.completed", credentials=("crd_1", "main"))
        assert not wants(subscription, "job.completed", credentials=("crd_2", "other"))
        assert not wants(subscription, "job.completed")


def test_every_part_of_a_filter_must_hold() -> None:
    both = a_subscription(filter=Filter(providers=("one",), metadata={"env": "live"}))
    assert wants(both, "job.completed", provider="one", metadata={"env": "live", "more": 1})
    assert not wants(both, "job.completed", provider="one", metadata={"env": "test"})
    assert not wants(both, "job.completed", provider="two", metadata={"env": "live"})


@pytest.mark.parametrize(
    ("wanted", "has", "is_wanted"),
    [
        (1, 1, True),
        (1, 1.0, True),
        ("1", 1, False),
        (True, True, True),
        (True, 1, False),
        (0, False, False),
        (None, None, True),
        (None, 0, False),
        ([1, {"a": 1}], [1, {"a": 1}], True),
        ([1, {"a": 1}], [1, {"a": True}], False),
        ([1], [1, 1], False),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        ({"b": 2, "a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, [1], False),
    ],
)
def test_metadata_matches_by_equality_as_json_has_it(wanted: Any, has: Any, is_wanted: bool) -> None:
    subscription = a_subscription(filter=Filter(metadata={"key": wanted}))
    assert wants(subscription, "job.completed", metadata={"key": has}) is is_wanted


def test_a_key_that_is_absent_is_not_null() -> None:
    subscription = a_subscription(filter=Filter(metadata={"key": None}))
    assert not wants(subscription, "job.completed", metadata={})
    assert not wants(subscription, "job.completed")


@given(METADATA, METADATA)
def test_a_filter_wants_every_job_that_has_its_pairs_and_more(wanted: dict[str, Any], more: dict[str, Any]) -> None:
    subscription = a_subscription(filter=Filter(metadata=wanted))
    assert wants(subscription, "job.completed", metadata={**more, **wanted})


@given(
    st.lists(st.text(max_size=3), max_size=3).map(tuple), st.lists(st.text(max_size=3), max_size=3).map(tuple), METADATA
)
def test_a_filter_reads_back_from_its_own_json(
    providers: tuple[str, ...], credentials: tuple[str, ...], metadata: dict[str, Any]
) -> None:
    filter_ = Filter(providers, credentials, metadata)
    assert Filter.parse(filter_.to_json()) == filter_
    assert Filter.parse(None) == Filter()


def test_after_two_rotations_every_overlapping_secret_signs_newest_first() -> None:
    """S5."""
    subscription = rotated(rotated(a_subscription(), "two", 10), "three", 20)
    assert subscription.living_secrets(later(20)) == ("three", "two", SECRET)
    assert subscription.updated_at == later(20)


def test_after_the_overlap_an_old_secret_signs_no_more() -> None:
    """S6."""
    subscription = rotated(a_subscription(), "two", 0, 60)
    assert subscription.living_secrets(later(59.999)) == ("two", SECRET)
    assert subscription.living_secrets(later(60)) == ("two",)


def test_without_an_overlap_every_older_secret_is_dead_at_once() -> None:
    subscription = rotated(rotated(a_subscription(), "two", 0, OVERLAP_SECONDS_MAX), "three", 1, 0)
    assert subscription.living_secrets(later(1)) == ("three",)
    assert [one.secret for one in subscription.secrets] == ["three"]


def test_a_later_rotation_never_lengthens_the_life_of_an_old_secret() -> None:
    subscription = rotated(rotated(a_subscription(), "two", 0, 60), "three", 30, 3600)
    assert subscription.living_secrets(later(60)) == ("three", "two")


def test_the_overlap_is_a_day_unless_said_otherwise() -> None:
    subscription = rotate(a_subscription(), "two", NOW)
    assert subscription is not None
    assert subscription.secrets[1].expires_at == NOW + timedelta(seconds=OVERLAP_SECONDS_DEFAULT) == later(86_400)


def test_the_eleventh_living_secret_is_refused() -> None:
    """S7."""
    subscription = a_subscription()
    for number in range(SECRETS_MAX - 1):
        subscription = rotated(subscription, f"secret {number}", number)
    assert len(subscription.living_secrets(later(9))) == SECRETS_MAX
    assert rotate(subscription, "one too many", later(9), 60) is None
    assert rotate(subscription, "in time again", later(60), 60) is not None
    assert rotate(subscription, "the others die", later(9), 0) is not None


def test_dead_secrets_are_not_kept() -> None:
    subscription = rotated(rotated(a_subscription(), "two", 0, 10), "three", 10, 10)
    assert [one.secret for one in subscription.secrets] == ["three", "two"]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 200)), max_size=25))
def test_whatever_the_rotations_one_secret_signs_for_ever_and_ten_at_most(turns: list[tuple[int, int]]) -> None:
    subscription, seconds = a_subscription(), 0
    for number, (pause, overlap_seconds) in enumerate(turns):
        seconds += pause
        after = rotate(subscription, f"secret {number}", later(seconds), overlap_seconds)
        if after is not None:
            subscription = after
            assert subscription.living_secrets(later(seconds))[0] == f"secret {number}"
        assert [one.expires_at is None for one in subscription.secrets].count(True) == 1
        assert subscription.secrets[0].expires_at is None
        assert 1 <= len(subscription.living_secrets(later(seconds))) <= SECRETS_MAX
        ends = [one.expires_at for one in subscription.secrets[1:] if one.expires_at is not None]
        assert all(newer >= older for newer, older in pairwise(ends))
    assert subscription.living_secrets(later(seconds + 10**6)) == (subscription.secrets[0].secret,)


def test_neither_secrets_nor_header_values_are_in_a_repr_or_a_view() -> None:
    subscription = a_subscription(headers={"x-token": "hidden-1"}, secrets=(SigningSecret("hidden-2", NOW, None),))
    assert "hidden" not in repr(subscription)
    assert "hidden" not in str(subscription_view(subscription))
    assert list(subscription_view(subscription)["headers"]) == ["x-token"]


def test_a_secret_is_shown_where_it_is_handed_in_and_nowhere_else() -> None:
    assert "secret" not in subscription_view(a_subscription())
    assert subscription_view(a_subscription(), SECRET)["secret"] == SECRET


def test_parts_of_a_filter_that_want_everything_are_null() -> None:
    view = subscription_view(replace(a_subscription(), filter=Filter(providers=("one",))))
    assert view["filter"] == {"providers": ["one"], "credentials": None, "metadata": None}
