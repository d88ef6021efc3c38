"""Events, their deliveries, and every attempt: what was told, to whom, and what came back."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Table, and_, bindparam, case, false, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.delivery import Attempt, Delivery, DeliveryStatus, Trigger
from relay.domain.event import Event
from relay.domain.place import Place
from relay.store.rows import (
    Announcement,
    Parcel,
    Record,
    Summons,
    attempt_of,
    attempt_row,
    delivery_of,
    delivery_row,
    event_of,
    event_row,
    progress_values,
)
from relay.store.sql import LIST_DEFAULT, Database, Verbs, in_bulk, is_tenants, paged, reading, writing
from relay.store.tables import DELIVERY_IS_PENDING, attempts, deliveries, events

# What a redelivery may be asked of. A held delivery waits for its subscription, a cancelled one for nobody.
SUMMONABLE = (DeliveryStatus.PENDING.value, DeliveryStatus.SUCCEEDED.value, DeliveryStatus.EXHAUSTED.value)
LET_GO = frozenset({DeliveryStatus.HELD, DeliveryStatus.CANCELLED})  # perhaps while a call was under way
PROGRESS = (
    deliveries.update()
    .where(deliveries.c.id == bindparam("of"))
    .values(
        status=bindparam("status"),
        attempts_made=bindparam("attempts_made"),
        steps=bindparam("steps"),
        has_quick_retried=bindparam("has_quick_retried"),
        next_trigger=bindparam("next_trigger"),
        next_attempt_at=bindparam("next_attempt_at"),
        completed_at=bindparam("completed_at"),
        url=bindparam("url"),
    )
)
EVENT_PREFIX = "event__"
EVENT_COLUMNS = [column.label(EVENT_PREFIX + column.name) for column in events.c]


async def write_announcements(
    database: Database, connection: AsyncConnection, announcements: Sequence[Announcement]
) -> None:
    """The events and their deliveries, in bulk; those that are there already stay as they are."""
    if not announcements:
        return
    await database.join_feed(connection)
    told = [event_row(one.event) for one in announcements]
    await connection.execute(database.insert(events).on_conflict_do_nothing(index_elements=["id"]), told)
    sent = [delivery_row(delivery) for one in announcements for delivery in one.deliveries]
    if sent:
        await connection.execute(database.insert(deliveries).on_conflict_do_nothing(), sent)


class EventVerbs(Verbs):
    """Events, deliveries and attempts."""

    @writing
    async def add_announcement(self, connection: AsyncConnection, announcement: Announcement) -> None:
        """An event that is no job's ending, with its deliveries; the same one twice is one."""
        await write_announcements(self._database, connection, [announcement])

    @reading
    async def find_event(self, connection: AsyncConnection, tenant: str, event_id: str) -> Event | None:
        """The tenant's event of that id."""
        query = select(events).where(events.c.tenant == tenant, events.c.id == event_id)
        row = (await connection.execute(query)).first()
        return None if row is None else event_of(row)

    @reading
    async def list_events(
        self,
        connection: AsyncConnection,
        tenant: str,
        *,
        type: str | None = None,  # noqa: A002  the filter's name in the API
        job: str | None = None,
        place: Place | None = None,
        limit: int = LIST_DEFAULT,
    ) -> list[Event]:
        """The tenant's events, newest first."""
        query = select(events)
        if type is not None:
            query = query.where(events.c.type == type)
        if job is None:
            query = query.where(events.c.tenant == tenant)
        else:
            query = query.where(events.c.job_id == job, is_tenants(events, tenant))
        return [event_of(row) for row in await connection.execute(paged(query, events, place, limit))]

    @reading
    async def events_after(
        self, connection: AsyncConnection, tenant: str, after: str | None, limit: int = LIST_DEFAULT
    ) -> list[Event]:
        """
        The tenant's events in order of acceptance, those behind the event `after` (None: from the first).

        No event appears later before one that was given out: what could still be overtaken is kept back until
        it cannot. An `after` that was pruned, or never was, counts as the moment that its id tells.
        """
        settled = await self._database.settled(connection)
        query = select(events).where(events.c.tenant == tenant)
        if settled is not None:
            query = query.where(events.c.position <= settled)
        if after is not None:
            last = select(events.c.position).where(events.c.tenant == tenant, events.c.id == after)
            position = (await connection.execute(last)).scalar()
            query = query.where(events.c.id > after if position is None else events.c.position > position)
        query = query.order_by(events.c.position).limit(limit)
        return [event_of(row) for row in await connection.execute(query)]

    @reading
    async def load_parcels(self, connection: AsyncConnection, delivery_ids: Collection[str]) -> dict[str, Parcel]:
        """The deliveries of those ids with their events, whosever they are."""
        query = (
            select(deliveries, *EVENT_COLUMNS)
            .join(events, events.c.id == deliveries.c.event_id)
            .where(self._database.among(deliveries.c.id, delivery_ids))
        )
        return {
            row.id: Parcel(delivery_of(row), event_of(row, EVENT_PREFIX)) for row in await connection.execute(query)
        }

    @reading
    async def find_delivery(self, connection: AsyncConnection, tenant: str, delivery_id: str) -> Delivery | None:
        """The tenant's delivery of that id."""
        return await _delivery(connection, tenant, delivery_id)

    @reading
    async def list_deliveries(
        self,
        connection: AsyncConnection,
        tenant: str,
        *,
        status: str | None = None,
        subscription: str | None = None,
        event: str | None = None,
        job: str | None = None,
        place: Place | None = None,
        limit: int = LIST_DEFAULT,
    ) -> list[Delivery]:
        """The tenant's deliveries, newest first."""
        wanted = {"status": status, "subscription_id": subscription, "event_id": event, "job_id": job}
        is_narrow = any((subscription, event, job))
        query = select(deliveries)
        query = query.where(is_tenants(deliveries, tenant) if is_narrow else deliveries.c.tenant == tenant)
        for name, value in wanted.items():
            if value is not None:
                query = query.where(deliveries.c[name] == str(value))
        return [delivery_of(row) for row in await connection.execute(paged(query, deliveries, place, limit))]

    @reading
    async def list_attempts(self, connection: AsyncConnection, tenant: str, delivery_id: str) -> list[Attempt]:
        """Every attempt of the tenant's delivery, first to last."""
        query = (
            select(attempts)
            .where(attempts.c.tenant == tenant, attempts.c.delivery_id == delivery_id)
            .order_by(attempts.c.number)
        )
        return [attempt_of(row) for row in await connection.execute(query)]

    @reading
    async def events_between(
        self, connection: AsyncConnection, tenant: str, after: str, until: str, limit: int = LIST_DEFAULT
    ) -> list[Event]:
        """The tenant's events by ascending id, those behind `after` and before `until`; ids sort by time."""
        query = _between(events, tenant, after, until, limit)
        return [event_of(row) for row in await connection.execute(query)]

    @reading
    async def attempts_between(
        self, connection: AsyncConnection, tenant: str, after: str, until: str, limit: int = LIST_DEFAULT
    ) -> list[Attempt]:
        """The tenant's attempts by ascending id, those behind `after` and before `until`; ids sort by time."""
        query = _between(attempts, tenant, after, until, limit)
        return [attempt_of(row) for row in await connection.execute(query)]

    async def record_attempts(self, records: Sequence[Record]) -> set[str]:
        """
        Attempts that were made and what each made of its delivery, in bulk; gives the deliveries that took it.

        A record takes effect while its delivery is pending with `expected_attempts` made. A delivery that was held
        or cancelled during the call keeps its status, unless the call succeeded: what is acknowledged is not sent
        again. The attempt is kept in any case: the call happened. A redelivery asked for during the call stays due
        whatever the call brought, and nothing is announced: the delivery goes on.
        """
        return await in_bulk(self._record_attempts, records)

    @writing
    async def _record_attempts(self, connection: AsyncConnection, records: Sequence[Record]) -> set[str]:
        ids = {record.delivery.id for record in records}
        query = (
            select(deliveries)
            .where(self._database.among(deliveries.c.id, ids))
            .order_by(deliveries.c.id)  # everybody locks in this order
            .with_for_update()
        )
        standing = {row.id: delivery_of(row) for row in await connection.execute(query)}
        effective: list[Record] = []
        late: list[Record] = []
        made: list[Attempt] = []
        changed: dict[str, Delivery] = {}
        told: list[Announcement] = []
        for record in records:
            before = standing.get(record.delivery.id)
            if before is None or before.attempts_made != record.expected_attempts:
                late.append(record)
                continue
            after = _after(before, record)
            standing[after.id] = changed[after.id] = after
            made.append(record.attempt)
            if before.status is DeliveryStatus.PENDING or after is record.delivery:
                effective.append(record)
            if after is record.delivery and record.announcement is not None:
                told.append(record.announcement)
        if made:
            await connection.execute(attempts.insert(), [attempt_row(attempt) for attempt in made])
            await connection.execute(PROGRESS, [{"of": one.id, **progress_values(one)} for one in changed.values()])
        await write_announcements(self._database, connection, told)
        return {record.delivery.id for record in effective} | await self._recorded(connection, late)

    async def _recorded(self, connection: AsyncConnection, records: Sequence[Record]) -> set[str]:
        # The very same attempts are there: an earlier commit went through whose answer was lost.
        if not records:
            return set()
        query = select(attempts.c.delivery_id).where(
            self._database.among(attempts.c.id, {record.attempt.id for record in records})
        )
        return set((await connection.execute(query)).scalars())

    @writing
    async def summon_delivery(
        self, connection: AsyncConnection, tenant: str, delivery_id: str, trigger: Trigger, now: datetime
    ) -> Summons | None:
        """
        A redelivery: due now with that trigger, whether it was pending, succeeded or exhausted; two at once are one.

        One that was closed has the whole schedule before it again. Gives the delivery as it stands: a held or
        cancelled one is unchanged. None when the tenant has none.
        """
        is_summoned = and_(DELIVERY_IS_PENDING, deliveries.c.next_trigger == trigger)
        change = deliveries.update().where(
            is_tenants(deliveries, tenant),
            deliveries.c.id == delivery_id,
            deliveries.c.status.in_(SUMMONABLE),
            ~is_summoned,
        )
        done = await connection.execute(
            change.values(
                status=DeliveryStatus.PENDING.value,
                next_attempt_at=now,
                next_trigger=trigger,
                completed_at=None,
                steps=case((DELIVERY_IS_PENDING, deliveries.c.steps), else_=0),
                has_quick_retried=case((DELIVERY_IS_PENDING, deliveries.c.has_quick_retried), else_=false()),
            )
        )
        delivery = await _delivery(connection, tenant, delivery_id)
        return None if delivery is None else Summons(delivery, done.rowcount == 1)


