"""Parts that run as processes: their logs, their ends, and that none outlives its starter."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from relay.dev.child import LINES_SHOWN_MAX, Child
from tests.trips import until


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_end_of_a_childs_log_is_known(tmp_path: Path) -> None:
    child = await Child.start("nonsense", ["no-such-command"], os.environ, tmp_path / "child.log")
    assert await child.ended() == 2
    assert not child.is_alive
    assert any("no-such-command" in line for line in child.last_lines())
    await child.stop()


async def test_only_the_last_lines_are_shown(tmp_path: Path) -> None:
    child = await Child.start("help", ["--help"], os.environ, tmp_path / "child.log")
    assert await child.ended() == 0
    child.log.write_text("".join(f"{number}\n" for number in range(100)))
    assert child.last_lines() == [str(number) for number in range(100 - LINES_SHOWN_MAX, 100)]


async def test_a_child_is_asked_to_stop(tmp_path: Path) -> None:
    told = {"RELAY_SECRET_KEY": "a secret key of the test", "DATABASE_URL": f"sqlite:///{tmp_path}/relay.db"}
    child = await Child.start("worker", ["worker"], {**os.environ, **told}, tmp_path / "child.log")
    assert child.is_alive
    await child.stop()
    assert not child.is_alive
    assert not is_running(child.pid)


async def test_a_process_that_is_tethered_ends_with_its_starter(tmp_path: Path) -> None:
    inner = (
        "from relay.dev.tether import hold; hold(); import threading; print('up', flush=True); threading.Event().wait()"
    )
    outer = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nprint(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert is_running(pid)
        starter.send_signal(signal.SIGKILL)
    await until(lambda: not is_running(pid) or _is_dead(pid), 15)


def _is_dead(pid: int) -> bool:
    """Ended, but not yet waited for by whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
