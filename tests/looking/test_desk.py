"""What looks need is read once and in bulk, and never missing where it was just asked for."""

from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest

from relay.bootstrap import Relay
from relay.domain.credential import Credential
from relay.domain.job import Job, JobStatus
from relay.looking.desk import Desk
from relay.schedule import Lease
from tests.provider_stub import CREDENTIALS
from tests.trips import TENANT, living, make_credential, watch


class Counting:
    """The store, and how often it was asked for what."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.jobs: list[int] = []
        self.credentials: list[int] = []

    async def load_jobs(self, ids: Collection[str]) -> dict[str, Job]:
        self.jobs.append(len(ids))
        return await self.relay.store.load_jobs(ids)

    async def load_credentials(self, ids: Collection[str]) -> dict[str, Credential]:
        self.credentials.append(len(ids))
        return await self.relay.store.load_credentials(ids)


@pytest.fixture
async def house(database_url: str, redis_url: str) -> AsyncIterator[tuple[Relay, Credential]]:
    async with living(database_url, redis_url) as relay:
        made = make_credential(relay, "fishspeech", "http://127.0.0.1:1", **CREDENTIALS["fishspeech"])
        assert await relay.steer.add_credential(made)
        yield relay, made


def lease(credential: Credential, job_id: str, version: str = "1") -> Lease:
    return Lease(credential.id, job_id, 1, "", version, 0, 0)


def a_desk(relay: Relay, **more: int) -> tuple[Desk, Counting]:
    store: Any = Counting(relay)
    return Desk(store, relay.catalog, relay.clock, **more), store


async def test_what_is_at_hand_is_not_read_again(house: tuple[Relay, Credential]) -> None:
    relay, credential = house
    desk, store = a_desk(relay)
    leases = [lease(credential, await watch(relay, "fishspeech", f"task_{number}")) for number in range(5)]
    for _ in range(3):
        dockets = await desk.lay_out(leases)
        assert [docket.sight is not None and not docket.is_over for docket in dockets] == [True] * 5
    assert (store.jobs, store.credentials) == ([5], [1])


async def test_a_credential_is_read_again_when_its_limits_have_another_version_or_it_was_forgotten(
    house: tuple[Relay, Credential],
) -> None:
    relay, credential = house
    desk, store = a_desk(relay)
    job_id = await watch(relay, "fishspeech", "task_1")
    await desk.lay_out([lease(credential, job_id)])
    await desk.lay_out([lease(credential, job_id, "2")])
    assert len(store.credentials) == 2
    desk.forget_credential(credential.id)
    assert len(await desk.sights({job_id: ""})) == 1  # what is on its way goes on with what there is
    await desk.lay_out([lease(credential, job_id, "2")])
    assert len(store.credentials) == 3


async def test_a_job_that_is_no_more_is_over_and_one_whose_credential_is_missing_is_not(
    house: tuple[Relay, Credential],
) -> None:
    relay, credential = house
    desk, _ = a_desk(relay)
    job_id = await watch(relay, "fishspeech", "task_1")
    stranger = lease(credential, "job_00000000000000000000000000")
    cancelled = await watch(relay, "fishspeech", "task_2")
    await relay.steer.cancel_job(TENANT, cancelled)
    for docket in await desk.lay_out([stranger, lease(credential, cancelled)]):
        assert docket.is_over
        assert docket.sight is None
    job = await relay.store.find_job(TENANT, job_id)
    assert job is not None
    assert job.status is JobStatus.PENDING
    lost = Lease("crd_00000000000000000000000000", job_id, 1, "", "1", 0, 0)
    fresh, _ = a_desk(relay)
    [docket] = await fresh.lay_out([lost])
    assert (docket.sight, docket.is_over) == (None, False)


async def test_many_jobs_push_out_old_ones_but_never_those_that_were_just_asked_for(
    house: tuple[Relay, Credential],
) -> None:
    relay, credential = house
    desk, store = a_desk(relay, jobs_kept_max=5)
    ids = [await watch(relay, "fishspeech", f"task_{number}") for number in range(12)]
    await desk.lay_out([lease(credential, job_id) for job_id in ids[:3]])
    dockets = await desk.lay_out([lease(credential, job_id) for job_id in ids[2:]])
    assert all(docket.sight is not None for docket in dockets)
    await desk.lay_out([lease(credential, ids[11])])
    await desk.lay_out([lease(credential, ids[0])])
    assert store.jobs == [3, 9, 1]
