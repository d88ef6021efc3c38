"""What stands on the terminal while the demo runs, and after it."""

import io
import re
import subprocess
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from relay.clock import Clock
from relay.dev.account import Account
from relay.dev.banner import Parts, banner, outcome
from relay.dev.board import Board
from relay.dev.demo import Places, Track
from relay.dev.home import moved_in


def account(warnings: list[str] | None = None) -> Account:
    return Account("acme", "Acme", warnings or [], "http://127.0.0.1:1/acme", [{"token": "x"}], {}, {})


def track(**more: object) -> Track:
    told = {"job": "job_1", "status": "pending", "provider_status": "running", "polls": 1, **more}
    return Track(account(), "task_1", **told)  # type: ignore[arg-type]  # the fields of a track


def test_without_a_terminal_each_change_is_a_plain_line() -> None:
    console = Console(file=io.StringIO(), width=40)
    over = track(status="completed", provider_status="done", polls=2, delivery="succeeded", is_verified=True)
    with Board(console) as board:
        for tracks in ([Track(account(), "task_1")], [track()], [track()], [over]):
            board.show(tracks)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].split() == ["acme", "task_1", "pending", "(running),", "1", "polls"]
    assert lines[1].endswith("completed (done), 2 polls, delivery succeeded, signature verified")


def test_on_a_terminal_there_is_a_table() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Board(console) as board:
        board.show([track(delivery="pending")])
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "provider" in shown
    assert "acme" in shown
    assert "pending" in shown


def test_on_a_narrow_terminal_the_job_s_id_gives_way_and_nothing_else() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
    one = track(status="completed", provider_status="COMPLETED", polls=12, delivery="succeeded", is_verified=True)
    one.account, one.provider_job_id = replace(one.account, provider="a_very_long_name_"), "3933973d383f62b9442d7aed"
    with Board(console) as board:
        board.show([one])
    assert isinstance(console.file, io.StringIO)
    row = next(line for line in console.file.getvalue().splitlines() if "a_very" in line)
    assert re.search(r"a_very_long_name_ +393\w+… +completed \(COMPLETED\) +12 +succeeded +verified", row), row


def test_the_outcome_counts_and_warns_once() -> None:
    over = track(delivery="succeeded", is_verified=True, warnings=["Acme has closed"])
    lines = [text.plain for text in outcome([over, track(warnings=["Acme has closed"])], 9.87)]
    assert lines == [
        "warning: Acme has closed",
        "1 of 2 deliveries arrived with a good signature, 9.9 s after the start",
    ]


def test_a_delivery_whose_signature_was_not_seen_to_hold_does_not_count() -> None:
    assert not track(delivery="succeeded").is_over
    assert not track(is_verified=True).is_over


def test_the_banner_names_every_place_and_gives_commands_to_copy(tmp_path: Path) -> None:
    places = Places("http://127.0.0.1:8000", "rl_key", "http://127.0.0.1:8001", "whsec_x")
    with moved_in(tmp_path, Clock()) as home:
        parts = Parts(places, "http://127.0.0.1:8002", "unix:///x/redis.sock", has_docs=False)
        plain = banner(parts, home, [(account(), "task_1234")])
        with_docs = banner(Parts(places, "", "", has_docs=True, has_dashboard=False), home, [])
    text = "\n".join(line.plain for line in plain)
    exports = [line.plain for line in plain if line.plain.startswith("export ")]
    names = 'printf \'%s \' "$RELAY" "$KEY" "$INBOX" "$SECRET"'
    shell = subprocess.run(["sh", "-euc", "\n".join([*exports, names])], capture_output=True, text=True, check=True)
    assert shell.stdout.split() == ["http://127.0.0.1:8000", "rl_key", "http://127.0.0.1:8001/mine", "whsec_x"]
    for part in ("http://127.0.0.1:8000/v1", "rl_key", "8001", "8002", "redis.sock", "relay.db", "Not for production"):
        assert part in text
    assert text.count("curl -s") == 3
    assert '"provider_job_id": "task_1bad"' in text
    assert "/docs" not in text
    assert "http://127.0.0.1:8000/  takes the API key" in text
    other = "\n".join(line.plain for line in with_docs)
    assert "/docs" in other
    assert "dashboard" not in other
