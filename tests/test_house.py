"""The practices of this house that can be read off its files, so that nobody has to watch over them."""

import ast
import io
import re
import runpy
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

from relay import metrics
from relay.domain.errors import BadSettings
from relay.settings import Settings, load

ROOT = Path(__file__).parents[1]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
ARCHITECTURE_LINES_MAX = 120
CODE_FOLDERS = ("relay", "tests", "bench", "docs", "examples")

CLOCK = "relay/clock.py"
SETTINGS = "relay/settings.py"
PROVIDERS_OWN_FILES = ("relay/providers/huawei_aksk.py",)  # an authentication scheme, the one exception
PURE = (  # of the standard library: what neither reads nor writes, waits, nor asks what time it is
    *("bisect", "collections", "dataclasses", "datetime", "email.utils", "enum", "functools", "hashlib", "hmac"),
    *("ipaddress", "itertools", "json", "math", "re", "typing", "urllib.parse", "zlib"),
)
OUTWARD = ("httpx", "aiohttp", "requests", "http.client", "urllib.request")
ON_LOOPBACK = "relay/dev/"  # `relay dev` asks the doors that it has opened itself
FOR_USERS = "relay/client/"  # runs in the programs of users, where proxies are what the environment says: 0012
NOT_NOUNS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "types"}
STORE_PREFIXES = ("get_", "save_", "update_")
CLOCKLIKE_MODULES = ("time", "random", "secrets", "uuid")
CLOCKLIKE_CALLS = (
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "loop.time", "loop().time"),
    *("asyncio.sleep", "anyio.sleep", "os.urandom"),
)
ENVIRONMENT = ("os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv", "dotenv", "pydantic_settings")
ENVIRONMENT_ARGUMENTS = ("envvar", "auto_envvar_prefix", "env_file")
EXCEPTION = re.compile(
    r"#\s*(?:type:\s*ignore|noqa|pragma)"
    r"(?:\[[^\]]*\]|:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|:\s*no cover)?"
    r"(?P<reason>.*)"
)


@dataclass(frozen=True)
class Source:
    """One Python file of the project; `name` is its path from the root."""

    name: str
    text: str
    tree: ast.Module

    @property
    def is_ours(self) -> bool:
        """True for what is installed."""
        return self.name.startswith("relay/")

    def imports(self) -> Iterator[str]:
        """Every module and every `module.name` that the file imports."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def attributes(self) -> Iterator[tuple[str, int]]:
        """Every dotted name that the file speaks of, and its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute):
                yield ast.unparse(node), node.lineno

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method, at any depth."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def comments(self) -> Iterator[tuple[str, int]]:
        """Every comment, and its line."""
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.string, token.start[0]


