"""Events: written once, listed newest first, and read as a feed that nothing slips into behind the reader."""

import asyncio
from dataclasses import replace

from relay.domain.event import Event
from relay.domain.place import Place
from relay.store import Store
from relay.store.events import write_announcements
from tests.store.facts import NOW, SECOND, TENANT, announcement, event


async def test_an_event_comes_back_as_it_was_written(store: Store) -> None:
    told = announcement(event(job_id="job_1", ending_of="job_1"), "sub_1", "sub_2", expires_at=NOW + SECOND)
    await store.add_announcement(told)
    assert await store.find_event(TENANT, told.event.id) == told.event
    assert await store.find_event("another", told.event.id) is None
    for one in told.deliveries:
        assert await store.find_delivery(TENANT, one.id) == one
        assert await store.find_delivery("another", one.id) is None


async def test_the_same_announcement_twice_is_one(store: Store) -> None:
    told = announcement(event(), "sub_1")
    await store.add_announcement(told)
    await store.add_announcement(told)
    assert await store.list_events(TENANT) == [told.event]
    assert await store.list_deliveries(TENANT) == list(told.deliveries)


async def test_events_are_listed_by_what_they_are(store: Store) -> None:
    first, second = event(type="webhook.test"), event(job_id="job_1")
    for one in (second, first, event(tenant="another")):
        await store.add_announcement(announcement(one))
    assert await store.list_events(TENANT) == [second, first]
    assert await store.list_events(TENANT, type="webhook.test") == [first]
    assert await store.list_events(TENANT, job="job_1") == [second]
    assert await store.list_events(TENANT, place=Place(second.id), limit=1) == [first]


async def test_the_feed_is_in_order_of_acceptance(store: Store) -> None:
    first, second, third = event(), event(), event()
    for one in (third, first, event(tenant="another"), second):
        await store.add_announcement(announcement(one))
    assert await store.events_after(TENANT, None, 2) == [third, first]
    assert await store.events_after(TENANT, first.id, 2) == [second]
    assert await store.events_after(TENANT, second.id, 2) == []


async def test_a_place_in_the_feed_that_was_pruned_counts_by_its_time(store: Store) -> None:
    gone, kept = event(created_at=NOW), event(created_at=NOW + 9 * SECOND)
    for one in (gone, kept):
        await store.add_announcement(announcement(one))
    assert await store.prune(NOW + SECOND, 10) == 1
    assert await store.events_after(TENANT, gone.id, 10) == [kept]


async def test_a_feed_keeps_back_what_an_open_transaction_could_still_overtake(store: Store) -> None:
    before, slow, quick = event(), event(), event()
    await store.add_announcement(announcement(before))
    database = store._database
    async with database.writer.begin() as connection:
        await write_announcements(database, connection, [announcement(slow)])
        # SQLite has one writer at a time: there the quick one can only come afterwards.
        behind = asyncio.create_task(store.add_announcement(announcement(quick)))
        if connection.dialect.name == "postgresql":
            await behind
            assert await store.find_event(TENANT, quick.id) == quick
        seen = await store.events_after(TENANT, None, 10)
        assert quick not in seen
        assert slow not in seen
    await behind
    assert await store.events_after(TENANT, None, 10) == [before, slow, quick]


async def test_a_reader_of_the_feed_misses_nothing_while_many_write(store: Store) -> None:
    written = [[event() for _ in range(3)] for _ in range(40)]

    async def write(events: list[Event]) -> None:
        for one in events:
            await store.add_announcement(announcement(one))

    async def read() -> list[str]:
        seen: list[str] = []
        while len(seen) < 120:
            after = seen[-1] if seen else None
            seen += [one.id for one in await store.events_after(TENANT, after, 7)]
        return seen

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        reader = group.create_task(read())
        for events in written:
            group.create_task(write(events))
    assert sorted(reader.result()) == sorted(one.id for events in written for one in events)


async def test_an_event_whose_text_a_database_refuses_is_still_told(store: Store) -> None:
    told = event(body='{"half":"\ud83d"}')
    await store.add_announcement(announcement(told))
    expected = replace(told, body='{"half":"\N{REPLACEMENT CHARACTER}"}')
    assert await store.find_event(TENANT, told.id) == expected
