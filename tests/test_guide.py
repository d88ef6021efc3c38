"""The guide to adding a provider is followed to the letter, by somebody who has read nothing else."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.domain.observation import Outcome
from relay.egress import Egress, Guard
from relay.providers.catalog import Catalog
from relay.providers.classify import classify
from relay.providers.definition import Definition
from relay.providers.listing import list_page
from relay.providers.look import look
from relay.providers.request import Target
from tests.providers.swift_clock import SwiftClock
from tests.receivers import Receiver, answering, in_turn

GUIDE = Path(__file__).parents[1] / "docs" / "adding-a-provider.md"
LINES_MAX = 60
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMAND_SECONDS_MAX = 60.0


def block(language: str) -> str:
    """The only block of that language in the guide."""
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    return str(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The guide's folder, written as it says."""
    made = tmp_path / "providers"
    made.mkdir()
    (made / "lumen.toml").write_text(block("toml"))
    (made / "lumen.samples.json").write_text(block("json"))
    return made


@pytest.fixture
def lumen(folder: Path) -> Definition:
    """The guide's provider, as the relay loads it."""
    definition = Catalog.load(folder).get("lumen")
    assert definition is not None
    return definition


def run(line: str, folder: Path, **more: str) -> tuple[int, str]:
    """One of the guide's commands where its reader would type it: its exit code, and what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    words = shlex.split(line, comments=True)
    assert words[0] == "relay"
    done = subprocess.run(
        [sys.executable, "-m", "relay", *words[1:]],
        cwd=folder.parent,
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_guide_is_short() -> None:
    assert len(GUIDE.read_text().splitlines()) <= LINES_MAX


def test_its_definition_and_samples_pass_the_check(folder: Path) -> None:
    check, export, _ = block("sh").splitlines()
    assert run(check, folder) == (0, "✓ providers/lumen.toml\n")
    name, value = shlex.split(export, comments=True)[1].split("=")
    code, told = run("relay providers list", folder, **{name: value})
    assert code == 0
    assert re.search(r"^lumen +Lumen +https://api\.lumen\.example +\(api_key\)$", told, re.MULTILINE)


def test_a_mistake_in_it_is_named(folder: Path) -> None:
    path = folder / "lumen.toml"
    path.write_text(path.read_text().replace('"done"', '"ready"').replace("pace =", "pase ="))
    check = block("sh").splitlines()[0]
    assert run(check, folder) == (1, "✗ providers/lumen.toml\n  lumen.toml: pase: unknown key\n")
    path.write_text(path.read_text().replace("pase =", "pace ="))
    code, told = run(check, folder)
    assert code == 1
    assert "sample 1 (doc, look, HTTP 200): outcome is 'unknown', should be 'completed'" in told


@pytest.mark.parametrize(
    ("call", "lacks"),
    [("fetch", "a fetch that is fetched"), ("list", "a list with a job"), ("submit", "a submit that made a job")],
)
def test_each_of_its_calls_has_to_have_its_sample(call: str, lacks: str, folder: Path) -> None:
    path = folder / "lumen.samples.json"
    path.write_text(json.dumps([sample for sample in json.loads(path.read_text()) if sample.get("call") != call]))
    code, told = run(block("sh").splitlines()[0], folder)
    assert code == 1
    assert f"lumen.samples.json: there is no sample of {lacks}" in told


async def test_its_list_and_its_second_step_are_asked_as_it_says(lumen: Definition) -> None:
    samples = [one for one in json.loads(block("json")) if one["outcome"] in ("completed", "fetched", "listed")]
    done, text, jobs = (answering(200, {}, json.dumps(one["body"]).encode()) for one in samples)
    guard = Guard(["127.0.0.0/8"], allow_http=True)
    async with Receiver(in_turn(jobs, done, text)) as server, Egress(guard, "relay/test (tests)") as egress:
        target = Target(lumen, server.url(""), {"api_key": "a-key-of-the-test"}, {}, "lum_7")
        page = await list_page(egress, target, SwiftClock(), offset=100)
        observation = await look(egress, target, SwiftClock())
    assert [call.target for call in server.calls] == ["/eu/jobs?from=100", "/eu/jobs/lum_7", "/eu/texts/1"]
    assert [seen.outcome for seen in page.observations.values()] == [Outcome.PENDING]
    assert observation.result is not None
    assert [file.kind for file in observation.result.files] == ["audio", "subtitles"]


async def test_its_look_is_tried_as_it_says(folder: Path) -> None:
    body = {"job": {"state": "done", "audio_url": "https://cdn.lumen.example/1.mp3"}}
    tries = block("sh").splitlines()[2]
    async with Receiver(answering(200, {"content-type": "application/json"}, json.dumps(body).encode())) as server:
        line = f"{tries} --base-url {server.url('')}"
        code, told = await asyncio.to_thread(run, line, folder, RELAY_PROVIDERS_DIR="providers")
    assert code == 0, told
    [call] = server.calls
    assert (call.method, call.target, call.header("x-lumen-key")) == ("GET", "/us/jobs/lum_2041", "your-key")
    assert "outcome   completed (HTTP 200), the provider says done" in told
    assert "file      audio https://cdn.lumen.example/1.mp3" in told
    assert "ends the job and sends job.completed" in told


async def test_it_works_without_a_line_of_python(lumen: Definition) -> None:
    body = b'{"job": {"state": "broken"}, "error": {"code": "TIMEOUT_7", "text": "too slow"}}'
    guard = Guard(["127.0.0.0/8"], allow_http=True)
    async with Receiver(answering(200, {}, body)) as server, Egress(guard, "relay/test (tests)") as egress:
        target = Target(lumen, server.url(""), {"api_key": "a-key-of-the-test"}, {}, "lum_7")
        observation = await look(egress, target, SwiftClock())
    assert server.calls[0].target == "/eu/jobs/lum_7"
    assert observation.outcome is Outcome.FAILED
    assert observation.error is not None
    assert (observation.error.code, observation.error.message) == ("timeout", "too slow")


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (401, b"{}", Outcome.AUTH),
        (403, b"{}", Outcome.AUTH),
        (402, b"{}", Outcome.PAYMENT),
        (404, b"{}", Outcome.NOT_FOUND),
        (410, b"{}", Outcome.NOT_FOUND),
        (429, b"{}", Outcome.THROTTLED),
        (500, b"{}", Outcome.TRANSIENT),
        (200, b"hello", Outcome.TRANSIENT),
        (403, b"hello", Outcome.TRANSIENT),
        (400, b"{}", Outcome.UNKNOWN),
        (200, b'{"job": {"state": "thinking"}}', Outcome.UNKNOWN),
    ],
)
def test_what_it_says_of_http_statuses_is_true(lumen: Definition, status: int, body: bytes, outcome: Outcome) -> None:
    assert classify(lumen, status, [], body, NOW).outcome is outcome


def test_every_definition_that_it_points_to_shows_what_it_says() -> None:
    catalog = Catalog.load()
    shown = {name: catalog.get(name) for name in ("camb", "vocu", "huawei_metastudio", "kling")}
    text = GUIDE.read_text()
    assert all(name in text and definition is not None for name, definition in shown.items())
    assert shown["camb"] is not None
    assert shown["camb"].fetch is not None
    assert shown["vocu"] is not None
    assert shown["vocu"].listing is not None
    assert shown["huawei_metastudio"] is not None
    assert any(rule.at_most_looks for rule in shown["huawei_metastudio"].rules)
    assert shown["kling"] is not None
    assert any(param.choices for param in shown["kling"].params.values())
