"""No verb walks through a table that grows: every statement that runs finds an index to go by."""

import sqlite3
from typing import Any

import pytest
from sqlalchemy import event as events
from sqlalchemy.engine import make_url

from relay.domain.credential import CredentialStatus
from relay.domain.recovery import Recovery, RecoveryStatus
from relay.store import Registration, Store
from tests.store.facts import (
    NOW,
    TENANT,
    announcement,
    credential,
    ending,
    event,
    job,
    record,
    registrations,
    subscription,
)

# Lists that were handed in, or were made just before; and the few recoveries under way.
SMALL = ("VIRTUAL TABLE", "following", "SCAN 2-ROW", "SCAN CONSTANT", "ix_recoveries_running")


class Listener:
    """Keeps every statement that a store runs, with the parameters of its first row."""

    def __init__(self, store: Store) -> None:
        self.heard: dict[str, Any] = {}
        for engine in (store._database.reader, store._database.writer):
            events.listen(engine.sync_engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, told: Any, _context: Any, is_many: bool) -> None:
        self.heard[statement] = told[0] if is_many else told


async def work(store: Store) -> None:
    """Every verb that touches jobs, events, deliveries, attempts or subscriptions."""
    one, listener, used = job(), subscription(), credential(id="crd_one")
    await store.add_credential(used)
    await store.add_subscription(listener)
    await store.register_jobs([Registration(one, subscription(job_id=one.id)), *registrations(job())])
    await store.register_jobs([Registration(job(tracking=one.tracking), subscription())])
    queries: tuple[dict[str, Any], ...] = ({}, {"status": "pending"}, {"provider": "camb"}, {"credential": "crd_one"})
    for query in queries:
        await store.list_jobs(TENANT, **query)
    await store.list_jobs(TENANT, provider_job_id="1", metadata={"order": "A-1"})
    await store.find_job(TENANT, one.id)
    await store.load_jobs([one.id])
    await store.recent_pending_jobs(NOW, NOW, 9)
    await store.pending_jobs("job_", 9)
    await store.oldest_pending()
    await store.overdue_jobs(NOW, 9)
    await store.credentials_with_pending()
    await store.remove_credential(TENANT, used.id)
    told = ending(one, listener.id)
    await store.advance_jobs([told, told])
    await store.advance_jobs([told])
    assert told.announcement is not None
    (delivery,) = told.announcement.deliveries
    await store.listening({TENANT}, [one.id])
    queries = ({}, {"status": "held"}, {"subscription": "s"}, {"event": "e"}, {"job": "j"})
    for query in queries:
        await store.list_deliveries(TENANT, **query)
    queries = ({}, {"type": "webhook.test"}, {"job": "j"})
    for query in queries:
        await store.list_events(TENANT, **query)
    await store.events_after(TENANT, told.announcement.event.id, 9)
    await store.events_between(TENANT, "evt_", "evt_z", 9)
    await store.attempts_between(TENANT, "att_", "att_z", 9)
    await store.load_parcels([delivery.id])
    await store.record_attempts([record(delivery)])
    await store.record_attempts([record(delivery)])
    await store.list_attempts(TENANT, delivery.id)
    await store.delivery_counts([one.id])
    await store.summon_delivery(TENANT, delivery.id, "manual", NOW)
    running = RecoveryStatus.RUNNING
    await store.add_recovery(Recovery("rcv_1", TENANT, listener.id, NOW, NOW, running, None, 0, NOW, None))
    await store.running_recoveries(9)
    await store.advance_recovery("rcv_1", NOW, 9)
    await store.list_recoveries(TENANT, listener.id)
    await store.pending_deliveries("dlv_", 9)
    await store.recent_pending_deliveries(NOW, NOW, 9)
    await store.subscriptions_with_pending()
    await store.stray_subscriptions(9)
    await store.suspend_deliveries(TENANT, listener.id, NOW)
    await store.release_deliveries(TENANT, listener.id, NOW, 9)
    await store.note_results({listener.id: NOW}, {listener.id: NOW})
    await store.hold_subscription(listener.id, NOW)
    await store.list_subscriptions(TENANT, status="active")
    await store.load_subscriptions([listener.id])
    await store.disable_subscription(listener.id, "410", NOW, [announcement(event(), listener.id)])
    await store.remove_subscription(TENANT, listener.id, NOW)
    await store.mark_credential(
        used.id, CredentialStatus.AUTH_FAILED, None, None, NOW, only_from={CredentialStatus.ACTIVE}
    )
    await store.cancel_job(TENANT, one.id, NOW)
    await store.note_durations([("camb", "", 1.0, NOW)])
    await store.durations("camb")
    await store.count_jobs(TENANT)
    await store.count_jobs_by_provider(TENANT)
    await store.count_deliveries(TENANT)
    await store.prune(NOW.replace(year=NOW.year + 1), 9)
    await store.forget_calls(NOW.replace(year=NOW.year + 1), 9)


# What is asked for, and the index that alone keeps the answer's cost its own and not its tenant's.
NARROW = {
    "deliveries.job_id = ?": "ix_deliveries_job_id",
    "deliveries.event_id = ?": "(event_id=?)",
    "deliveries.subscription_id = ? ORDER": "ix_deliveries_subscription_id_id",
    "events.job_id = ?": "ix_events_job_id",
    "deliveries.subscription_id = ? AND deliveries.status = 'held'": "ix_deliveries_held_subscription_id",
    "deliveries.subscription_id = ? AND deliveries.status = 'pending'": "ix_deliveries_pending_subscription_id",
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_statement_goes_by_an_index(store: Store, database_url: str) -> None:
    listener = Listener(store)
    await work(store)
    assert len(listener.heard) > 60
    plain = sqlite3.connect(str(make_url(database_url).database))
    walks, narrow = [], set()
    for statement, told in listener.heard.items():
        if statement.startswith("INSERT") or "FROM pace" in statement:  # pace is bounded, and read as a whole
            continue
        plan = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {statement}", told)]
        walks += [(step, statement) for step in plan if step.startswith("SCAN") and not any(s in step for s in SMALL)]
        words = " ".join(statement.split())
        narrow |= {(asked, index in str(plan)) for asked, index in NARROW.items() if asked in words}
    plain.close()
    assert walks == []
    assert narrow == {(asked, True) for asked in NARROW}
