"""What cannot be set, and in which words that is said."""

import re
from pathlib import Path

import pytest

from relay.domain.errors import BadSettings
from relay.settings import load


def faults(**told: str) -> tuple[str, ...]:
    """What is wrong with that environment."""
    try:
        load(told)
    except BadSettings as error:
        return error.faults
    return ()


def test_every_gap_that_is_none_is_named_in_our_own_words() -> None:
    (fault,) = faults(RELAY_RETRY_SCHEDULE="1, soon, nan, -3, inf, 31536001, 2")
    assert fault == (
        "RELAY_RETRY_SCHEDULE: each gap is a number of seconds from 0 to 31536000, or the whole is `none`;"
        " not 'soon', 'nan', '-3', 'inf', '31536001'"
    )


@pytest.mark.parametrize(("text", "gaps"), [("none", ()), ("1,2.5,", (1.0, 2.5)), (" 31536000 ", (31_536_000.0,))])
def test_a_schedule_is_read(text: str, gaps: tuple[float, ...]) -> None:
    assert load({"RELAY_RETRY_SCHEDULE": text}).relay_retry_schedule == gaps


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u@127.0.0.1:99999/d",
        "postgresql://u:p@[::1]:0/d",
        "postgres://u@host:abc/d",
        "postgres://u:p@ss@host:65536",
    ],
)
def test_a_port_that_cannot_be_is_no_database(url: str) -> None:
    assert faults(DATABASE_URL=url) == ("DATABASE_URL: the port in the URL is a number from 1 to 65535",)


@pytest.mark.parametrize("name", ["REDIS_URL", "RELAY_PUBLIC_URL", "RELAY_EGRESS_PROXY"])
def test_a_port_that_cannot_be_is_told_wherever_it_stands(name: str) -> None:
    scheme = "redis" if name == "REDIS_URL" else "http"
    assert faults(**{name: f"{scheme}://x.example:99999/0"}) == (
        f"{name}: the port in the URL is a number from 1 to 65535",
    )
    assert faults(**{name: f"{scheme}://x.example:9999/0"}) == ()


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u@host/d",
        "postgres://u@host:5432/d?sslmode=require",
        "postgres://u:99999@host/d",
        "postgres://u:p#99999/@?x:99999@host:5432/d",
        "postgresql://u:p@[2001:db8::9999]/d",
        "postgresql://u:p@[::1]:5432/d",
        "postgresql:///d",
        "sqlite:////srv/a@b:99999/relay.db",
        "sqlite:///relay.db",
    ],
)
def test_what_looks_like_a_port_and_is_none_is_let_be(url: str) -> None:
    assert faults(DATABASE_URL=url) == ()


def test_a_folder_of_definitions_that_is_not_there_is_told_with_the_other_faults(tmp_path: Path) -> None:
    told = {"RELAY_PROVIDERS_DIR": str(tmp_path / "nowhere"), "LOG_LEVEL": "loud", "PORT": "0"}
    with pytest.raises(BadSettings) as raised:
        load(told, needs_secret_key=True, needs_port=True)
    named = sorted(re.split("[: ]", line)[0] for line in raised.value.faults)
    assert named == ["LOG_LEVEL", "PORT", "RELAY_PROVIDERS_DIR", "RELAY_SECRET_KEY"]


def test_what_one_process_needs_another_can_do_without(tmp_path: Path) -> None:
    assert load({"RELAY_PROVIDERS_DIR": "nowhere/at/all", "PORT": "0"}).port == 0
    told = {"RELAY_PROVIDERS_DIR": str(tmp_path), "RELAY_SECRET_KEY": "k" * 16, "PORT": "80"}
    assert load(told, needs_secret_key=True, needs_port=True).port == 80
