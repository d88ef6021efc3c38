"""The relay's own definitions are sound, and a further one needs a file and no code."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.clock import Clock
from relay.domain.errors import BadDefinition
from relay.domain.observation import Outcome
from relay.egress import Egress
from relay.providers.catalog import OWN_FOLDER, Catalog, check_file
from relay.providers.look import look
from relay.providers.request import Target
from tests.providers.made_up import ACME, ACME_SAMPLES, written
from tests.receivers import Receiver, answering

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FIVE = {"huawei_metastudio", "playai", "fishspeech", "camb", "vocu"}


def test_the_five_are_there() -> None:
    catalog = Catalog.load()
    assert set(catalog.names()) >= FIVE
    assert {definition.name for definition in catalog if definition.is_demo} == FIVE
    assert len(catalog) == len(catalog.names()) == len(list(catalog))
    assert catalog.get("camb") is not None
    assert catalog.get("nobody") is None


@pytest.mark.parametrize("path", sorted(OWN_FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_a_definition_and_all_its_samples_are_sound(path: Path) -> None:
    assert check_file(path, NOW) == []


async def test_a_definition_from_a_folder_works_without_a_line_of_python(tmp_path: Path, egress: Egress) -> None:
    assert check_file(written(tmp_path), NOW) == []
    catalog = Catalog.load(tmp_path)
    definition = catalog.get("acme")
    assert definition is not None
    assert len(catalog.samples("acme")) == len(ACME_SAMPLES)
    body = b'{"status": "done", "url": "https://files.acme.example/a.mp3"}'
    async with Receiver(answering(200, {}, body)) as server:
        target = Target(definition, server.url(""), {"token": "t-123456789"}, {"flavour": "rich"}, "j1")
        observation = await look(egress, target, Clock())
    assert server.calls[0].target == "/rich/jobs/j1"
    assert server.calls[0].header("authorization") == "Bearer t-123456789"
    assert observation.outcome is Outcome.COMPLETED
    assert observation.result is not None
    assert observation.result.files[0].url == "https://files.acme.example/a.mp3"


def test_the_faults_of_all_files_are_named_together(tmp_path: Path) -> None:
    written(tmp_path, ACME.replace('"bearer"', '"magic"'))
    written(tmp_path, ACME.replace('"acme"', '"camb"', 1), name="camb")
    written(tmp_path, ACME, name="misnamed")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "huge.toml").write_bytes(b"#" * 1_048_577)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(BadDefinition) as refusal:
        Catalog.load(tmp_path)
    told = str(refusal.value)
    assert "acme.toml: auth.0.scheme: 'magic' is not known" in told
    assert "camb.toml: 'camb' is already defined by" in told
    assert "misnamed.toml: name: 'acme' belongs into acme.toml" in told
    assert "binary.toml: is not UTF-8" in told
    assert "huge.toml: is larger than" in told
    assert "folder.toml: cannot be read" in told


def test_a_folder_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(BadDefinition, match="there is no such folder"):
        Catalog.load(tmp_path / "nowhere")


def test_a_definition_without_samples_lacks_one_of_each_kind(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.with_suffix(".samples.json").unlink()
    assert check_file(path, NOW) == [
        f"acme.samples.json: there is no sample of a look that is {outcome}"
        for outcome in ("pending", "completed", "failed")
    ]


def test_a_sample_that_is_not_what_it_says_is_named(tmp_path: Path) -> None:
    wrong = [{**ACME_SAMPLES[0], "outcome": "completed"}, *ACME_SAMPLES]
    faults = check_file(written(tmp_path, samples=wrong), NOW)
    assert faults == [
        "acme.samples.json: sample 0 (guess, look, HTTP 200): outcome is 'pending', should be 'completed'"
    ]


def test_a_name_that_the_relay_has_itself_is_a_fault(tmp_path: Path) -> None:
    taken = written(tmp_path, ACME.replace('"acme"', '"camb"', 1), name="camb")
    assert check_file(taken, NOW) == ["camb.toml: 'camb' is already defined by the relay itself"]


def test_samples_that_cannot_be_read_are_faults(tmp_path: Path) -> None:
    faults = check_file(written(tmp_path, samples=[{"source": "x", "status": 200, "outcome": "pending"}]), NOW)
    assert any("either body (JSON) or text" in fault for fault in faults)
