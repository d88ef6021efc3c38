"""Every provider, played over real HTTP and asked by the relay's own looks."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from relay.dev.account import Account
from relay.dev.serving import listen, port_of, serving
from relay.dev.simulator import Simulator
from relay.dev.stage import JOB_SECONDS_MIN, JOB_SECONDS_SPREAD
from relay.domain.observation import Observation, Outcome
from relay.egress import Egress, Guard
from relay.providers.catalog import Catalog
from relay.providers.listing import list_page
from relay.providers.look import look
from relay.providers.request import Target
from relay.providers.submit import Submitted, submit
from tests.dev.hand_clock import HandClock
from tests.providers.made_up import ACME, ACME_SAMPLES, written

CATALOG = Catalog.load()
NAMES = CATALOG.names()
JOB_SECONDS_MAX = JOB_SECONDS_MIN + JOB_SECONDS_SPREAD
IDS = {
    name: next(
        stem
        for stem in ("3f2504e0-4f89-41d3-9a0c-0305e82c", "1742255d667f46b9816d3aed0174")
        if CATALOG.get(name).provider_job_id.pattern.fullmatch(f"{stem}0000")  # type: ignore[union-attr]
    )
    for name in NAMES
}


@dataclass
class Theatre:
    """A running simulator, and who asks it."""

    simulator: Simulator
    egress: Egress
    clock: HandClock
    url: str
    catalog: Catalog

    def account(self, name: str) -> Account:
        return next(one for one in self.simulator.accounts if one.provider == name)

    def target(self, name: str, job: str, secrets: Mapping[str, str] | None = None) -> Target:
        account, definition = self.account(name), self.catalog.get(name)
        assert definition is not None
        params = {**account.params, **account.job_params}
        return Target(definition, account.base_url, secrets or account.secrets, params, job)

    async def look(self, name: str, job: str, secrets: Mapping[str, str] | None = None) -> Observation:
        return await look(self.egress, self.target(name, job, secrets), self.clock)


@asynccontextmanager
async def opened(catalog: Catalog) -> AsyncIterator[Theatre]:
    clock, listener = HandClock(), listen(0)
    simulator = Simulator(catalog, clock, f"http://127.0.0.1:{port_of(listener)}")
    async with serving(simulator.app, listener) as url, Egress(Guard(["127.0.0.0/8"], True), "test") as egress:
        yield Theatre(simulator, egress, clock, url, catalog)


@pytest.fixture
async def theatre() -> AsyncIterator[Theatre]:
    """All providers that the relay comes with."""
    async with opened(CATALOG) as one:
        yield one


async def test_every_provider_of_the_catalog_is_played(theatre: Theatre) -> None:
    assert tuple(one.provider for one in theatre.simulator.accounts) == NAMES
    assert theatre.simulator.left_out == []


@pytest.mark.parametrize("name", NAMES)
async def test_a_job_is_pending_and_then_completes_with_links_that_work(theatre: Theatre, name: str) -> None:
    job = f"{IDS[name]}0001"
    assert (await theatre.look(name, job)).outcome is Outcome.PENDING
    theatre.clock.move(JOB_SECONDS_MIN * 0.9)
    assert (await theatre.look(name, job)).outcome is Outcome.PENDING
    theatre.clock.move(JOB_SECONDS_MAX)
    seen = await theatre.look(name, job)
    assert seen.outcome is Outcome.COMPLETED
    assert seen.result is not None
    assert seen.result.files
    async with httpx.AsyncClient(trust_env=False) as client:
        for file in seen.result.files:
            answer = await client.get(file.url)
            assert answer.status_code == 200
            assert answer.content
            assert (answer.headers["content-type"] == "audio/wav") == file.url.endswith(".wav")


@pytest.mark.parametrize("name", NAMES)
async def test_ids_that_end_in_bad_fail(theatre: Theatre, name: str) -> None:
    job = f"{IDS[name]}0bad"
    assert (await theatre.look(name, job)).outcome is Outcome.PENDING
    theatre.clock.move(JOB_SECONDS_MAX)
    assert (await theatre.look(name, job)).outcome is Outcome.FAILED


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("word", "outcome"), [("dead", Outcome.NOT_FOUND), ("0fee", Outcome.PAYMENT)])
async def test_some_words_are_answered_for_ever(theatre: Theatre, name: str, word: str, outcome: Outcome) -> None:
    for _ in range(3):
        assert (await theatre.look(name, f"{IDS[name]}{word}")).outcome is outcome
        theatre.clock.move(JOB_SECONDS_MAX)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("word", "first"), [("feed", [Outcome.THROTTLED]), ("fade", [Outcome.TRANSIENT, Outcome.TRANSIENT])]
)
async def test_some_words_make_trouble_first_and_then_complete(
    theatre: Theatre, name: str, word: str, first: list[Outcome]
) -> None:
    job = f"{IDS[name]}{word}"
    assert [(await theatre.look(name, job)).outcome for _ in first] == first
    theatre.clock.move(JOB_SECONDS_MAX)
    assert (await theatre.look(name, job)).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("name", NAMES)
async def test_a_wrong_secret_is_refused_in_the_providers_words(theatre: Theatre, name: str) -> None:
    for way in theatre.account(name).ways:
        for secret in way:
            wrong = {**way, secret: "something else"}
            assert (await theatre.look(name, f"{IDS[name]}0001", wrong)).outcome is Outcome.AUTH


@pytest.mark.parametrize("name", NAMES)
async def test_every_way_to_sign_in_is_taken(theatre: Theatre, name: str) -> None:
    for way in theatre.account(name).ways:
        assert (await theatre.look(name, f"{IDS[name]}0001", way)).outcome is Outcome.PENDING


async def test_a_signature_of_an_hour_ago_is_refused(theatre: Theatre) -> None:
    signed = [(name, way) for name in NAMES for way in theatre.account(name).ways if "secret_key" in way]
    assert signed
    for name, way in signed:
        past = HandClock()
        past.move(-3600)
        seen = await look(theatre.egress, theatre.target(name, f"{IDS[name]}0001", way), past)
        assert seen.outcome is Outcome.AUTH


@pytest.mark.parametrize("name", [one.name for one in CATALOG if one.submit])
async def test_a_submitted_job_begins_under_a_fresh_id(theatre: Theatre, name: str) -> None:
    target = theatre.target(name, "")
    first = await submit(theatre.egress, target, {"text": "hello"}, theatre.clock)
    second = await submit(theatre.egress, target, {"text": "hello"}, theatre.clock)
    assert isinstance(first, Submitted)
    assert isinstance(second, Submitted)
    assert first != second
    theatre.clock.move(JOB_SECONDS_MAX)
    assert (await theatre.look(name, first.provider_job_id)).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("name", [one.name for one in CATALOG if one.listing])
async def test_a_list_tells_of_every_job_that_was_begun(theatre: Theatre, name: str) -> None:
    jobs = [f"{IDS[name]}000{number}" for number in range(1, 4)]
    for job in [*jobs, f"{IDS[name]}0bad"]:
        await theatre.look(name, job)
    theatre.clock.move(JOB_SECONDS_MAX)
    await theatre.look(name, f"{IDS[name]}0009")
    page = await list_page(theatre.egress, theatre.target(name, ""), theatre.clock)
    told = {job: seen.outcome for job, seen in page.observations.items()}
    assert {job: told.get(job) for job in jobs} == dict.fromkeys(jobs, Outcome.COMPLETED)
    assert told.get(f"{IDS[name]}0bad", Outcome.FAILED) is Outcome.FAILED
    assert told.get(f"{IDS[name]}0009", Outcome.PENDING) is Outcome.PENDING
    if not page.is_last:
        rest = await list_page(theatre.egress, theatre.target(name, ""), theatre.clock, offset=page.next_offset)
        assert rest.is_last
        assert rest.observations == {}


async def test_accounts_stand_at_the_root(theatre: Theatre) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        told = (await client.get(theatre.url)).json()["data"]
    assert [one["provider"] for one in told] == list(NAMES)
    assert told[0]["credential"]["secrets"] == theatre.account(NAMES[0]).secrets


async def test_unknown_places_are_404(theatre: Theatre) -> None:
    async with httpx.AsyncClient(trust_env=False, base_url=theatre.url) as client:
        assert (await client.get("/nobody/jobs/1")).status_code == 404
        assert (await client.get(f"/{NAMES[0]}/no/such/path")).status_code == 404
        assert (await client.post(f"/{NAMES[0]}/no/such/path", content=b"x" * 2_000_000)).status_code in (404, 413)


async def test_a_provider_of_the_operators_own_folder_is_played_too(tmp_path: Path) -> None:
    samples = [*ACME_SAMPLES, {"source": "x", "status": 500, "text": "<html>oops</html>", "outcome": "transient"}]
    written(tmp_path, ACME, samples)
    async with opened(Catalog.load(tmp_path)) as theatre:
        assert (await theatre.look("acme", "job-1fade")).outcome is Outcome.TRANSIENT
        assert (await theatre.look("acme", "job-1")).outcome is Outcome.PENDING
        assert (await theatre.look("acme", "job-1dead")).outcome is Outcome.NOT_FOUND
        theatre.clock.move(JOB_SECONDS_MAX)
        seen = await theatre.look("acme", "job-1")
        assert seen.result is not None
        assert seen.result.files[0].url.startswith(theatre.url)


async def test_a_definition_without_samples_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(ACME)
    simulator = Simulator(Catalog.load(tmp_path), HandClock(), "http://127.0.0.1:1")
    assert simulator.left_out == ["acme"]
    assert json.dumps([one.provider for one in simulator.accounts]).count("acme") == 0
