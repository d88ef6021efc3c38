"""Patterns hold the whole of a text, and no text from outside can keep the process busy with one."""

import pytest

from relay.providers.check import ID_CHARACTERS_MAX
from relay.providers.pattern import Pattern

LONG = "a" * ID_CHARACTERS_MAX + "!"


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("lum_[0-9]+", "lum_7", "lum_7x"),
        ("^[a-z]{1,3}$", "abc", "abc\n"),
        ("a|b", "b", "ab"),
        ("[a-z]+(-[a-z]+)*", "a-slug-of-words", "a--slug"),
        ("(?i)batch_[0-9a-f]{4}", "BATCH_00FF", "batch_00g0"),
    ],
)
def test_the_whole_text_is_held_to_it(pattern: str, fitting: str, other: str) -> None:
    assert Pattern(pattern).fits(fitting)
    assert not Pattern(pattern).fits(other)
    assert not Pattern(pattern).fits(f"{fitting}\n")
    assert repr(Pattern(pattern)) == f"Pattern({pattern!r})"


@pytest.mark.timeout(30)  # who backtracks is busy for longer than the world is old
@pytest.mark.parametrize("pattern", ["(ar-)?([0-9a-z]+-?)+", "(a|aa)+", "(a*)*", "(a|a)*b", "a*" * 20])
def test_no_pattern_makes_a_text_take_long(pattern: str) -> None:
    assert not Pattern(pattern).fits(LONG)


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(", "not a regular expression: "),
        ("a)(b", "not a regular expression: "),
        (7, "a regular expression is a text"),
        ("(?!x)[a-z]+", "not a regular expression that can be used here: look-around"),
        (r"([a-z])\1", "not a regular expression that can be used here: backreferences are not supported"),
        ("(([a-z]{1,99}){1,99}){1,99}", "not a regular expression that can be used here: Compiled regex exceeds size"),
    ],
)
def test_what_cannot_be_held_to_in_time_is_refused(pattern: object, fault: str) -> None:
    with pytest.raises(ValueError, match="regular expression") as refusal:
        Pattern(pattern)
    assert str(refusal.value).startswith(fault)
