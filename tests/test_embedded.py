"""The embedded server: one for all who use a folder, and gone with the last, however that one ended."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from relay.domain.errors import BadSettings, Unreachable
from relay.embedded import SOCKET_PATH_BYTES_MAX, EmbeddedRedis, find_server

DEADLINE_SECONDS = 15.0
ROOT = Path(__file__).parent.parent
USER = """
import sys
from pathlib import Path
from relay.embedded import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.readline()
server.stop()
print("left", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "redis"


@pytest.fixture
def start_user(folder: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    users: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        user = subprocess.Popen(
            [sys.executable, "-c", USER, str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        users.append(user)
        return user

    yield start
    for user in users:
        user.kill()
        user.communicate()


def said(user: subprocess.Popen[str]) -> str:
    assert user.stdout is not None
    return user.stdout.readline().strip()


def leave(user: subprocess.Popen[str]) -> None:
    assert user.stdin is not None
    user.stdin.write("\n")
    user.stdin.flush()
    assert said(user) == "left"


def is_alive(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(folder / "redis.sock"))
        except OSError:
            return False
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def process_id(folder: Path) -> int:
    with redis.Redis(unix_socket_path=str(folder / "redis.sock")) as client:
        return int(client.info("server")["process_id"])


def test_it_answers_while_used_and_is_gone_afterwards(folder: Path) -> None:
    with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert client.config_get("save")["save"] == ""
        assert client.config_get("port")["port"] == "0"
    assert not is_alive(folder)


def test_start_and_stop_may_be_called_twice(folder: Path) -> None:
    server = EmbeddedRedis(folder)
    assert server.start() == server.start()
    server.stop()
    server.stop()
    assert not is_alive(folder)


def test_it_starts_again_after_it_was_stopped(folder: Path) -> None:
    server = EmbeddedRedis(folder)
    for _ in range(3):
        with server:
            assert is_alive(folder)
    assert not is_alive(folder)


def test_only_its_user_may_enter_the_folder(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with EmbeddedRedis(folder) as server:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert server.socket.stat().st_mode & 0o777 == 0o700


def test_processes_that_start_at_once_find_one_server(
    folder: Path, start_user: Callable[[], subprocess.Popen[str]]
) -> None:
    users = [start_user() for _ in range(6)]
    assert {said(user) for user in users} == {f"unix://{folder}/redis.sock"}
    pid = process_id(folder)
    for user in users[:-1]:
        leave(user)
        assert process_id(folder) == pid
    leave(users[-1])
    assert not is_alive(folder)


def test_the_server_outlives_its_starter_and_not_the_last_user(
    folder: Path, start_user: Callable[[], subprocess.Popen[str]]
) -> None:
    starter = start_user()
    said(starter)
    pid = process_id(folder)
    other = start_user()
    said(other)
    starter.kill()
    starter.wait()
    assert process_id(folder) == pid
    other.kill()
    wait_until(lambda: not is_alive(folder))


def test_the_next_start_works_after_everybody_was_killed(
    folder: Path, start_user: Callable[[], subprocess.Popen[str]]
) -> None:
    for _ in range(5):
        user = start_user()
        said(user)
        user.kill()
        user.wait()
        with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url) as client:
            assert client.ping()
    assert not is_alive(folder)


def test_the_next_start_works_after_the_starter_was_killed_while_starting(
    folder: Path, start_user: Callable[[], subprocess.Popen[str]]
) -> None:
    for step in range(6):
        user = start_user()
        wait_until((folder / "start.lock").exists)
        with pytest.raises(subprocess.TimeoutExpired):  # let it come a little further each time
            user.wait(0.03 * step + 0.001)
        user.kill()
        user.wait()
        with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url) as client:
            assert client.ping()


def test_the_next_start_works_after_the_server_was_killed(folder: Path) -> None:
    with EmbeddedRedis(folder):
        os.kill(process_id(folder), signal.SIGKILL)
        with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url) as client:
            assert client.ping()
    assert not is_alive(folder)


def parent_of(pid: int) -> int:
    if sys.platform == "linux":  # small images have no ps
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, check=True).stdout)


def kill_supervisor(folder: Path) -> None:
    os.kill(parent_of(process_id(folder)), signal.SIGKILL)
    with (folder / "supervisor.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # free as soon as it is dead


def test_a_server_whose_supervisor_was_killed_is_replaced(folder: Path) -> None:
    with EmbeddedRedis(folder):
        kill_supervisor(folder)
        before = process_id(folder)
        with EmbeddedRedis(folder):
            assert process_id(folder) != before
    assert not is_alive(folder)


def test_the_last_one_out_ends_a_server_whose_supervisor_was_killed(folder: Path) -> None:
    with EmbeddedRedis(folder):
        kill_supervisor(folder)
        assert is_alive(folder)
    assert not is_alive(folder)


def test_a_dead_socket_is_no_obstacle(folder: Path) -> None:
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "redis.sock"))
    with EmbeddedRedis(folder):
        assert is_alive(folder)


@pytest.mark.parametrize("name", ["x" * SOCKET_PATH_BYTES_MAX, "with space", "per%cent", "ümlaut"])
def test_a_path_that_a_socket_or_a_url_cannot_hold_is_replaced_by_a_short_one(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with EmbeddedRedis(folder) as server, EmbeddedRedis(folder) as same, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert same.url == server.url
        assert len(os.fsencode(server.socket)) <= SOCKET_PATH_BYTES_MAX
    for left in server.folder.iterdir():
        left.unlink()
    server.folder.rmdir()


def test_a_folder_that_cannot_hold_a_socket_says_so(folder: Path) -> None:
    (folder / "redis.sock").mkdir(parents=True)
    (folder / "redis.sock" / "full").touch()
    with pytest.raises((Unreachable, OSError)):
        EmbeddedRedis(folder).start()


def test_a_missing_binary_says_what_to_install(folder: Path, tmp_path: Path) -> None:
    asked = subprocess.run(
        [
            sys.executable,
            "-S",  # without site-packages there is no wheel
            "-c",
            "import sys; sys.path.insert(0, sys.argv[1]); from relay.embedded import find_server; find_server()",
            str(ROOT),
        ],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "BadSettings" in asked.stderr
    assert "install valkey-server or redis-server" in asked.stderr


def test_a_binary_that_does_not_run_here_is_passed_over(tmp_path: Path) -> None:
    for name, text in (("valkey-server", "not a program"), ("redis-server", "#!/bin/sh\nexit 0\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    asked = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            "import sys; sys.path.insert(0, sys.argv[1]); from relay.embedded import find_server; print(find_server())",
            str(ROOT),
        ],
        env={"PATH": f"{tmp_path}:/bin:/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.strip() == str(tmp_path / "redis-server")


def test_the_wheel_serves_where_it_is_installed() -> None:
    try:
        assert find_server().name in {"valkey-server", "redis-server"}
    except BadSettings as error:
        pytest.fail(str(error))
