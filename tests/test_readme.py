"""The README's commands run as they stand, with the names that `relay dev` prints; its tables are the code's."""

import asyncio
import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from relay.clock import Clock
from relay.dev.sample_event import Receiver, sample_event, signed
from relay.domain.event import Event, payload
from relay.domain.subscription import EVENT_TYPES
from relay.settings import Settings
from tests.hosts import free_port
from tests.trips import SECRET, until

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DEMO_SECONDS_MAX = 90.0  # the promise is 60; this machine may be doing other things
STOP_SECONDS_MAX = 20.0
COLUMNS = 80
PORT_IN_README = "9000"
ROW = re.compile(r"^(\w+) +\S+ +(completed \(\w+\)) +\d+ +(succeeded) +(verified)", re.MULTILINE)
LAST_LINE = re.compile(r"^(\d of \d deliveries arrived with a good signature), \d+\.\d s after the start", re.MULTILINE)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def block(language: str, marker: str) -> str:
    """The one fenced block of that language that holds the marker."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (found,) = [one for one in blocks if marker in one]
    return found


def environment(folder: Path, **names: str) -> dict[str, str]:
    """That of somebody who has set nothing; the folder has the `.venv` that `make` would have built there."""
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), **names}


def shell(folder: Path, script: str, **names: str) -> str:
    """What a script printed, run as a reader would paste it."""
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment(folder, **names),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def command_of(file: str) -> str:
    """The command that the README's text gives to run a file which the reader has saved."""
    (command,) = set(re.findall(rf"`([^`\n]*python {re.escape(file)})`", README))
    return str(command)


