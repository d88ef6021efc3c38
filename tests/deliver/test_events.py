"""One event for one ending, told to everybody who asked, and not a moment before it is on record."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from relay.store.postgres import driver_url
from tests.deliver.posts import BRISK, all_ended, attempts, delivering, ended, event_ids, post, subscribe
from tests.provider_stub import CREDENTIALS, Providers, camb, stub
from tests.receivers import Receiver, answering, in_turn
from tests.trips import TENANT, living, make_credential, until, watch, working


async def test_however_many_looks_see_the_ending_there_is_one_event_and_the_first_ending_wins(
    database_url: str, redis_url: str
) -> None:
    """E1 and E2: the provider says failed, and then completed; both are seen more than once."""
    providers = Providers({"c": [camb("TIMEOUT"), camb("SUCCESS", run_id=1)]})
    async with living(database_url, redis_url) as relay, stub(providers) as server, Receiver(answering(200)) as inbox:
        credential = make_credential(relay, "camb", server.url(""), **CREDENTIALS["camb"])
        await relay.steer.add_credential(credential)
        await subscribe(relay, inbox)
        job_id = await watch(relay, "camb", "c")
        async with working(relay, drains=2):
            await inbox.heard(1)
            for _ in range(5):
                await relay.steer.refresh_job(TENANT, job_id)
            await all_ended(relay, 1)
        job = await relay.store.find_job(TENANT, job_id)
        assert job is not None
        assert str(job.status) == "failed"
        assert [event.ending_of for event in await relay.store.list_events(TENANT)] == [job_id]
        assert len(set(event_ids(inbox.calls))) == 1


async def test_one_event_to_two_subscriptions_has_one_id_and_two_lives(database_url: str, redis_url: str) -> None:
    """E3."""
    async with (
        living(database_url, redis_url, **BRISK) as relay,
        Receiver(answering(200)) as good,
        Receiver(in_turn(answering(500), answering(200))) as bad,
    ):
        one, other = await subscribe(relay, good), await subscribe(relay, bad)
        first = await post(relay, one, other)
        async with delivering(relay):
            await all_ended(relay, 2)
            await ended(relay, first)
        deliveries = await relay.store.list_deliveries(TENANT)
        assert {each.event_id for each in deliveries} == {first.event_id}
        assert sorted(each.attempts_made for each in deliveries) == [1, 2]
        assert set(event_ids([*good.calls, *bad.calls])) == {first.event_id}
        assert len(await attempts(relay, first)) == 1


@asynccontextmanager
async def nobody_commits_events(database_url: str) -> AsyncIterator[None]:
    """Another process's transaction, which keeps all that write events waiting, and nobody who reads."""
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
        return
    url, arguments = driver_url(database_url)
    engine = create_async_engine(url, poolclass=NullPool, connect_args=arguments)
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE events IN EXCLUSIVE MODE"))
        yield
    await engine.dispose()


async def test_nothing_is_sent_before_its_event_is_committed(database_url: str, redis_url: str) -> None:
    """E4: while somebody else holds the events, the ending waits, and so does the call."""
    providers = Providers({"c": [camb("NONE"), camb("TIMEOUT")]})
    async with living(database_url, redis_url) as relay, stub(providers) as server, Receiver(answering(200)) as inbox:
        credential = make_credential(relay, "camb", server.url(""), **CREDENTIALS["camb"])
        await relay.steer.add_credential(credential)
        await subscribe(relay, inbox)
        await watch(relay, "camb", "c")
        async with working(relay):
            await until(lambda: len(providers.looks) >= 1)
            async with nobody_commits_events(database_url):
                await until(lambda: len(providers.looks) >= 2)
                await asyncio.sleep(0.5)  # the call would come at once; there is no condition for nothing
                assert inbox.calls == []
                assert await relay.store.list_events(TENANT) == []
            await inbox.heard(1, 15)
            await all_ended(relay, 1)
