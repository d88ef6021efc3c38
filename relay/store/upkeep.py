"""What keeps the rest going: what the sweep looks for, what is forgotten in time, and what is learned of pace."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import CTE, ColumnElement, Select, Table, and_, bindparam, delete, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.credential import CredentialStatus
from relay.domain.job import Job
from relay.domain.subscription import SubscriptionStatus
from relay.store.migrations import current_revision, head_revision
from relay.store.rows import BusyCredential, BusySubscription, PendingDelivery, PendingJob, job_of
from relay.store.sql import Verbs, reading, writing
from relay.store.tables import (
    DELIVERY_IS_HELD,
    DELIVERY_IS_PENDING,
    JOB_IS_PENDING,
    JOB_IS_SUBMITTING,
    credentials,
    deliveries,
    events,
    jobs,
    pace,
    recoveries,
    subscriptions,
)

DURATIONS_PER_KIND_MAX = 500  # enough for quantiles, few enough to follow a provider that changed
Repair = Literal["release", "suspend", "cancel"]

PENDING_JOBS = select(jobs.c.id, jobs.c.credential_id, jobs.c.created_at).where(JOB_IS_PENDING)
PENDING_DELIVERIES = select(
    deliveries.c.id, deliveries.c.subscription_id, deliveries.c.next_attempt_at, deliveries.c.expires_at
).where(DELIVERY_IS_PENDING)
TRIM = delete(pace).where(
    pace.c.provider == bindparam("of_provider"),
    pace.c.kind == bindparam("of_kind"),
    pace.c.position
    <= select(pace.c.position)
    .where(pace.c.provider == bindparam("of_provider"), pace.c.kind == bindparam("of_kind"))
    .order_by(pace.c.position.desc())
    .limit(1)
    .offset(DURATIONS_PER_KIND_MAX)
    .scalar_subquery(),
)


class Duration(NamedTuple):
    """How long one job of a kind took, in seconds, as observed at `at` by so many looks."""

    provider: str
    kind: str
    seconds: float
    at: datetime
    looks: int = 1


class OldestPending(NamedTuple):
    """When the oldest pending job and the oldest pending delivery were made; None: there is none."""

    job: datetime | None
    delivery: datetime | None


class Stray(NamedTuple):
    """A subscription whose deliveries do not stand as it does, and the verb that mends it."""

    tenant: str
    subscription_id: str
    repair: Repair


class UpkeepVerbs(Verbs):
    """The sweep's questions, pruning, pace, counts and health."""

    @reading
    async def pending_jobs(self, connection: AsyncConnection, after_id: str | None, limit: int) -> list[PendingJob]:
        """Pending jobs by ascending id, those behind `after_id`."""
        rows = await connection.execute(_walk(PENDING_JOBS, jobs, after_id, limit))
        return [PendingJob(*row) for row in rows]

    @reading
    async def recent_pending_jobs(
        self, connection: AsyncConnection, since: datetime, until: datetime, limit: int
    ) -> list[PendingJob]:
        """Pending jobs created from `since` to `until`, the oldest first."""
        rows = await connection.execute(_between(PENDING_JOBS, jobs, since, until, limit))
        return [PendingJob(*row) for row in rows]

    @reading
    async def pending_deliveries(
        self, connection: AsyncConnection, after_id: str | None, limit: int
    ) -> list[PendingDelivery]:
        """Pending deliveries by ascending id, those behind `after_id`."""
        rows = await connection.execute(_walk(PENDING_DELIVERIES, deliveries, after_id, limit))
        return [PendingDelivery(*row) for row in rows]

    @reading
    async def recent_pending_deliveries(
        self, connection: AsyncConnection, since: datetime, until: datetime, limit: int
    ) -> list[PendingDelivery]:
        """Pending deliveries created from `since` to `until`, the oldest first."""
        rows = await connection.execute(_between(PENDING_DELIVERIES, deliveries, since, until, limit))
        return [PendingDelivery(*row) for row in rows]

    @reading
    async def oldest_pending(self, connection: AsyncConnection) -> OldestPending:
        """Since when there was something to do."""
        job = select(func.min(jobs.c.created_at)).where(JOB_IS_PENDING).scalar_subquery()
        delivery = select(func.min(deliveries.c.created_at)).where(DELIVERY_IS_PENDING).scalar_subquery()
        return OldestPending(*(await connection.execute(select(job, delivery))).one())

    @reading
    async def overdue_jobs(self, connection: AsyncConnection, now: datetime, limit: int) -> list[Job]:
        """Jobs that have not ended by their deadline, the longest overdue first."""
        overdue: list[Job] = []
        for is_open in (JOB_IS_PENDING, JOB_IS_SUBMITTING):
            query = select(jobs).where(is_open, jobs.c.deadline_at < now).order_by(jobs.c.deadline_at).limit(limit)
            overdue += [job_of(row) for row in await connection.execute(query)]
        return sorted(overdue, key=lambda job: job.deadline_at)[:limit]

    @reading
    async def credentials_with_pending(self, connection: AsyncConnection) -> list[BusyCredential]:
        """Every credential that a pending job names, with its limits."""
        of = credentials.c
        busy = _distinct(jobs.c.credential_id, JOB_IS_PENDING)
        query = select(
            of.id,
            of.tenant,
            of.provider,
            of.max_requests_per_second,
            of.max_concurrency,
            of.status,
            of.throttled_until,
            of.updated_at,
        ).join_from(busy, credentials, of.id == busy.c.value)
        rows = await connection.execute(query)
        return [BusyCredential(*row)._replace(status=CredentialStatus(row.status)) for row in rows]

    @reading
    async def subscriptions_with_pending(self, connection: AsyncConnection) -> list[BusySubscription]:
        """Every subscription with a pending delivery, with its limits."""
        of = subscriptions.c
        busy = _distinct(deliveries.c.subscription_id, DELIVERY_IS_PENDING)
        query = (
            select(
                *(of.id, of.tenant, of.max_in_flight, of.status, of.hold_until, of.updated_at, of.requests_per_minute)
            )
            .join_from(busy, subscriptions, of.id == busy.c.value)
            .where(of.removed_at.is_(None))
        )
        rows = await connection.execute(query)
        return [BusySubscription(*row)._replace(status=SubscriptionStatus(row.status)) for row in rows]

    @reading
    async def stray_subscriptions(self, connection: AsyncConnection, limit: int) -> list[Stray]:
        """
        Subscriptions that changed while deliveries to them were being decided.

        `release`: active with held deliveries; `suspend`: not active with pending ones; `cancel`: removed with
        either. The verbs of those names mend it (`remove_subscription` cancels).
        """
        of = subscriptions.c
        is_active = of.status == SubscriptionStatus.ACTIVE.value
        is_there = of.removed_at.is_(None)
        cases: tuple[tuple[Repair, ColumnElement[bool], ColumnElement[bool]], ...] = (
            ("release", DELIVERY_IS_HELD, and_(is_there, is_active)),
            ("suspend", DELIVERY_IS_PENDING, and_(is_there, ~is_active)),
            ("cancel", DELIVERY_IS_PENDING, ~is_there),
            ("cancel", DELIVERY_IS_HELD, ~is_there),
        )
        strays: dict[Stray, None] = {}  # in the order they are found, each once
        for repair, has, is_astray in cases:
            listed = _distinct(deliveries.c.subscription_id, has)
            query = select(of.tenant, of.id).join_from(listed, subscriptions, of.id == listed.c.value)
            for tenant, id_ in await connection.execute(query.where(is_astray).limit(limit)):
                strays[Stray(tenant, id_, repair)] = None
        return list(strays)

    @writing
    async def prune(self, connection: AsyncConnection, before: datetime, limit: int) -> int:
        """
        Forget up to `limit` of each: jobs that ended before then with all that was told of them, other events,
        removed subscriptions, and recoveries that are over.

        What still has a pending delivery stays, with its attempts. Gives how many of those were forgotten
        (deliveries and attempts are not counted); 0: nothing is left to forget.
        """
        gone = await self._ids(connection, _old_jobs(before, limit))
        if gone:
            await connection.execute(delete(events).where(self._database.among(events.c.job_id, gone)))
            await connection.execute(delete(subscriptions).where(self._database.among(subscriptions.c.job_id, gone)))
            await connection.execute(delete(jobs).where(self._database.among(jobs.c.id, gone)))
        told = await self._ids(connection, _old_events(before, limit))
        if told:
            await connection.execute(delete(events).where(self._database.among(events.c.id, told)))
        left = await self._ids(connection, _old_subscriptions(before, limit))
        if left:
            await connection.execute(delete(subscriptions).where(self._database.among(subscriptions.c.id, left)))
        over = await self._ids(connection, _old_recoveries(before, limit))
        if over:
            await connection.execute(delete(recoveries).where(self._database.among(recoveries.c.id, over)))
        return len(gone) + len(told) + len(left) + len(over)

    async def _ids(self, connection: AsyncConnection, query: Select[Any]) -> list[str]:
        return list((await connection.execute(query)).scalars())

    @writing
    async def note_durations(
        self, connection: AsyncConnection, rows: Sequence[Duration | tuple[str, str, float, datetime]]
    ) -> None:
        """How long ended jobs took; the newest 500 of each kind are kept."""
        if not rows:
            return
        told = [Duration(*row) for row in rows]
        values = [
            {
                "provider": one.provider,
                "kind": one.kind,
                "seconds": one.seconds,
                "looks": one.looks,
                "observed_at": one.at,
            }
            for one in told
        ]
        await connection.execute(pace.insert(), values)
        kinds = sorted({(one.provider, one.kind) for one in told})
        await connection.execute(TRIM, [{"of_provider": provider, "of_kind": kind} for provider, kind in kinds])

    @reading
    async def durations(
        self,
        connection: AsyncConnection,
        provider: str | None = None,
        per_kind_max: int = DURATIONS_PER_KIND_MAX,
    ) -> dict[tuple[str, str], list[float]]:
        """The newest durations of each (provider, kind), in seconds, ascending."""
        rank = func.row_number().over(partition_by=(pace.c.provider, pace.c.kind), order_by=pace.c.position.desc())
        inner = select(pace.c.provider, pace.c.kind, pace.c.seconds, rank.label("rank"))
        if provider is not None:
            inner = inner.where(pace.c.provider == provider)
        ranked = inner.subquery()
        query = (
            select(ranked.c.provider, ranked.c.kind, ranked.c.seconds)
            .where(ranked.c.rank <= per_kind_max)
            .order_by(ranked.c.seconds)
        )
        found: dict[tuple[str, str], list[float]] = {}
        for name, kind, seconds in await connection.execute(query):
            found.setdefault((name, kind), []).append(seconds)
        return found

    @reading
    async def looks_per_job(self, connection: AsyncConnection, provider: str) -> dict[str, float]:
        """How many looks the remembered jobs of each kind took on average."""
        query = select(pace.c.kind, func.avg(pace.c.looks)).where(pace.c.provider == provider).group_by(pace.c.kind)
        return {kind: float(mean) for kind, mean in await connection.execute(query)}

    @reading
    async def count_jobs(self, connection: AsyncConnection, tenant: str) -> dict[str, int]:
        """How many of the tenant's jobs have which status; what has none is left out."""
        return await _count(connection, jobs, tenant)

    @reading
    async def count_jobs_by_provider(self, connection: AsyncConnection, tenant: str) -> dict[str, tuple[int, int]]:
        """Of each provider that the tenant has jobs at, in order of its name: how many, and how many are pending."""
        counted = select(jobs.c.provider, func.count().label("total")).group_by(jobs.c.provider)
        query = counted.where(jobs.c.tenant == tenant)
        every = {row.provider: row.total for row in await connection.execute(query)}
        pending = {row.provider: row.total for row in await connection.execute(query.where(JOB_IS_PENDING))}
        return {name: (every[name], pending.get(name, 0)) for name in sorted(every)}

    @reading
    async def count_deliveries(self, connection: AsyncConnection, tenant: str) -> dict[str, int]:
        """How many of the tenant's deliveries have which status; what has none is left out."""
        return await _count(connection, deliveries, tenant)

    @reading
    async def ping(self, connection: AsyncConnection) -> None:
        """Returns when the database answers; raises Unreachable otherwise."""
        await connection.execute(text("SELECT 1"))

    @reading
    async def revision(self, connection: AsyncConnection) -> tuple[str | None, str]:
        """The schema's revision (None: nothing was ever migrated) and the one this code needs."""
        return await connection.run_sync(current_revision), head_revision()

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()


