"""Ids name their kind, sort by time and never meet."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.ids import ALPHABET, LENGTH, RANDOM_BYTES, TIME_BITS, Prefix, is_id, make_id

PREFIXES = st.sampled_from(get_args(Prefix))
TIMES = st.integers(0, 2**TIME_BITS - 1)
ENTROPY = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@given(PREFIXES, TIMES, ENTROPY)
def test_an_id_names_its_kind_and_no_other(prefix: Prefix, now_ms: int, entropy: bytes) -> None:
    made = make_id(prefix, now_ms, entropy)
    assert [one for one in get_args(Prefix) if is_id(one, made)] == [prefix]


@given(TIMES, TIMES, ENTROPY, ENTROPY)
def test_ids_of_different_moments_sort_by_them(early: int, late: int, one: bytes, other: bytes) -> None:
    early, late = sorted([early, late])
    if early < late:
        assert make_id("job", early, one) < make_id("job", late, other)


@given(TIMES, st.sets(ENTROPY, min_size=2, max_size=2))
def test_ids_of_one_moment_differ_by_their_entropy(now_ms: int, entropies: set[bytes]) -> None:
    assert len({make_id("job", now_ms, entropy) for entropy in entropies}) == 2


@given(TIMES, ENTROPY)
def test_the_moment_can_be_read_back_from_an_id(now_ms: int, entropy: bytes) -> None:
    number = 0
    for letter in make_id("evt", now_ms, entropy).removeprefix("evt_"):
        number = number * len(ALPHABET) + ALPHABET.index(letter)
    assert number == now_ms << 80 | int.from_bytes(entropy, "big")


def test_entropy_beyond_what_fits_is_left_out() -> None:
    assert make_id("job", 1, bytes(RANDOM_BYTES) + b"more") == make_id("job", 1, bytes(RANDOM_BYTES))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job",
        "job_",
        "job_" + "0" * (LENGTH - 1),
        "job_" + "0" * (LENGTH + 1),
        "job_" + "u" * LENGTH,
        "job_" + "A" * LENGTH,
        "job_" + "0" * (LENGTH - 1) + "\n",
        "jobs_" + "0" * LENGTH,
        "0" * LENGTH,
    ],
)
def test_what_was_never_made_here_is_no_id(text: str) -> None:
    assert not is_id("job", text)
