"""What stands in deploy/ and beside it, judged by the tools that will read it and held to the code it names."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from relay.cli import main
from relay.settings import Settings, load
from relay.web.routes import OPEN_ROUTES

TOP = Path(__file__).parent.parent
DEPLOY = TOP / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OUR_SERVICES = {name: one for name, one in COMPOSE["services"].items() if "build" in one}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
EXAMPLE = (DEPLOY / "relay.env.example").read_text()
SHOWN_FILES = [
    path for path in (*DEPLOY.rglob("*"), TOP / "Procfile", TOP / "Makefile", TOP / ".ci" / "run") if path.is_file()
]
BIN = Path(sys.executable).parent

SYSTEMD = shutil.which("systemd-analyze")
SYSTEMD_VERSION_MIN = 250  # the first that judges the exposure of units that are not installed
EXPOSURE_MAX = 15  # tenths: 1.5 of 10, of which the network that the relay lives by is the most
TARGETS = ("sysinit", "basic", "shutdown", "network-online", "multi-user")

SETTINGS = {name.upper() for name in Settings.model_fields}
A_SECRET_KEY = "k" * 44


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # Without what an outer make hands down, which would make an inner one speak of other things.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        [str(word) for word in words], env=kept | environment, capture_output=True, text=True, check=False, cwd=TOP
    )


def seconds_of(text: str) -> float:
    return float(re.fullmatch(r"(\d+)s?", text)[1])


def test_the_dockerfile_is_clean() -> None:
    judged = run(BIN / "hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile")
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_the_compose_file_fits_the_schema() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    judged = run(sys.executable, "-m", "check_jsonschema", *schema, DEPLOY / "compose.yaml")
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_every_image_is_pinned_to_a_full_version() -> None:
    stages = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    others = [service["image"] for service in COMPOSE["services"].values() if "build" not in service]
    assert len(stages) == 2
    assert others
    for image in stages + others:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-[a-z0-9-]+", image), image


def test_the_relay_runs_without_root_in_its_container() -> None:
    last_stage = (DEPLOY / "Dockerfile").read_text().rpartition("FROM ")[2]
    assert re.findall(r"^USER (\S+)", last_stage, re.MULTILINE) == ["10001:10001"]
    for name, service in OUR_SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"], name


def test_the_image_builds_a_whole_wheel_without_a_network(tmp_path: Path) -> None:
    copied = re.findall(r"^COPY ((?!--)\S.*) \./?\S*$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    admitted = set(re.findall(r"^!(\S+)$", (TOP / ".dockerignore").read_text(), re.MULTILINE))
    sources = {source for line in copied for source in line.split()}
    assert sources == admitted
    for source in sources:
        if (TOP / source).is_dir():
            shutil.copytree(TOP / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(TOP / source, tmp_path)
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    built = run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", tmp_path / "wheels", tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    wanted = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "relay").rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as packed:
        assert wanted <= set(packed.namelist())


@pytest.fixture
def web() -> Iterator[HTTPServer]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in self.server.well else 503)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Keeps quiet."""

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_the_webs_health_check_follows_the_route_it_asks(web: HTTPServer) -> None:
    path = "/healthz"
    assert path in {route.path for route in OPEN_ROUTES}
    kind, program, option, script = OUR_SERVICES["web"]["healthcheck"]["test"]
    assert (kind, program, option) == ("CMD", "python", "-c")
    script = script.replace("8000", str(web.server_port))
    for well, code in ({path}, 0), (set(), 1):
        web.well = well
        assert run(sys.executable, "-c", script).returncode == code


def test_the_workers_health_check_is_a_command_of_the_relay() -> None:
    kind, program, *words = OUR_SERVICES["worker"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "relay")
    name, *options = words
    assert set(options) <= {option for one in main.commands[name].params for option in one.opts}


def unit_folder(folder: Path) -> Path:
    """The units as installed, where only what `systemd-analyze` would miss on this machine is put in its place."""
    shutil.copytree(DEPLOY / "systemd", folder, dirs_exist_ok=True)
    command = folder / "relay"
    command.touch(0o755)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/relay/bin/relay", str(command)))
    for target in TARGETS:
        (folder / f"{target}.target").write_text("[Unit]\n")
    return folder


if SYSTEMD is None or int(run(SYSTEMD, "--version").stdout.split()[1]) < SYSTEMD_VERSION_MIN:

    def test_systemd_is_not_here_so_its_units_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
        with capsys.disabled():
            print(f"\nsystemd-analyze {SYSTEMD_VERSION_MIN} is not on PATH: the systemd units are left out")
        assert UNITS

else:

    def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
        units = sorted(unit_folder(tmp_path).glob("*.service"))
        assert len(units) == len(UNITS) == 3
        judged = run(SYSTEMD, "verify", "--man=no", *units, SYSTEMD_UNIT_PATH=str(tmp_path))
        assert (judged.returncode, judged.stderr) == (0, "")

    def test_systemd_calls_the_units_hardly_exposed(tmp_path: Path) -> None:
        limit = f"--threshold={EXPOSURE_MAX}"
        for unit in sorted(unit_folder(tmp_path).glob("*.service")):
            judged = run(
                SYSTEMD, "security", "--offline=true", "--no-pager", limit, unit, SYSTEMD_UNIT_PATH=str(tmp_path)
            )
            assert judged.returncode == 0, judged.stdout + judged.stderr


