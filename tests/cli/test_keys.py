"""What becomes of a key that cannot be shown, and what a name is."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import environment, run


def test_a_key_that_nobody_could_read_does_not_stay(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    assert run("migrate", DATABASE_URL=url).exit_code == 0
    with Path("/dev/full").open("wb") as full:
        told = subprocess.run(
            [sys.executable, "-m", "relay", "keys", "create", "--name", "x"],
            env=environment(DATABASE_URL=url),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert told.returncode == 1
    assert told.stderr == "relay: what was to be told cannot be written: No space left on device\n"
    assert run("keys", "list", DATABASE_URL=url).stdout == ""


def test_help_speaks_of_names_and_not_of_functions() -> None:
    told = run("keys", "create", "--help").stdout
    assert "--name NAME" in told
    assert "CHECK_NAME" not in told


@pytest.mark.parametrize(("name", "is_good"), [("7 days", True), ("x", True), ("-x", False), ("x ", False)])
def test_the_rule_for_names_is_told_as_it_is(name: str, is_good: bool, tmp_path: Path) -> None:
    told = run("keys", "create", "--name", name, DATABASE_URL=f"sqlite:///{tmp_path}/new.db")
    assert ("is no name" in told.stderr) != is_good
    assert is_good or "a letter or a digit first and no space last" in told.stderr
