"""Words, codes and ids as text, whatever JSON they came as."""

import pytest

from relay.providers.mapping import WORD_CHARACTERS_MAX, word_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("DONE", "DONE"),
        (7, "7"),
        (-7, "-7"),
        (2**53 + 1, "9007199254740993"),
        (12345678901234567890, "12345678901234567890"),
        (True, "true"),
        (False, "false"),
        ("x" * 1000, "x" * WORD_CHARACTERS_MAX),
        ("", None),
        (None, None),
        (1.5, None),
        pytest.param(10**5000, None, id="of more digits than Python writes"),
        ([], None),
        ({}, None),
    ],
)
def test_a_word_is_text_and_an_integer_to_its_last_digit(value: object, text: str | None) -> None:
    assert word_of(value) == text
