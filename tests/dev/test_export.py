"""Tests of taking events and attempts out as lines of JSON."""

import asyncio
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from click import BadParameter
from click.testing import CliRunner

from relay.cli import main
from relay.dev.export import PAGE, Export, stretch
from relay.domain.event import event_view
from relay.domain.moments import rfc3339
from relay.store import Cipher, Store, open_store
from tests.store.facts import NOW, SECOND, TENANT, announcement, event, new_id, record, subscription

LATER = NOW + timedelta(hours=1)


async def lines(export: Export, kind: str) -> list[dict[str, Any]]:
    out = io.StringIO()
    count = await export.write(kind, out)
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(told) == count
    return told


async def test_the_events_of_a_stretch_come_oldest_first_in_more_than_one_page(store: Store) -> None:
    wanted = [event(id=new_id("evt")) for _ in range(PAGE + 2)]
    other = event(id=new_id("evt"), tenant="other")
    outside = [event(id=new_id("evt", NOW - SECOND)), event(id=new_id("evt", LATER))]
    for one in (*wanted, other, *outside):
        await store.add_announcement(announcement(one))
    told = await lines(Export(store, TENANT, NOW, LATER), "events")
    assert told == [event_view(one) for one in wanted]


async def test_attempts_name_their_delivery(store: Store) -> None:
    listener = subscription()
    await store.add_subscription(listener)
    told_of = announcement(event(), listener.id)
    await store.add_announcement(told_of)
    (delivery,) = told_of.deliveries
    made = record(delivery)
    await store.record_attempts([made])
    (line,) = await lines(Export(store, TENANT, NOW - SECOND, LATER), "attempts")
    assert (line["id"], line["delivery"], line["number"]) == (made.attempt.id, delivery.id, 1)
    assert await lines(Export(store, "other", NOW - SECOND, LATER), "attempts") == []
    assert await lines(Export(store, TENANT, LATER, LATER + SECOND), "attempts") == []


def test_a_stretch_is_checked_and_a_time_without_an_offset_is_utc() -> None:
    since, until = stretch("2026-01-02", "2026-01-02T01:00:00+01:00")
    assert (rfc3339(since), rfc3339(until)) == ("2026-01-02T00:00:00.000Z", "2026-01-02T00:00:00.000Z")
    with pytest.raises(BadParameter):
        stretch("yesterday", None)
    with pytest.raises(BadParameter):
        stretch("2026-01-02", "2026-01-01")


async def test_the_command_needs_no_relay_that_runs(database_url: str) -> None:
    store = open_store(database_url, Cipher(["of the test"]))
    one = event(id=new_id("evt"))
    await store.add_announcement(announcement(one))
    await store.close()
    words = ["export", "--since", "2026-03-04", "--until", "2026-03-05", "--tenant", TENANT]
    result = await asyncio.to_thread(CliRunner().invoke, main, words, env={"DATABASE_URL": database_url})
    assert (result.exit_code, json.loads(result.stdout)) == (0, event_view(one)), result.output
