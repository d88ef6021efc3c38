"""What is told before a process of the relay serves, and what is not served at all."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import called, environment, run
from tests.hosts import free_port
from tests.providers.made_up import ACME_SAMPLES, written
from tests.trips import until

A_KEY = "a secret key of the test"
NO_DATABASE = "these are words and no database\n" * 40


async def test_web_tells_all_that_keeps_it_from_starting_in_lines_as_the_worker_does(tmp_path: Path) -> None:
    told = await called(
        "web",
        DATABASE_URL=f"sqlite:///{tmp_path}/new.db",
        RELAY_SECRET_KEY=A_KEY,
        RELAY_HUAWEI_METASTUDIO_ACCESS_KEY="half of it",
        RELAY_CAMB_API_KEY="a line break\ncame along",
        PORT=str(free_port()),
    )
    assert (told.returncode, told.stdout) == (2, "")
    lines = told.stderr.splitlines()
    assert all(line.startswith("relay: ") for line in lines), told.stderr
    begins = [line.removeprefix("relay: ").split(":")[0] for line in lines]
    assert sorted(begins) == [
        "DATABASE_URL",
        "RELAY_CAMB_API_KEY",
        "RELAY_HUAWEI_METASTUDIO_PROJECT_ID",
        "RELAY_HUAWEI_METASTUDIO_SECRET_KEY",
    ]
    assert "run `relay migrate`" in told.stderr
    assert "came along" not in told.stderr.replace("(a line break came along?)", "")


async def test_web_tells_a_broken_definition_in_a_line(tmp_path: Path) -> None:
    written(tmp_path, "name =", ACME_SAMPLES)
    told = await called("web", RELAY_PROVIDERS_DIR=str(tmp_path), RELAY_SECRET_KEY=A_KEY, PORT=str(free_port()))
    assert told.returncode == 2
    assert all(line.startswith("relay: ") for line in told.stderr.splitlines()), told.stderr


async def test_web_starts_while_the_database_is_away(tmp_path: Path, redis_url: str) -> None:
    away = f"postgresql://relay@127.0.0.1:{free_port()}/relay"
    told = tmp_path / "told.txt"
    with told.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "relay", "web"],
            env=environment(
                DATABASE_URL=away, REDIS_URL=redis_url, RELAY_SECRET_KEY=A_KEY, PORT=str(free_port()), LOG_LEVEL="info"
            ),
            stderr=file,
        )
    try:
        await until(lambda: "Application startup complete" in told.read_text(), 30)
        assert process.poll() is None
        assert "database_not_ready" in told.read_text()
    finally:
        process.kill()
        process.wait()


def test_a_port_of_0_is_no_port_for_web_and_told_with_the_rest() -> None:
    told = run("web", PORT="0", RELAY_RETRY_SCHEDULE="soon", RELAY_PROVIDERS_DIR="nowhere/at/all")
    assert told.exit_code == 2
    for name in ("PORT", "RELAY_SECRET_KEY", "RELAY_RETRY_SCHEDULE", "RELAY_PROVIDERS_DIR"):
        assert f"relay: {name}" in told.stderr


def test_a_worker_is_not_started_by_a_question_that_was_asked_by_halves() -> None:
    told = run("worker", "--anywhere")
    assert told.exit_code == 2
    assert "--check" in told.stderr


@pytest.mark.parametrize("words", [("migrate",), ("keys", "list"), ("export", "--since", "2026-01-01"), ("web",)])
async def test_a_file_that_is_no_database_is_told_as_such(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(NO_DATABASE)
    told = await called(*words, DATABASE_URL=f"sqlite:///{tmp_path}/notes.txt", RELAY_SECRET_KEY=A_KEY)
    assert told.returncode == 2
    assert told.stderr.startswith("relay: DATABASE_URL: the file that it names is no SQLite database")
    assert (tmp_path / "notes.txt").read_text() == NO_DATABASE


async def test_dev_says_which_folder_it_cannot_live_in(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        told = await called("dev", "--folder", str(folder))
        assert told.returncode == 2
        assert told.stderr.startswith(f"relay: {folder}: ")
        assert "--folder" in told.stderr
