"""A part of the relay that runs as a process of its own under `relay dev`."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

LINES_SHOWN_MAX = 15
STOP_SECONDS_MAX = 8.0


class Child:
    """`python -m relay …` with its output in a file; it ends by itself should this process be killed."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(cls, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> "Child":
        """Starts it; a log of an earlier run is written over."""
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "relay",
                "--tethered",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=dict(environment),
                # Ctrl-C reaches the terminal's whole group: only the supervisor is to hear it, and end all in order.
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True until it has ended."""
        return self._process.returncode is None

    async def ended(self) -> int:
        """Waits for its end; gives its exit code, negative for a signal."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Asks it to end, and ends it when it takes too long."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Ends it at once, with the processes that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def last_lines(self) -> list[str]:
        """The end of its log."""
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            return [line.rstrip("\n") for line in deque(lines, LINES_SHOWN_MAX)]