def test_everything_is_given_more_time_to_stop_than_it_takes() -> None:
    drain_seconds = load({}).relay_shutdown_seconds
    for unit in UNITS:
        for text in re.findall(r"^TimeoutStopSec=(\S+)$", unit.read_text(), re.MULTILINE):
            assert seconds_of(text) > drain_seconds, unit.name
    assert {unit.stem for unit in UNITS if "TimeoutStopSec=" in unit.read_text()} == {"relay-web", "relay-worker"}
    for name in OUR_SERVICES:
        assert seconds_of(OUR_SERVICES[name]["stop_grace_period"]) > drain_seconds, name


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `relay …` that is named, with the place that names it."""
    patterns = {
        TOP / "Procfile": r"^\w+: relay (.+)$",
        TOP / "Makefile": r"exec \$\(BIN\)/relay ([a-z]+)",
        DEPLOY / "compose.yaml": r"run --rm web (.+)$",
        **dict.fromkeys(UNITS, r"/opt/relay/bin/relay (.+)$"),
    }
    for path, pattern in patterns.items():
        found = re.findall(pattern, path.read_text(), re.MULTILINE)
        assert found, path
        for line in found:
            yield path.name, shlex.split(line)
    for name, service in OUR_SERVICES.items():
        yield f"compose.yaml, {name}", service["command"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    entry, arguments = (
        json.loads(re.search(rf"^{word} (.+)$", dockerfile, re.MULTILINE)[1]) for word in ("ENTRYPOINT", "CMD")
    )
    assert entry == ["relay"]
    yield "Dockerfile", arguments


@pytest.mark.parametrize(
    ("place", "words"), [pytest.param(*one, id=f"{one[0]}: {' '.join(one[1])}") for one in commands()]
)
def test_every_command_that_is_named_exists(place: str, words: list[str]) -> None:
    command: click.Command | None = main
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(click.Context(command), name)
    assert command is not None, place
    command.make_context(command.name, list(words))


def test_each_process_of_the_procfile_has_its_unit_and_its_service() -> None:
    named = {words[0] for place, words in commands() if place == "Procfile"}
    assert named == {unit.stem.removeprefix("relay-") for unit in UNITS} == set(OUR_SERVICES)


def example_values() -> dict[str, tuple[str, bool, bool]]:
    """Of each variable in the example: its value, whether it is set there, and whether it is only an example."""
    told = {}
    remark = ""
    for line in EXAMPLE.splitlines():
        if entry := re.fullmatch(r"(# )?([A-Z][A-Z_]+)=(.*)", line):
            assert entry[2] not in told, f"{entry[2]} stands there twice"
            told[entry[2]] = (entry[3], entry[1] is None, "An example:" in remark)
            remark = ""
        else:
            remark = line
    return told


def provider_variables() -> set[str]:
    names = set()
    for path in (TOP / "relay" / "providers" / "definitions").glob("*.toml"):
        definition: dict[str, Any] = tomllib.loads(path.read_text())
        parts = [*definition.get("secrets", {}), *definition.get("params", {})]
        names |= {f"relay_{definition['name']}_{part}".upper() for part in parts}
    return names


def test_every_setting_stands_in_the_example() -> None:
    assert set(example_values()) >= SETTINGS


def test_the_containers_have_the_folder_of_further_definitions_where_the_example_says() -> None:
    folder, _, is_example = example_values()["RELAY_PROVIDERS_DIR"]
    assert is_example
    for name, service in OUR_SERVICES.items():
        assert service["volumes"] == [f"./providers:{folder}:ro"], name


def test_every_variable_that_is_named_exists() -> None:
    of_ours = SETTINGS | provider_variables()
    known = of_ours | {"POSTGRES_PASSWORD"}
    assert set(example_values()) <= known
    for path in SHOWN_FILES:
        named = set(re.findall(r"\bRELAY_[A-Z_]*[A-Z]", path.read_text()))
        assert named <= of_ours, path
    for name, service in OUR_SERVICES.items():
        assert set(service["environment"]) <= SETTINGS, name
    interpolated = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))
    assert interpolated <= {name for name, (_, is_set, _) in example_values().items() if is_set}


def test_the_defaults_in_the_example_are_the_defaults() -> None:
    without = load({})
    for name, (value, is_set, is_example) in example_values().items():
        if name in SETTINGS and not is_set:
            told = load({name: value})
            assert (getattr(told, name.lower()) == getattr(without, name.lower())) is not is_example, name


def test_the_example_works_once_it_is_filled_in() -> None:
    told = {name: value for name, (value, is_set, _) in example_values().items() if is_set}
    assert {name for name, value in told.items() if not value} == {"RELAY_SECRET_KEY", "POSTGRES_PASSWORD"}
    settings = load(told | {"RELAY_SECRET_KEY": A_SECRET_KEY}, needs_secret_key=True)
    assert settings.secret_keys == (A_SECRET_KEY,)


def pins(name: str) -> dict[str, str]:
    text = (TOP / name).read_text()
    assert not re.search(r"https?://|--(extra-)?index|--find-links", text), f"{name} names an index"
    entries = re.split(r"\n(?=[a-z0-9])", text)
    assert all("--hash=sha256:" in entry for entry in entries), f"{name} has an entry without a hash"
    return dict(re.match(r"([\w.-]+)==(\S+)", entry).groups() for entry in entries)


def test_tests_run_on_the_versions_that_users_get() -> None:
    for_users, for_tests = pins("requirements.txt"), pins("requirements-test.txt")
    assert for_users.items() <= for_tests.items()
    assert {"hatchling", "editables", "arq", "starlette"} <= set(for_users)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What make looks at, and nothing else."""
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-test.txt"):
        shutil.copy(TOP / name, tmp_path)
    return tmp_path


