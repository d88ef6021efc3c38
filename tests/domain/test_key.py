"""A key carries its own check against typing errors, and is kept as a digest only."""

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.domain.errors import Invalid
from relay.domain.key import (
    ALPHABET,
    CHECKSUM_LENGTH,
    NAME_CHARACTERS_MAX,
    PREFIX,
    SCOPES,
    SECRET_LENGTH,
    Key,
    _checksum,
    check_name,
    digest,
    key_view,
    looks_like_key,
    make_key,
)
from tests.domain.specimens import NOW

ENTROPY = st.binary(min_size=32, max_size=32)


def a_key(*scopes: str) -> Key:
    """A key with those scopes."""
    return Key("key_00000000000000000000000001", "default", "ours", scopes, digest("rl_x"), NOW, None)


@given(ENTROPY)
def test_a_made_key_looks_like_one_and_has_one_length(entropy: bytes) -> None:
    made = make_key(entropy)
    assert looks_like_key(made)
    assert len(made) == len(PREFIX) + SECRET_LENGTH + CHECKSUM_LENGTH


@given(ENTROPY, ENTROPY)
def test_different_entropy_makes_different_keys(one: bytes, other: bytes) -> None:
    assert (make_key(one) == make_key(other)) == (one == other)


@given(ENTROPY, st.integers(0, SECRET_LENGTH + CHECKSUM_LENGTH - 1), st.sampled_from(ALPHABET))
def test_one_mistyped_letter_is_noticed(entropy: bytes, place: int, letter: str) -> None:
    made = make_key(entropy)
    at = len(PREFIX) + place
    assume(made[at] != letter)
    assert not looks_like_key(made[:at] + letter + made[at + 1 :])


@given(ENTROPY, st.integers(0, SECRET_LENGTH + CHECKSUM_LENGTH - 2))
def test_two_letters_swapped_are_noticed(entropy: bytes, place: int) -> None:
    made = make_key(entropy)
    at = len(PREFIX) + place
    assume(made[at] != made[at + 1])
    assert not looks_like_key(made[:at] + made[at + 1] + made[at] + made[at + 2 :])


@given(st.text())
def test_any_text_may_be_asked_about(text: str) -> None:
    assume(not text.startswith(PREFIX))
    assert not looks_like_key(text)


@pytest.mark.parametrize("text", ["", "rl_", "rl_" + "0" * 48, "rl_" + "0" * 50])
def test_a_text_of_another_length_is_no_key(text: str) -> None:
    assert not looks_like_key(text)


@pytest.mark.parametrize("secret", ["", "0", "0" * (SECRET_LENGTH - 1), "0" * (SECRET_LENGTH + 1)])
def test_a_text_of_another_length_is_no_key_though_its_checksum_fits(secret: str) -> None:
    assert not looks_like_key(PREFIX + secret + _checksum(secret))


def test_the_digest_is_sha_256() -> None:
    assert digest("rl_ü") == hashlib.sha256("rl_ü".encode()).hexdigest()


@pytest.mark.parametrize("scope", SCOPES)
def test_admin_may_do_everything(scope: str) -> None:
    assert a_key("admin").may(scope)


@pytest.mark.parametrize("scope", [one for one in SCOPES if one != "admin"])
def test_a_key_may_do_what_its_scope_says_and_nothing_else(scope: str) -> None:
    key = a_key(scope)
    assert [one for one in SCOPES if key.may(one)] == [scope]


def test_a_key_without_scopes_may_do_nothing() -> None:
    assert not any(a_key().may(scope) for scope in SCOPES)


def test_the_key_itself_is_shown_only_when_handed_in() -> None:
    assert "key" not in key_view(a_key("read"))
    assert key_view(a_key("read"), "rl_shown")["key"] == "rl_shown"
    assert not {"digest", "rl_x"} & {*key_view(a_key("read")), *map(str, key_view(a_key("read")).values())}


@pytest.mark.parametrize("name", ["a", "my app", "ci@acme.example", "x" * NAME_CHARACTERS_MAX])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", " a", "a ", "a\n", "-a", "é", "x" * (NAME_CHARACTERS_MAX + 1)])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        check_name(name)