@cache
def files() -> tuple[Path, ...]:
    """Every file that is or will be committed: all that .gitignore does not name."""
    lines = (ROOT / ".gitignore").read_text().splitlines()
    patterns = [line.rstrip("/") for line in lines if line and not line.startswith("#")]

    def is_ignored(path: Path) -> bool:
        name = path.relative_to(ROOT).as_posix()
        return path.name == ".git" or any(fnmatch(path.name, one) or fnmatch(name, one) for one in patterns)

    def below(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if not is_ignored(path):
                if path.is_dir():
                    yield from below(path)
                else:
                    yield path

    return tuple(below(ROOT))


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file of the project."""
    found = []
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py" and name.split("/")[0] in CODE_FOLDERS:
            text = path.read_text(encoding="utf-8")
            found.append(Source(name, text, ast.parse(text)))
    return tuple(found)


@cache
def ours() -> tuple[Source, ...]:
    """Every Python file that is installed."""
    return tuple(source for source in sources() if source.is_ours)


def source(name: str) -> Source:
    """The file of that path."""
    return next(one for one in sources() if one.name == name)


def is_within(name: str, modules: tuple[str, ...]) -> bool:
    """True when the dotted name is one of the modules or stands in one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def is_one_sentence(text: str) -> bool:
    """True for a text that begins with a capital, ends with a stop and has none within."""
    flat = " ".join(text.split())
    return bool(re.fullmatch(r"[^a-z\s].*[.?!]", flat)) and not re.search(r"[.?!…]\s+[A-Z]", flat[:-1])


def test_every_module_says_in_one_sentence_why_it_exists() -> None:
    silent = []
    for one in sources():
        told = ast.get_docstring(one.tree) or ""
        if one.name == "relay/domain/errors.py":
            told = told.split("\n\n")[0]
        if one.text.strip() and not is_one_sentence(told):
            silent.append(one.name)
    assert not silent, "\n".join(silent)


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{one.name}:{node.lineno} {node.name}: {lines} lines"
        for one in sources()
        for node in one.functions()
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long, "\n".join(long)


def test_no_file_is_longer_than_one_can_read_at_a_sitting() -> None:
    long = [f"{one.name}: {lines}" for one in sources() if (lines := one.text.count("\n")) > FILE_LINES_MAX]
    assert not long, "\n".join(long)
    assert (ROOT / "ARCHITECTURE.md").read_text().count("\n") <= ARCHITECTURE_LINES_MAX


def test_the_map_of_the_code_names_all_that_stands_in_relay() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    names = {f"{parts[1]}/" if len(parts) > 2 else parts[1] for one in ours() if (parts := one.name.split("/"))}
    assert [name for name in sorted(names - {"__init__.py"}) if f"`{name}`" not in text] == []
    assert [link for link in re.findall(r"\]\(([\w./-]+)\)", text) if not (ROOT / link).exists()] == []


def test_no_module_is_named_for_having_no_subject() -> None:
    named = [one.name for one in sources() if NOT_NOUNS & {*Path(one.name).with_suffix("").parts}]
    assert not named, "\n".join(named)


def test_the_tree_in_the_docstring_of_the_errors_is_the_real_one() -> None:
    told: dict[str, str] = {}
    path: list[str] = []
    for line in (ast.get_docstring(source("relay/domain/errors.py").tree) or "").splitlines():
        found = re.match(r"(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(  |$)", line)
        if found:
            depth = len(found["branch"]) // 4
            path[depth:] = [found["name"]]
            told[found["name"]] = path[depth - 1] if depth else "Exception"
    real, is_growing = {"RelayError": "Exception"}, True
    classes = [node for one in ours() for node in ast.walk(one.tree) if isinstance(node, ast.ClassDef)]
    while is_growing:
        is_growing = False
        for node in classes:
            for base in map(ast.unparse, node.bases):
                if base in real and node.name not in real:
                    real[node.name] = base
                    is_growing = True
    assert told == real


def test_one_file_asks_what_time_it_is_and_rolls_dice() -> None:
    asking = []
    for one in ours():
        if one.name == CLOCK:
            continue
        names = CLOCKLIKE_MODULES + CLOCKLIKE_CALLS
        asking += [f"{one.name} imports {name}" for name in one.imports() if is_within(name, names)]
        asking += [f"{one.name}:{line} {name}" for name, line in one.attributes() if name.endswith(CLOCKLIKE_CALLS)]
    assert not asking, "\n".join(asking)


def test_one_place_waits_and_one_asks_for_the_present() -> None:
    clock = [name for name, _ in source(CLOCK).attributes()]
    assert [clock.count(name) for name in ("datetime.now", "asyncio.sleep", "time.sleep", "random.random")] == [1] * 4


def test_one_file_reads_the_environment() -> None:
    reading = []
    for one in ours():
        if one.name == SETTINGS:
            continue
        reading += [f"{one.name}:{line} {name}" for name, line in one.attributes() if name in ENVIRONMENT]
        reading += [f"{one.name} imports {name}" for name in one.imports() if is_within(name, ENVIRONMENT)]
        reading += [
            f"{one.name}:{node.value.lineno} {node.arg}="
            for node in ast.walk(one.tree)
            if isinstance(node, ast.keyword) and node.arg in ENVIRONMENT_ARGUMENTS
        ]
    assert not reading, "\n".join(reading)


def test_no_http_client_takes_its_proxies_from_the_environment() -> None:
    trusting = []
    for one in ours():
        if one.name.startswith(FOR_USERS):
            continue
        for node in ast.walk(one.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Client", "ClientSession")):
                told = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if told.get("trust_env", "False" if "aiohttp" in ast.unparse(node.func) else "") != "False":
                    trusting.append(f"{one.name}:{node.lineno}")
    assert not trusting, "\n".join(trusting)


def test_no_provider_is_named_in_python() -> None:
    definitions = [path.stem for path in (ROOT / "relay/providers/definitions").glob("*.toml")]
    schemes = [Path(name).stem for name in PROVIDERS_OWN_FILES]
    assert len(definitions) >= 5
    words = [name.replace("_", "[-_ ]?") for name in definitions] + [name.split("_")[0] for name in schemes]
    named = re.compile(rf"(?<![a-z])({'|'.join(words)})(?![a-z])", re.IGNORECASE)
    found = []
    for one in ours():
        if one.name in PROVIDERS_OWN_FILES:
            continue
        text = one.text
        for scheme in schemes:
            text = text.replace(scheme, "")
        lines = text.splitlines()
        found += [f"{one.name}:{number} {line.strip()}" for number, line in enumerate(lines, 1) if named.search(line)]
    assert not found, "\n".join(found)


def test_no_verb_of_the_store_is_called_get_save_or_update() -> None:
    vague = [
        f"{one.name}:{node.lineno} {node.name}"
        for one in ours()
        if one.name.startswith("relay/store/")
        for node in one.functions()
        if node.name.startswith(STORE_PREFIXES)
    ]
    assert not vague, "\n".join(vague)


def test_the_domain_imports_nothing_that_reads_writes_or_waits() -> None:
    impure = []
    for one in ours():
        if not one.name.startswith("relay/domain/"):
            continue
        allowed = (*PURE, "relay.domain")
        impure += [f"{one.name} imports {name}" for name in one.imports() if not is_within(name, allowed)]
        impure += [f"{one.name}:{node.lineno}" for node in one.functions() if isinstance(node, ast.AsyncFunctionDef)]
        impure += [
            f"{one.name}:{node.lineno} {node.func.id}"
            for node in ast.walk(one.tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "print")
        ]
    assert not impure, "\n".join(impure)


def test_nothing_speaks_http_to_the_outside_but_egress() -> None:
    speaking = [
        f"{one.name} imports {name}"
        for one in ours()
        for name in one.imports()
        if is_within(name, OUTWARD) and not one.name.startswith(("relay/egress/", ON_LOOPBACK, FOR_USERS))
    ]
    assert not speaking, "\n".join(speaking)


def test_imports_only_go_down() -> None:
    script = Path(sys.executable).parent / "lint-imports"
    told = subprocess.run([script, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def readme_settings() -> dict[str, str]:
    """Each variable of the README's table, with what the table says is its default."""
    rows = re.findall(r"^\| `([A-Z][A-Z_]+)` \|.*\| ([^|]*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def test_every_setting_stands_in_the_readme_and_nothing_else_does() -> None:
    assert set(readme_settings()) == {name.upper() for name in Settings.model_fields}


def test_the_readme_tells_the_defaults_as_they_are() -> None:
    defaults = Settings()
    for name, told in readme_settings().items():
        real = defaults.public_url if name == "RELAY_PUBLIC_URL" else getattr(defaults, name.lower())
        value = told.strip("`").replace("$PORT", str(defaults.port))
        if value == "none" or value.startswith("none:"):
            assert real in (None, (), ""), name
        elif name == "RELAY_PUBLIC_URL":
            assert value == real
        else:
            assert getattr(load({name: value}), name.lower()) == real, name


def test_every_setting_stands_in_the_example_of_the_environment() -> None:
    text = (ROOT / "deploy/relay.env.example").read_text()
    assert {name.upper() for name in Settings.model_fields} <= set(
        re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE)
    )


def test_a_fault_in_any_setting_is_told_by_the_name_of_its_variable() -> None:
    wrong = {"PORT": "http", "RELAY_RETRY_SCHEDULE": "soon", "REDIS_URL": "ftp://x", "RELAY_EGRESS_ALLOW": "everything"}
    with pytest.raises(BadSettings) as raised:
        load(wrong)
    assert {fault.split(":")[0] for fault in raised.value.faults} == set(wrong)


def declared_metrics() -> dict[str, Counter | Gauge | Histogram]:
    """Each metric by the name of its constant."""
    return {name: one for name, one in vars(metrics).items() if isinstance(one, Counter | Gauge | Histogram)}


def test_every_metric_is_counted_somewhere() -> None:
    used = {name for one in ours() for name, _ in one.attributes() if one.name != "relay/metrics.py"}
    used |= {name.removeprefix("relay.") for one in ours() for name in one.imports()}
    assert [name for name in declared_metrics() if f"metrics.{name}" not in used] == []


def test_every_metric_is_declared_in_one_file_and_begins_with_the_products_name() -> None:
    elsewhere = [
        one.name
        for one in ours()
        if {"prometheus_client.Counter", "prometheus_client.Gauge", "prometheus_client.Histogram"} & {*one.imports()}
        and one.name != "relay/metrics.py"
    ]
    assert not elsewhere, "\n".join(elsewhere)
    assert all(family.name.startswith("relay_") for one in declared_metrics().values() for family in one.describe())


def test_the_generated_pages_are_fresh() -> None:
    for path, text in runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run `make docs`"


def test_every_exception_to_a_rule_carries_its_reason() -> None:
    bare = [
        f"{one.name}:{line} {comment}"
        for one in sources()
        for comment, line in one.comments()
        if (found := EXCEPTION.match(comment)) and not re.search(r"\w", found["reason"])
    ]
    assert not bare, "\n".join(bare)


def test_every_ignored_rule_of_the_tools_carries_its_reason() -> None:
    bare = []
    section = ""
    is_listing = False
    for number, line in enumerate((ROOT / "pyproject.toml").read_text().splitlines(), 1):
        section = line.strip("[]") if line.startswith("[") else section
        begins = section.startswith("tool.ruff.lint") and re.match(r'(ignore|"[^"]+") = \[', line)
        is_listing = bool(begins) or (is_listing and line.strip() != "]")
        is_exception = (is_listing and not begins) or "ignore_missing_imports" in line
        if is_exception and not re.search(r"#\s*\w+.*\w", line):
            bare.append(f"{number}: {line}")
    assert not bare, "\n".join(bare)
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["mccabe"] == {
        "max-complexity": 10
    }


def test_nothing_is_left_for_later_and_no_comment_is_a_banner() -> None:
    left = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK|WIP)\b|#\s*([-=#*~_])\2{2,}")
    found = [f"{one.name}:{line} {text}" for one in sources() for text, line in one.comments() if left.match(text)]
    assert not found, "\n".join(found)


def test_no_test_is_put_off_patched_or_empty() -> None:
    forbidden = (
        *("pytest.skip", "pytest.xfail", "pytest.mark.skip", "pytest.mark.xfail"),
        *("pytest.importorskip", "monkeypatch.setattr", "monkeypatch.delattr", "monkeypatch.setitem"),
    )
    found = []
    for one in sources():
        if one.is_ours:
            continue
        found += [f"{one.name}:{line} {name}" for name, line in one.attributes() if name in forbidden]
        found += [f"{one.name} {name}" for name in one.imports() if is_within(name, ("unittest.mock", "mock"))]
        found += [  # only a tool that this machine lacks excuses a test
            f"{one.name}:{node.lineno} {ast.unparse(node)}"
            for node in ast.walk(one.tree)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "pytest.mark.skipif"
            and not re.fullmatch(r"shutil\.which\('\w+'\) is None", ast.unparse(node.args[0]))
        ]
        found += [
            f"{one.name}:{node.lineno} {ast.unparse(node)}"
            for node in ast.walk(one.tree)
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant)
        ]
    assert not found, "\n".join(found)


def test_the_name_of_a_test_is_a_sentence() -> None:
    short = [
        f"{one.name}:{node.lineno} {node.name}"
        for one in sources()
        if Path(one.name).name.startswith("test_")
        for node in one.functions()
        if node.name.startswith("test_") and node.name.count("_") < 3
    ]
    assert not short, "\n".join(short)


def test_tests_stand_where_what_they_test_does() -> None:
    folders = {str(Path(one.name).parent) for one in sources() if Path(one.name).match("tests/*/test_*.py")}
    homes = {name: ROOT / name.replace("tests/", "relay/") for name in sorted(folders)}
    assert [name for name, home in homes.items() if not home.is_dir() and not home.with_suffix(".py").is_file()] == []
    modules = {Path(one.name).stem for one in ours() if one.name.startswith("relay/domain/")} - {"__init__"}
    tested = {
        Path(one.name).stem.removeprefix("test_") for one in sources() if one.name.startswith("tests/domain/test_")
    }
    assert modules - tested == {"errors"}  # whose tree is tested above


def test_no_committed_file_knows_this_machine_or_a_registry_of_packages() -> None:
    # Put together here, so that this file does not hold what it looks for.
    needles = ["/" + "work" + "/", "/" + "root" + "/", "/" + "home" + "/", "/opt" + "/wheels"]
    needles += ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com"]
    needles += ["--index" + "-url", "--extra" + "-index", "proxy.go" + "lang.org", "../" + "shared"]
    found = []
    for path in files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {needle}" for needle in needles if needle in text]
    assert not found, "\n".join(found)
