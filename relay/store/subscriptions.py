"""Subscriptions: who listens, how they fare, and what becomes of their deliveries when that changes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.delivery import Delivery, DeliveryStatus
from relay.domain.moments import to_ms
from relay.domain.place import Place
from relay.domain.subscription import Subscription, SubscriptionStatus
from relay.store.events import write_announcements
from relay.store.rows import Announcement, delivery_of
from relay.store.sql import LIST_DEFAULT, Verbs, is_tenants, paged, reading, writing
from relay.store.tables import DELIVERY_IS_HELD, DELIVERY_IS_PENDING, deliveries, subscriptions

FIXED = ("id", "tenant", "job_id", "created_at")  # what no change changes
WORKERS = ("last_success_at", "failing_since", "hold_until")  # what workers write beside the owner
PENDING = DeliveryStatus.PENDING.value
HELD = DeliveryStatus.HELD.value
IS_THERE = subscriptions.c.removed_at.is_(None)

SUCCEEDED = (
    subscriptions.update()
    .where(subscriptions.c.id == bindparam("of"))
    .values(
        failing_since=None,
        last_success_at=case(
            (subscriptions.c.last_success_at > bindparam("at"), subscriptions.c.last_success_at),
            else_=bindparam("at"),
        ),
    )
)
FAILED = (
    subscriptions.update()
    .where(subscriptions.c.id == bindparam("of"), subscriptions.c.failing_since.is_(None))
    .values(failing_since=bindparam("at"))
)


class SubscriptionVerbs(Verbs):
    """Subscriptions."""

    @writing
    async def add_subscription(self, connection: AsyncConnection, subscription: Subscription) -> Subscription:
        """Write a new one down; the one of that id that is there already, else."""
        insert = self._database.insert(subscriptions).on_conflict_do_nothing(index_elements=["id"])
        if (await connection.execute(insert, self._vault.subscription_row(subscription))).rowcount == 1:
            return subscription
        row = (
            await connection.execute(select(subscriptions).where(*_named(subscription.tenant, subscription.id)))
        ).one()
        # Of one that was removed meanwhile no secret is left to show.
        return self._vault.subscription(row) if row.removed_at is None else subscription

    @reading
    async def find_subscription(
        self, connection: AsyncConnection, tenant: str, subscription_id: str
    ) -> Subscription | None:
        """The tenant's subscription of that id. Raises BadSettings when no key opens its secrets."""
        query = select(subscriptions).where(*_named(tenant, subscription_id), IS_THERE)
        row = (await connection.execute(query)).first()
        return None if row is None else self._vault.subscription(row)

    @reading
    async def list_subscriptions(
        self,
        connection: AsyncConnection,
        tenant: str,
        *,
        status: str | None = None,
        place: Place | None = None,
        limit: int = LIST_DEFAULT,
        include_callbacks: bool = False,
    ) -> list[Subscription]:
        """The tenant's subscriptions, newest first; those of single jobs only when asked for."""
        query = select(subscriptions).where(subscriptions.c.tenant == tenant, IS_THERE)
        if status is not None:
            query = query.where(subscriptions.c.status == str(status))
        if not include_callbacks:
            query = query.where(subscriptions.c.job_id.is_(None))
        rows = await connection.execute(paged(query, subscriptions, place, limit))
        return [self._vault.subscription(row, is_lenient=True) for row in rows]

    @reading
    async def load_subscriptions(self, connection: AsyncConnection, ids: Collection[str]) -> dict[str, Subscription]:
        """The subscriptions of those ids, whosever they are; without secrets where no key opens them."""
        query = select(subscriptions).where(self._database.among(subscriptions.c.id, ids), IS_THERE)
        return {row.id: self._vault.subscription(row, is_lenient=True) for row in await connection.execute(query)}

    @reading
    async def listening(
        self, connection: AsyncConnection, tenants: Collection[str], job_ids: Collection[str] = ()
    ) -> dict[str, list[Subscription]]:
        """
        Each tenant's subscriptions, the paused and disabled too, oldest first; a tenant without any is left out.

        One-off subscriptions are given for the jobs in `job_ids` alone.
        """
        lasting = subscriptions.c.job_id.is_(None) & self._database.among(subscriptions.c.tenant, tenants)
        query = select(subscriptions).where(lasting, IS_THERE)
        rows = list(await connection.execute(query))
        if job_ids:
            query = select(subscriptions).where(self._database.among(subscriptions.c.job_id, job_ids), IS_THERE)
            rows += [row for row in await connection.execute(query) if row.tenant in tenants]
        found: dict[str, list[Subscription]] = {}
        for row in sorted(rows, key=lambda row: row.id):
            found.setdefault(row.tenant, []).append(self._vault.subscription(row, is_lenient=True))
        return found

    @reading
    async def list_public_keys(self, connection: AsyncConnection, now: datetime, limit: int) -> set[str]:
        """The `whpk_…` of the keys that sign at `now`, whosever they are, of so many of the newest subscriptions."""
        query = select(subscriptions.c.public_keys).where(subscriptions.c.public_keys.is_not(None))
        rows = await connection.execute(query.order_by(subscriptions.c.id.desc()).limit(limit))
        told = [key for keys in rows.scalars() for key in keys]
        return {public for public, _, _, expires_ms in told if expires_ms is None or expires_ms > to_ms(now)}

    @writing
    async def change_subscription(
        self, connection: AsyncConnection, subscription: Subscription, expected_updated_at: datetime
    ) -> bool:
        """
        The subscription as given, if nobody changed it since; False when somebody did, or it is gone.

        What workers note beside (`last_success_at`, `failing_since`, `hold_until`) stays as it is stored, except
        that None clears the latter two.
        """
        kept = {*FIXED, *WORKERS}
        values = {name: v for name, v in self._vault.subscription_row(subscription).items() if name not in kept}
        if subscription.failing_since is None:
            values["failing_since"] = None
        if subscription.hold_until is None:
            values["hold_until"] = None
        change = subscriptions.update().where(
            *_named(subscription.tenant, subscription.id),
            IS_THERE,
            subscriptions.c.updated_at == expected_updated_at,
        )
        return (await connection.execute(change.values(values))).rowcount == 1

    @writing
    async def remove_subscription(
        self,
        connection: AsyncConnection,
        tenant: str,
        subscription_id: str,
        now: datetime,
        as_of: datetime | None = None,
    ) -> bool:
        """
        The subscription is gone, with its secrets; what was to be delivered to it is cancelled.

        False when it was gone before; deliveries decided meanwhile are cancelled even then. With `as_of`, the
        `updated_at` that the caller has seen, nothing happens to one that was changed since.
        """
        change = subscriptions.update().where(*_named(tenant, subscription_id), IS_THERE)
        emptied = {"secrets": self._vault.seal([]), "headers": self._vault.seal({})}
        change = change.values(removed_at=now, updated_at=now, signing_keys=None, public_keys=None, **emptied)
        if as_of is not None:
            change = change.where(subscriptions.c.updated_at == as_of)
        is_done = (await connection.execute(change)).rowcount == 1
        if as_of is not None and not is_done:
            return False
        cancel = deliveries.update().where(*_its_deliveries(tenant, subscription_id))
        cancel = cancel.values(status=DeliveryStatus.CANCELLED.value, next_attempt_at=None, completed_at=now)
        for is_open in (DELIVERY_IS_PENDING, DELIVERY_IS_HELD):
            await connection.execute(cancel.where(is_open))
        return is_done

    @writing
    async def disable_subscription(
        self,
        connection: AsyncConnection,
        subscription_id: str,
        reason: str,
        now: datetime,
        announcements: Sequence[Announcement] = (),
    ) -> bool:
        """An active one is disabled, its pending deliveries held, and it is told; False: nothing was written."""
        done = await connection.execute(
            subscriptions.update()
            .where(
                subscriptions.c.id == subscription_id,
                subscriptions.c.status == SubscriptionStatus.ACTIVE.value,
                IS_THERE,
            )
            .values(status=SubscriptionStatus.DISABLED.value, disabled_reason=reason, updated_at=now)
        )
        if done.rowcount != 1:
            return False
        await _suspend(connection, deliveries.c.subscription_id == subscription_id)
        await write_announcements(self._database, connection, announcements)
        return True

    @writing
    async def note_results(
        self, connection: AsyncConnection, successes: Mapping[str, datetime], failures: Mapping[str, datetime]
    ) -> None:
        """By subscription: a success ends a run of failures, a failure begins one where none is under way."""
        for change, results in ((SUCCEEDED, successes), (FAILED, failures)):
            if results:
                told: list[dict[str, Any]] = [{"of": id_, "at": results[id_]} for id_ in sorted(results)]
                await connection.execute(change, told)

    @writing
    async def hold_subscription(self, connection: AsyncConnection, subscription_id: str, until: datetime) -> None:
        """Nobody calls it before `until`; a longer hold stays."""
        is_shorter = or_(subscriptions.c.hold_until.is_(None), subscriptions.c.hold_until < until)
        change = subscriptions.update().where(subscriptions.c.id == subscription_id, is_shorter)
        await connection.execute(change.values(hold_until=until))

    @writing
    async def suspend_deliveries(
        self, connection: AsyncConnection, tenant: str, subscription_id: str, now: datetime
    ) -> int:
        """The subscription's pending deliveries are held; gives how many."""
        return await _suspend(connection, *_its_deliveries(tenant, subscription_id))

    @writing
    async def release_deliveries(
        self, connection: AsyncConnection, tenant: str, subscription_id: str, now: datetime, limit: int
    ) -> list[Delivery]:
        """
        The subscription's held deliveries become pending and due now: those that expire first first, then the oldest.

        Fewer than `limit`: that was all.
        """
        chosen = (
            select(deliveries.c.id)
            .where(*_its_deliveries(tenant, subscription_id), DELIVERY_IS_HELD)
            .order_by(deliveries.c.expires_at.asc().nulls_last(), deliveries.c.created_at, deliveries.c.id)
            .limit(limit)
            .with_for_update()
        )
        ids = list((await connection.execute(chosen)).scalars())
        change = deliveries.update().where(self._database.among(deliveries.c.id, ids))
        rows = await connection.execute(change.values(status=PENDING, next_attempt_at=now).returning(deliveries))
        released = {row.id: delivery_of(row) for row in rows}
        return [released[id_] for id_ in ids]


def _named(tenant: str, subscription_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return subscriptions.c.tenant == tenant, subscriptions.c.id == subscription_id


def _its_deliveries(tenant: str, subscription_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return is_tenants(deliveries, tenant), deliveries.c.subscription_id == subscription_id


async def _suspend(connection: AsyncConnection, *which: ColumnElement[bool]) -> int:
    change = deliveries.update().where(*which, DELIVERY_IS_PENDING)
    return (await connection.execute(change.values(status=HELD, next_attempt_at=None))).rowcount
