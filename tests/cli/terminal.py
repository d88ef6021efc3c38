"""The commands as somebody at a terminal calls them, in an environment that says only what the test does."""

import asyncio
import os
import subprocess
import sys

from click.testing import CliRunner, Result

from relay.cli import main

IDLE_VARIABLES = ("DATABASE_URL", "REDIS_URL", "PORT", "LOG_LEVEL", "WEB_CONCURRENCY")


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would speak to the relay, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    return {**{name: value for name, value in kept.items() if name not in IDLE_VARIABLES}, **more}


def run(*words: str, **more: str) -> Result:
    """A command inside this process; not for one that comes so far as to set up the log, which is the process's."""
    absent = {name: None for name in os.environ if name.startswith("RELAY_") or name in IDLE_VARIABLES}
    return CliRunner().invoke(main, list(words), env={**absent, **more})


async def called(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """A command as a process of its own, to its end."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "relay", *words],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