def _walk(query: Select[Any], table: Table, after_id: str | None, limit: int) -> Select[Any]:
    if after_id is not None:
        query = query.where(table.c.id > after_id)
    return query.order_by(table.c.id).limit(limit)


def _between(query: Select[Any], table: Table, since: datetime, until: datetime, limit: int) -> Select[Any]:
    query = query.where(table.c.created_at >= since, table.c.created_at <= until)
    return query.order_by(table.c.created_at, table.c.id).limit(limit)


def _distinct(column: ColumnElement[str], condition: ColumnElement[bool]) -> CTE:
    """The different values of an indexed column, one seek for each: DISTINCT would read every row."""
    following = select(func.min(column).label("value")).where(condition).cte("following", recursive=True)
    step = select(func.min(column)).where(condition, column > following.c.value).correlate(following)
    return following.union_all(select(step.scalar_subquery()).where(following.c.value.is_not(None)))


def _has_delivery(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return select(deliveries.c.id).where(condition, deliveries.c.subscription_id == subscriptions.c.id).exists()


def _old_jobs(before: datetime, limit: int) -> Select[Any]:
    awaited = select(deliveries.c.id).where(DELIVERY_IS_PENDING, deliveries.c.job_id == jobs.c.id).exists()
    query = select(jobs.c.id).where(jobs.c.completed_at < before, ~awaited)
    return query.order_by(jobs.c.completed_at).limit(limit)


def _old_events(before: datetime, limit: int) -> Select[Any]:
    """Those of no job, or of one that was forgotten."""
    has_job = select(jobs.c.id).where(jobs.c.id == events.c.job_id).exists()
    awaited = select(deliveries.c.id).where(DELIVERY_IS_PENDING, deliveries.c.event_id == events.c.id).exists()
    query = select(events.c.id).where(events.c.created_at < before, ~has_job, ~awaited)
    return query.order_by(events.c.created_at).limit(limit)


def _old_subscriptions(before: datetime, limit: int) -> Select[Any]:
    is_open = or_(_has_delivery(DELIVERY_IS_PENDING), _has_delivery(DELIVERY_IS_HELD))
    return select(subscriptions.c.id).where(subscriptions.c.removed_at < before, ~is_open).limit(limit)


def _old_recoveries(before: datetime, limit: int) -> Select[Any]:
    of = recoveries.c
    return select(of.id).where(of.completed_at < before).order_by(of.completed_at).limit(limit)


async def _count(connection: AsyncConnection, table: Table, tenant: str) -> dict[str, int]:
    query = select(table.c.status, func.count().label("total")).where(table.c.tenant == tenant).group_by(table.c.status)
    return {row.status: row.total for row in await connection.execute(query)}