def installs(checkout: Path, target: str) -> list[str]:
    told = run("make", "--dry-run", "-C", checkout, target)
    assert told.returncode == 0, told.stderr
    return re.findall(r" install .*(?:-r (\S+)|-e \.)", told.stdout)


def make_ready(checkout: Path, *stamps: str) -> None:
    (checkout / ".venv").mkdir(exist_ok=True)
    newest = max(path.stat().st_mtime for path in checkout.iterdir())
    for number, stamp in enumerate(stamps, start=1):
        path = checkout / ".venv" / stamp
        path.touch()
        os.utime(path, (newest + number, newest + number))


def test_make_installs_what_is_asked_for_and_only_once(checkout: Path) -> None:
    assert installs(checkout, "run") == installs(checkout, "setup") == ["requirements.txt", ""]
    assert installs(checkout, "test") == installs(checkout, "lint") == ["requirements.txt", "", "requirements-test.txt"]
    make_ready(checkout, "ready", "ready-to-run")
    assert installs(checkout, "run") == []
    assert installs(checkout, "test") == ["requirements-test.txt"]
    make_ready(checkout, "ready", "ready-to-run", "ready-to-test")
    assert installs(checkout, "run") == installs(checkout, "test") == []


def test_make_installs_again_when_the_lock_has_changed(checkout: Path) -> None:
    make_ready(checkout, "ready", "ready-to-run", "ready-to-test")
    newer = (checkout / ".venv" / "ready-to-test").stat().st_mtime + 1
    os.utime(checkout / "requirements-test.txt", (newer, newer))
    assert installs(checkout, "run") == []
    assert installs(checkout, "test") == ["requirements-test.txt"]
    os.utime(checkout / "requirements.txt", (newer, newer))
    assert installs(checkout, "run") == ["requirements.txt", ""]
    assert installs(checkout, "test") == ["requirements.txt", "", "requirements-test.txt"]


def test_make_begins_anew_where_the_checkout_has_moved(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    checkout = checkout.rename(tmp_path_factory.mktemp("first") / "a place")
    python = checkout.parent / "python"
    python.write_text('#!/bin/sh\ncase "$2" in venv) mkdir -p .venv/bin;; esac\n')
    python.chmod(0o755)
    assert run("make", "-C", checkout, ".venv/ready", f"PYTHON={python}").returncode == 0
    make_ready(checkout, "ready-to-run", "ready-to-test")
    assert installs(checkout, "run") == installs(checkout, "test") == []
    moved = checkout.rename(checkout.parent / "another place")
    assert installs(moved, "run") == ["requirements.txt", ""]
    assert installs(moved, "test") == ["requirements.txt", "", "requirements-test.txt"]
    told = run("make", "--dry-run", "-C", moved).stdout
    assert 0 < told.find("-m venv --clear .venv") < told.find("relay dev")
    assert installs(moved.rename(checkout), "run") == []


@pytest.mark.parametrize(
    ("script", "advice"),
    [
        ('case "$2" in *version_info*) exit 1;; esac', "needs Python 3.11 or later"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "apt-get install python3-venv"),
    ],
    ids=["too old", "without ensurepip"],
)
def test_make_says_what_to_do_about_an_unfit_python(checkout: Path, script: str, advice: str) -> None:
    python = checkout / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    told = run("make", "-C", checkout, "setup", f"PYTHON={python}")
    assert told.returncode != 0
    assert advice in told.stderr
    assert not (checkout / ".venv").exists()


def test_ci_runs_what_people_run() -> None:
    script = TOP / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert run("bash", "-n", script).stderr == ""
    lines = script.read_text().splitlines()
    assert [line for line in lines if line in ("make lint", "make test")] == ["make lint", "make test"]
    for name in ("TEST_REDIS_URL", "TEST_DATABASE_URL"):
        assert any(line.strip().startswith(f"export {name}=") for line in lines)
