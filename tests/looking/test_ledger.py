"""What looks have found is on record once, whoever saw it first, and one bad row harms no other."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from relay import metrics
from relay.bootstrap import Relay
from relay.domain.job import Again, Memo
from relay.domain.moments import to_ms
from relay.domain.observation import Observation, Outcome, Result
from relay.looking.desk import Sight
from relay.looking.ledger import CONTESTED_SECONDS, GAPS_UNWATCHED, POISON_SECONDS, Found, Ledger
from relay.providers.request import target_for
from tests.provider_stub import CREDENTIALS
from tests.trips import TENANT, living, make_credential, watch

PENDING = Observation(Outcome.PENDING, provider_status="processing")
DONE = Observation(Outcome.COMPLETED, provider_status="completed", result=Result(result_id="r"))


@pytest.fixture
async def house(database_url: str, redis_url: str) -> AsyncIterator[Relay]:
    async with living(database_url, redis_url) as relay:
        made = make_credential(relay, "fishspeech", "http://127.0.0.1:1", **CREDENTIALS["fishspeech"])
        assert await relay.steer.add_credential(made)
        yield relay


def ledger_of(house: Relay) -> Ledger:
    return house.poll._ledger


async def a_sight(house: Relay, provider_job_id: str = "task_1", memo: Memo | None = None) -> Sight:
    """A registered job as a look would see it."""
    job_id = await watch(house, "fishspeech", provider_job_id)
    job = await house.store.find_job(TENANT, job_id)
    assert job is not None
    credential = (await house.store.load_credentials([job.credential_id]))[job.credential_id]
    definition = house.catalog.get("fishspeech")
    assert definition is not None
    return Sight(job, memo or Memo(), credential, definition, target_for(definition, credential, job))


async def test_each_look_is_answered_in_its_place(house: Relay) -> None:
    sights = [await a_sight(house, f"task_{number}") for number in range(4)]
    observations = [PENDING, DONE, Observation(Outcome.FAILED), PENDING]
    following = await ledger_of(house).enter(
        [Found(sight, seen) for sight, seen in zip(sights, observations, strict=True)]
    )
    assert [isinstance(what, Again) for what in following] == [True, False, False, True]
    assert await house.store.count_jobs(TENANT) == {"pending": 2, "completed": 1, "failed": 1}


async def test_the_first_ending_stays_and_the_second_is_told_to_come_again(house: Relay) -> None:
    sight = await a_sight(house)
    assert await ledger_of(house).enter([Found(sight, DONE)]) == [None]
    assert await ledger_of(house).enter([Found(sight, Observation(Outcome.FAILED))]) == [
        Again(CONTESTED_SECONDS, sight.memo)
    ]
    assert await house.store.count_jobs(TENANT) == {"completed": 1}
    assert len(await house.store.list_events(TENANT)) == 1


async def test_a_row_that_makes_code_raise_waits_and_the_others_go_on(house: Relay) -> None:
    sound, poisoned = await a_sight(house, "task_1"), await a_sight(house, "task_2")
    poisoned = replace(poisoned, memo=Memo(polls="many"))  # type: ignore[arg-type]  # that is what is wrong with it
    with capture_logs() as logs:
        waits, ended = await ledger_of(house).enter([Found(poisoned, PENDING), Found(sound, DONE)])
    assert ended is None
    assert isinstance(waits, Again)
    assert waits.delay_seconds == POISON_SECONDS
    assert [entry["job"] for entry in logs if entry["event"] == "look_not_understood"] == [poisoned.job.id]


async def test_a_watched_job_teaches_how_long_its_kind_takes(house: Relay) -> None:
    sight = await a_sight(house)
    created_ms = to_ms(sight.job.created_at)
    watched = replace(
        sight,
        job=replace(sight.job, created_at=sight.job.created_at.replace(microsecond=0)),
        memo=Memo(polls=3, last_looked_ms=created_ms),
    )
    await ledger_of(house).enter([Found(watched, DONE)])
    assert list(await house.store.durations("fishspeech")) == [("fishspeech", "")]


@pytest.mark.parametrize("observation", [DONE, Observation(Outcome.FAILED)])
async def test_what_nobody_watched_and_what_failed_teaches_nothing(house: Relay, observation: Observation) -> None:
    sight = await a_sight(house)
    now_ms = to_ms(house.clock.now())
    longest_ms = round(60.0 * GAPS_UNWATCHED * 1000)
    memos = {
        Outcome.COMPLETED: [Memo(), Memo(polls=3, last_looked_ms=now_ms - longest_ms - 1000)],
        Outcome.FAILED: [Memo(polls=3, last_looked_ms=now_ms)],
    }
    for number, memo in enumerate(memos[observation.outcome]):
        unwatched = replace(await a_sight(house, f"task_{number + 2}"), memo=memo)
        await ledger_of(house).enter([Found(unwatched, observation)])
    await ledger_of(house).enter([Found(sight, observation)])
    assert await house.store.durations("fishspeech") == {}


async def test_an_ending_counts_how_late_it_was_seen(house: Relay) -> None:
    def seen() -> float:
        return metrics.REGISTRY.get_sample_value("relay_detection_delay_seconds_count", {"provider": "fishspeech"}) or 0

    before = seen()
    await ledger_of(house).enter([Found(await a_sight(house), DONE)])
    assert seen() == before + 1
