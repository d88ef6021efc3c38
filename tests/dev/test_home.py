"""What `relay dev` keeps between runs, and what keeps two runs apart."""

import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from relay.clock import Clock
from relay.dev.home import SLOTS_MAX, moved_in
from relay.domain.errors import BadSettings
from relay.domain.key import looks_like_key
from relay.webhooks.signing import check_secret

CLOCK = Clock()


def test_the_next_run_finds_the_same_keys(tmp_path: Path) -> None:
    with moved_in(tmp_path / "home", CLOCK) as first:
        pass
    with moved_in(tmp_path / "home", CLOCK) as second:
        assert second == first


def test_keys_are_well_formed_and_for_their_owner_alone(tmp_path: Path) -> None:
    with moved_in(tmp_path / "home", CLOCK) as home:
        assert looks_like_key(home.keys.api_key)
        assert check_secret(home.keys.inbox_secret) is None
        assert len(home.keys.secret_key) >= 32
        assert home.keys.api_key not in repr(home)
        assert stat.S_IMODE((home.folder / "keys.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


def test_who_comes_at_the_same_time_gets_a_home_of_its_own(tmp_path: Path) -> None:
    with moved_in(tmp_path, CLOCK) as first, moved_in(tmp_path, CLOCK) as second:
        assert (first.number, second.number) == (1, 2)
        assert first.folder != second.folder
        assert first.keys != second.keys
        assert first.database_url != second.database_url


def test_a_home_is_free_again_when_its_process_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from relay.clock import Clock; from relay.dev.home import moved_in\n"
        f"with moved_in(Path({str(tmp_path)!r}), Clock()): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with moved_in(tmp_path, CLOCK) as home:
            assert home.number == 2
        other.kill()
    with moved_in(tmp_path, CLOCK) as home:
        assert home.number == 1


def test_there_is_an_end_to_homes(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for _ in range(SLOTS_MAX):
            stack.enter_context(moved_in(tmp_path, CLOCK))
        with pytest.raises(BadSettings, match="run here already"):
            stack.enter_context(moved_in(tmp_path, CLOCK))


@pytest.mark.parametrize("content", ["", "[]", '{"api_key": "x"}', "not json"])
def test_keys_that_cannot_be_read_are_said_to_be_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(BadSettings, match="begin anew"), moved_in(tmp_path, CLOCK):
        pass
