"""Recoveries: what is to be sent again, and how far that has come."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.delivery import Delivery, DeliveryStatus
from relay.domain.place import Place
from relay.domain.recovery import Recovery, RecoveryStatus
from relay.domain.subscription import SubscriptionStatus
from relay.store.rows import AnyRow, Values, delivery_of
from relay.store.sql import LIST_DEFAULT, Verbs, is_tenants, paged, reading, writing
from relay.store.tables import DELIVERY_IS_PENDING, RECOVERY_IS_RUNNING, deliveries, recoveries, subscriptions

AGAIN = {
    "status": DeliveryStatus.PENDING.value,
    "next_trigger": "recovery",
    "completed_at": None,
    "steps": 0,
    "has_quick_retried": False,
}


class Stretch(NamedTuple):
    """What one step of a recovery did: the deliveries that are due now, and whether it is over."""

    deliveries: list[Delivery]
    is_over: bool


class RecoveryVerbs(Verbs):
    """Recoveries."""

    @writing
    async def add_recovery(self, connection: AsyncConnection, recovery: Recovery) -> Recovery:
        """Write a new one down; the one of that id that is there already, else."""
        insert = self._database.insert(recoveries).on_conflict_do_nothing(index_elements=["id"])
        await connection.execute(insert, _row(recovery))
        is_it = (recoveries.c.tenant == recovery.tenant) & (recoveries.c.id == recovery.id)
        return _recovery((await connection.execute(select(recoveries).where(is_it))).one())

    @reading
    async def list_recoveries(
        self,
        connection: AsyncConnection,
        tenant: str,
        subscription_id: str,
        *,
        place: Place | None = None,
        limit: int = LIST_DEFAULT,
    ) -> list[Recovery]:
        """The recoveries of the tenant's subscription, newest first."""
        query = select(recoveries).where(
            is_tenants(recoveries, tenant), recoveries.c.subscription_id == subscription_id
        )
        return [_recovery(row) for row in await connection.execute(paged(query, recoveries, place, limit))]

    @reading
    async def running_recoveries(self, connection: AsyncConnection, limit: int) -> list[str]:
        """The ids of recoveries with something to do, the oldest first; those of subscriptions that wait are not."""
        of = subscriptions.c
        waits = and_(of.removed_at.is_(None), of.status != SubscriptionStatus.ACTIVE.value)
        query = (
            select(recoveries.c.id)
            .outerjoin(subscriptions, of.id == recoveries.c.subscription_id)
            .where(RECOVERY_IS_RUNNING, or_(of.id.is_(None), ~waits))
            .order_by(recoveries.c.id)
            .limit(limit)
        )
        return list((await connection.execute(query)).scalars())

    @writing
    async def advance_recovery(
        self, connection: AsyncConnection, recovery_id: str, now: datetime, limit: int
    ) -> Stretch:
        """
        Up to `limit` deliveries behind the recovery's place, exhausted or between two attempts, become due now.

        With them the new place is written, so that the next step, whoever takes it, goes on behind them. They have
        trigger `recovery` and the whole schedule before them. Without an active subscription none does; the recovery
        of a removed one is over.
        """
        query = select(recoveries).where(recoveries.c.id == recovery_id, RECOVERY_IS_RUNNING).with_for_update()
        row = (await connection.execute(query)).first()
        if row is None:
            return Stretch([], is_over=True)
        of = subscriptions.c
        standing = select(of.status).where(of.id == row.subscription_id, of.removed_at.is_(None))
        status = (await connection.execute(standing)).scalar()
        if status != SubscriptionStatus.ACTIVE.value:
            if status is None:
                await self._note_progress(connection, row, [], now, RecoveryStatus.CANCELLED)
            return Stretch([], is_over=status is None)
        recovered = await self._recover(connection, row, now, limit)
        is_over = len(recovered) < limit
        after = RecoveryStatus.COMPLETED if is_over else RecoveryStatus.RUNNING
        await self._note_progress(connection, row, recovered, now, after)
        return Stretch(recovered, is_over)

    async def _recover(self, connection: AsyncConnection, row: AnyRow, now: datetime, limit: int) -> list[Delivery]:
        of = deliveries.c
        chosen = (
            select(of.id)
            .where(
                is_tenants(deliveries, row.tenant),
                of.subscription_id == row.subscription_id,
                of.id > (row.place or ""),
                of.created_at >= row.since,
                of.created_at < row.until,
                or_(
                    of.status == DeliveryStatus.EXHAUSTED.value,
                    and_(DELIVERY_IS_PENDING, of.attempts_made > 0),
                ),
            )
            .order_by(of.id)  # everybody locks in this order
            .limit(limit)
            .with_for_update()
        )
        ids = list((await connection.execute(chosen)).scalars())
        change = deliveries.update().where(self._database.among(of.id, ids)).values({**AGAIN, "next_attempt_at": now})
        rows = await connection.execute(change.returning(deliveries))
        return sorted((delivery_of(each) for each in rows), key=lambda one: one.id)

    async def _note_progress(
        self,
        connection: AsyncConnection,
        row: AnyRow,
        recovered: list[Delivery],
        now: datetime,
        after: RecoveryStatus,
    ) -> None:
        change = recoveries.update().where(recoveries.c.id == row.id)
        await connection.execute(
            change.values(
                status=after.value,
                place=recovered[-1].id if recovered else row.place,
                recovered=row.recovered + len(recovered),
                completed_at=None if after is RecoveryStatus.RUNNING else now,
            )
        )


def _row(recovery: Recovery) -> Values:
    return {
        "id": recovery.id,
        "tenant": recovery.tenant,
        "subscription_id": recovery.subscription_id,
        "since": recovery.since,
        "until": recovery.until,
        "status": str(recovery.status),
        "place": recovery.place,
        "recovered": recovery.recovered,
        "created_at": recovery.created_at,
        "completed_at": recovery.completed_at,
    }


def _recovery(row: AnyRow) -> Recovery:
    return Recovery(
        id=row.id,
        tenant=row.tenant,
        subscription_id=row.subscription_id,
        since=row.since,
        until=row.until,
        status=RecoveryStatus(row.status),
        place=row.place,
        recovered=row.recovered,
        created_at=row.created_at,
        completed_at=row.completed_at,
    )
