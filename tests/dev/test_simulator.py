"""Every provider, played over real HTTP and asked by the relay's own looks."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay.dev.account import Account, new_job_id
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
NAMES = [name for name in CATALOG.names() if CATALOG.samples(name)]
UNPAID = {"pauses": "payment_required"}
JOB_SECONDS_MAX = JOB_SECONDS_MIN + JOB_SECONDS_SPREAD


def a_job(name: str, number: int = 1) -> str:
    """An id of that provider's, always the same for the same number."""
    definition = CATALOG.get(name)
    assert definition is not None
    return new_job_id(definition, lambda size: bytes([number]) * size)


def ending_in(word: str) -> list[tuple[str, str]]:
    """Each provider whose ids can end so, with such an id."""
    jobs = {name: f"{a_job(name)[: -len(word)]}{word}" for name in NAMES}
    return [(name, job) for name, job in jobs.items() if CATALOG.get(name).provider_job_id.pattern.fits(job)]  # type: ignore[union-attr]  # the names are of the catalog


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
    assert [one.provider for one in theatre.simulator.accounts] == NAMES
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
async def test_a_job_is_pending_and_then_completes_with_links_that_work(theatre: Theatre, name: str) -> None:
    job = a_job(name)
    assert (await theatre.look(name, job)).outcome is Outcome.PENDING
    theatre.clock.move(JOB_SECONDS_MIN * 0.9)
    assert (await theatre.look(name, job)).outcome is Outcome.PENDING
    theatre.clock.move(JOB_SECONDS_MAX)
    seen = await theatre.look(name, job)
    assert seen.outcome is Outcome.COMPLETED
    assert seen.result is not None
    assert bool(seen.result.files) == any(sample.files for sample in CATALOG.samples(name))
    async with httpx.AsyncClient(trust_env=False) as client:
        for file in seen.result.files:
            answer = await client.get(file.url)
            assert answer.status_code == 200
            assert answer.content
            assert (answer.headers["content-type"] == "audio/wav") == file.url.endswith(".wav")


@pytest.mark.parametrize(("name", "job"), ending_in("bad"))
async def test_ids_that_end_in_bad_fail(theatre: Theatre, name: str, job: str) -> None:
    assert (await theatre.look(name, job)).outcome is Outcome.PENDING
    theatre.clock.move(JOB_SECONDS_MAX)
    seen = await theatre.look(name, job)
    assert (seen.outcome, seen.pauses) == (Outcome.FAILED, None)
    assert seen.error
    assert len(seen.error.message) > len("...")


@pytest.mark.parametrize(
    ("name", "job", "outcome"),
    [
        *((*one, Outcome.NOT_FOUND) for one in ending_in("dead")),
        *((*one, Outcome.PAYMENT) for one in ending_in("fee")),
    ],
)
async def test_some_words_are_answered_for_ever(theatre: Theatre, name: str, job: str, outcome: Outcome) -> None:
    for _ in range(3):
        assert (await theatre.look(name, job)).outcome is outcome
        theatre.clock.move(JOB_SECONDS_MAX)


@pytest.mark.parametrize(
    ("name", "job", "first"),
    [
        *((*one, [Outcome.THROTTLED]) for one in ending_in("feed")),
        *((*one, [Outcome.TRANSIENT] * 2) for one in ending_in("fade")),
    ],
)
async def test_some_words_make_trouble_first_and_then_complete(
    theatre: Theatre, name: str, job: str, first: list[Outcome]
) -> None:
    assert [(await theatre.look(name, job)).outcome for _ in first] == first
    theatre.clock.move(JOB_SECONDS_MAX)
    assert (await theatre.look(name, job)).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("name", NAMES)
async def test_a_wrong_secret_is_refused_in_the_providers_words(theatre: Theatre, name: str) -> None:
    for way in theatre.account(name).ways:
        for secret in way:
            wrong = {**way, secret: "something else"}
            assert (await theatre.look(name, a_job(name), wrong)).outcome is Outcome.AUTH


@pytest.mark.parametrize("name", NAMES)
async def test_every_way_to_sign_in_is_taken(theatre: Theatre, name: str) -> None:
    for way in theatre.account(name).ways:
        assert (await theatre.look(name, a_job(name), way)).outcome is Outcome.PENDING


async def test_a_signature_of_an_hour_ago_is_refused(theatre: Theatre) -> None:
    signed = [(name, way) for name in NAMES for way in theatre.account(name).ways if "secret_key" in way]
    assert signed
    for name, way in signed:
        past = HandClock()
        past.move(-3600)
        seen = await look(theatre.egress, theatre.target(name, a_job(name), way), past)
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
    jobs = [a_job(name, number) for number in range(1, 4)]
    failing = dict(ending_in("bad")).get(name, a_job(name))
    for job in [*jobs, failing]:
        await theatre.look(name, job)
    theatre.clock.move(JOB_SECONDS_MAX)
    await theatre.look(name, a_job(name, 9))
    page = await list_page(theatre.egress, theatre.target(name, ""), theatre.clock)
    told = {job: seen.outcome for job, seen in page.observations.items()}
    assert {job: told.get(job) for job in jobs} == dict.fromkeys(jobs, Outcome.COMPLETED)
    assert failing in jobs or told.get(failing, Outcome.FAILED) is Outcome.FAILED
    assert told.get(a_job(name, 9), Outcome.PENDING) is Outcome.PENDING
    if not page.is_last:
        rest = await list_page(theatre.egress, theatre.target(name, ""), theatre.clock, offset=page.next_offset)
        assert rest.is_last
        assert rest.observations == {}


async def test_accounts_stand_at_the_root(theatre: Theatre) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        told = (await client.get(theatre.url)).json()["data"]
    assert [one["provider"] for one in told] == NAMES
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


async def test_a_job_fails_in_words_and_not_for_want_of_money(tmp_path: Path) -> None:
    failed: dict[str, Any] = {"source": "guess", "status": 200, "outcome": "failed"}
    told = [
        {**failed, "body": {"status": "broken", "why": why}, "error": {"code": "unknown", "message": why}, **more}
        for why, more in (("x", {}), ("the voice is hoarse", {}), ("nothing is left to pay with", UNPAID))
    ]
    written(tmp_path, ACME, [*ACME_SAMPLES, *told])
    async with opened(Catalog.load(tmp_path)) as theatre:
        await theatre.look("acme", "job-1bad")
        theatre.clock.move(JOB_SECONDS_MAX)
        seen = await theatre.look("acme", "job-1bad")
    assert seen.error
    assert seen.error.message == "the voice is hoarse"


async def test_a_definition_without_samples_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(ACME)
    simulator = Simulator(Catalog.load(tmp_path), HandClock(), "http://127.0.0.1:1")
    assert "acme" in simulator.left_out
    assert json.dumps([one.provider for one in simulator.accounts]).count("acme") == 0