def _after(before: Delivery, record: Record) -> Delivery:
    told = record.delivery
    if before.status in LET_GO and told.status is DeliveryStatus.SUCCEEDED:
        return told
    if before.status is not DeliveryStatus.PENDING:
        return replace(before, attempts_made=told.attempts_made)
    is_recovery = before.next_trigger == "recovery"
    if before.next_trigger not in ("schedule", record.attempt.trigger) and not (
        is_recovery and told.status is DeliveryStatus.SUCCEEDED
    ):
        return replace(
            told,
            steps=before.steps if is_recovery else told.steps,
            status=DeliveryStatus.PENDING,
            next_trigger=before.next_trigger,
            next_attempt_at=before.next_attempt_at,
            completed_at=None,
        )
    return told


def _between(table: Table, tenant: str, after: str, until: str, limit: int) -> Select[Any]:
    query = select(table).where(table.c.tenant == tenant, table.c.id > after, table.c.id < until)
    return query.order_by(table.c.id).limit(limit)


async def _delivery(connection: AsyncConnection, tenant: str, delivery_id: str) -> Delivery | None:
    query = select(deliveries).where(deliveries.c.tenant == tenant, deliveries.c.id == delivery_id)
    row = (await connection.execute(query)).first()
    return None if row is None else delivery_of(row)
