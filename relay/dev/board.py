"""What `relay dev` shows: the demo as it runs, and what there is to try afterwards."""

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from relay.dev.demo import Track

STATUS_STYLES = {"pending": "yellow", "completed": "green", "failed": "red", "expired": "red", "cancelled": "red"}
TITLES = ("provider", "job", "state", "polls", "delivery", "signature")
REDRAWS_PER_SECOND = 8


class NobodyReads(Exception):
    """Standard output leads nowhere any more."""


class Terminal(Console):
    """Where `relay dev` speaks. Raises NobodyReads when it cannot: rich would exit on the spot."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # the interpreter flushes it once more at its end
        os.close(nowhere)
        raise NobodyReads


class Board:
    """A live table on a terminal; elsewhere a line for each thing that changed. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=REDRAWS_PER_SECOND) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, tracks: Sequence[Track]) -> None:
        """The demo as it stands now."""
        if self._live:
            self._live.update(_table(tracks))
            return
        for track in tracks:
            line = _line(track)
            if track.job and self._told.get(track.provider_job_id) != line:
                self._told[track.provider_job_id] = line
                self._console.print(line, style="", markup=False, highlight=False, soft_wrap=True)


def _state(track: Track) -> str:
    word = f" ({track.provider_status})" if track.provider_status else ""
    return f"{track.status}{word}"


def _line(track: Track) -> str:
    parts = [f"{track.account.provider:<18} {track.provider_job_id}  {_state(track)}", f"{track.polls} polls"]
    if track.delivery:
        parts.append(f"delivery {track.delivery}")
    if track.is_verified:
        parts.append("signature verified")
    return ", ".join(parts)


def _table(tracks: Sequence[Track]) -> Table:
    """The job's id gives way where the terminal is narrow: the others say what happens."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in TITLES:
        table.add_column(title, no_wrap=title != "job")
    for track in tracks:
        table.add_row(
            track.account.provider,
            Text(track.provider_job_id, no_wrap=True, overflow="ellipsis"),
            Text(_state(track), STATUS_STYLES.get(track.status, "")),
            str(track.polls),
            Text(track.delivery, "green" if track.delivery == "succeeded" else ""),
            Text("verified", "green") if track.is_verified else "",
        )
    return table


def warnings_of(tracks: Sequence[Track]) -> list[str]:
    """What the registrations warned of, each once."""
    return list(dict.fromkeys(warning for track in tracks for warning in track.warnings))