@dataclass
class Terminal:
    """A terminal of 80 columns with `relay dev` in it."""

    shown: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        return CONTROL.sub("", self.shown.decode(errors="replace")).replace("\r", "\n")

    @property
    def names(self) -> dict[str, str]:
        """What the lines would set that begin with `export`."""
        return dict(re.findall(r"^export (\w+)=(\S+)$", self.text, re.MULTILINE))

    async def shows(self, words: str) -> None:
        await until(lambda: words in self.text, DEMO_SECONDS_MAX)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Terminal]:
    """`relay dev` at a terminal; it is gone at the end, whatever happened."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "dev"],
        env=environment(folder, PORT="0", TERM="xterm"),
        cwd=folder,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    terminal, loop = Terminal(), asyncio.get_running_loop()

    def read() -> None:
        try:
            terminal.shown += os.read(ours, 65_536)
        except OSError:  # nobody has the other end any more
            loop.remove_reader(ours)

    loop.add_reader(ours, read)
    try:
        yield terminal
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(TimeoutError):
            await until(lambda: process.poll() is not None, STOP_SECONDS_MAX)
        process.kill()
        process.wait()
        loop.remove_reader(ours)
        os.close(ours)


@contextmanager
def receiving(folder: Path, port: int, secret: str) -> Iterator[Path]:
    """The README's receiver, saved and started as it says; the file that it writes to."""
    (folder / "receiver.py").write_text(block("python", "Webhook("))
    command, log = command_of("receiver.py").replace(PORT_IN_README, str(port)), folder / "receiver.log"
    with log.open("wb") as output:
        receiver = subprocess.Popen(
            ["bash", "-c", command],
            env=environment(folder, SECRET=secret),
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        os.killpg(receiver.pid, signal.SIGKILL)
        receiver.wait()


async def answers(port: int) -> bool:
    """True when somebody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's calls are made with curl")
async def test_a_newcomer_comes_from_make_run_to_a_receiver_of_his_own(tmp_path: Path) -> None:
    async with running(tmp_path) as terminal:
        await terminal.shows("Ctrl-C stops everything")
        assert picture_of(terminal.text) == picture_of(block("text", "signature"))
        names = terminal.names
        assert set(names) == {"RELAY", "KEY", "INBOX", "SECRET"}
        await make_the_three_calls(tmp_path, names)
        await be_told_at_a_receiver_of_ones_own(tmp_path, names)


def picture_of(text: str) -> tuple[str, set[tuple[str, ...]], list[str]]:
    """What is the same at every run: the titles, how each job ended, and the last line."""
    titles = next(line.rstrip() for line in text.splitlines() if line.startswith("provider "))
    return " ".join(titles.split()), set(ROW.findall(text)), LAST_LINE.findall(text)


async def make_the_three_calls(folder: Path, names: dict[str, str]) -> None:
    """What the inbox is told then is all good, and the first call is not taken for a repetition."""
    subscribe, watch, listing = re.split(r"\n(?=#)", block("sh", '"$RELAY/v1/jobs"'))
    assert names["SECRET"] in await asyncio.to_thread(shell, folder, subscribe, **names)
    assert '"pending"' in await asyncio.to_thread(shell, folder, watch, **names)
    (folder / "watch.py").write_text(block("python", "relay.client"))
    first, *others = (await asyncio.to_thread(shell, folder, command_of("watch.py"), **names)).splitlines()
    assert first == "completed"
    assert {line.split()[0] for line in others} >= {names["INBOX"]}
    inbox, path = re.fullmatch(r"(http://[^/]+)(/.*)", names["INBOX"]).groups()  # type: ignore[union-attr]  # it has a path
    async with httpx.AsyncClient(trust_env=False, headers={"accept": "application/json"}) as client:

        async def calls() -> list[dict[str, object]]:
            return [one for one in (await client.get(inbox)).json()["data"] if one["path"] == path]

        *_, oldest = made = await until(calls)
        assert {(one["type"], one["is_verified"], one["refusal"]) for one in made} == {("job.completed", True, None)}
        assert oldest["is_duplicate"] is False
    assert "job.completed" in await asyncio.to_thread(shell, folder, listing, **names)


async def be_told_at_a_receiver_of_ones_own(folder: Path, names: dict[str, str]) -> None:
    """The test event that the README sends, the one of the Test button, and that of a job that fails."""
    port = free_port()
    with receiving(folder, port, names["SECRET"]) as log:
        await until(lambda: answers(port))
        script = block("sh", "relay trigger").replace(PORT_IN_README, str(port))
        told = await asyncio.to_thread(shell, folder, script, **names)
        assert "answered 204" in told
        subscription = re.search(r"sub_\w+", told)
        assert subscription
        headers = {"authorization": f"Bearer {names['KEY']}"}
        async with httpx.AsyncClient(base_url=names["RELAY"], headers=headers, trust_env=False, timeout=20) as client:
            await client.post(f"/v1/subscriptions/{subscription[0]}/test")
            await until(lambda: log.read_text().count("webhook.test evt_") == 2)
            await client.post("/v1/jobs", json={"provider": "camb", "provider_job_id": "a1b2cbad"})
            await until(lambda: "job.failed evt_" in log.read_text())
            probe = (await client.post(f"/v1/subscriptions/{subscription[0]}/probe")).json()
            assert probe["tells_apart"] is True, probe
        assert "Traceback" not in log.read_text()


async def test_the_receiver_takes_an_event_of_every_type_and_form_and_refuses_forged_ones(tmp_path: Path) -> None:
    port, clock = free_port(), Clock()
    url = f"http://127.0.0.1:{port}/"
    with receiving(tmp_path, port, SECRET) as log:
        await until(lambda: answers(port))
        async with httpx.AsyncClient(trust_env=False) as client:
            for event_type in EVENT_TYPES:
                event_id, sample = sample_event(event_type, clock)
                event = Event(event_id, "default", event_type, sample.decode(), None, None, clock.now())
                for form in ("full", "thin", "cloudevents"):
                    body, _ = payload(event, form, "https://relay.example")
                    call = signed(Receiver(url, SECRET), event_id, body, clock.now())
                    assert (await client.post(url, content=call.body, headers=call.headers)).status_code == 204
                assert log.read_text().count(f"{event_type} {event_id}\n") == 3
            forged = {"webhook-id": "evt_x", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
            assert (await client.post(url, json={}, headers=forged)).status_code == 401


def test_the_host_commands_prepare_a_host(tmp_path: Path, redis_url: str) -> None:
    lines = block("sh", "relay migrate").splitlines()
    assert lines[0].startswith("make setup ")
    assert re.search(r"^setup:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    ending = [line for line in lines[1:] if not re.match(r"relay (web|worker)\b", line)]
    assert "rl_" in shell(tmp_path, "\n".join(ending), REDIS_URL=redis_url)


def test_the_host_commands_are_the_relays_own_and_in_the_procfile() -> None:
    named = set(re.findall(r"^relay (\w+)", block("sh", "relay migrate"), re.MULTILINE))
    assert named == {"migrate", "keys", "web", "worker"}
    procfile = (ROOT / "Procfile").read_text()
    assert set(re.findall(r"relay (\w+)", procfile)) == named - {"keys"}
    for command in sorted(named):
        assert (
            subprocess.run(
                [sys.executable, "-m", "relay", command, "--help"], capture_output=True, check=False
            ).returncode
            == 0
        )


def test_the_settings_table_names_every_variable_and_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \|.*\| (.+?) \|$", README, re.MULTILINE))
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    settings = Settings()
    for name, shown in rows.items():
        value = getattr(settings, name.lower())
        if value in (None, (), ""):
            assert shown.startswith(("none", "`http://localhost:$PORT`")), name
        elif isinstance(value, tuple):
            assert shown == f"`{','.join(f'{one:g}' for one in value)}`"
        else:
            plain = (
                str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
            )
            assert shown.strip("`") == str(plain), name
