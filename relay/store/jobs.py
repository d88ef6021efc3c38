"""Jobs, from registration to their one ending."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.job import OPEN, Job, JobStatus
from relay.domain.place import Place
from relay.domain.subscription import Subscription
from relay.store.events import write_announcements
from relay.store.rows import Ending, Registration, ending_values, job_of, job_row, label
from relay.store.sql import LIST_DEFAULT, Verbs, in_bulk, paged, reading, writing
from relay.store.tables import deliveries, events, jobs, storable, subscriptions

ROUNDS_MAX = 5  # each starts anew for ids whose holder let go between insert and look
END = (
    jobs.update()
    .where(jobs.c.id == bindparam("of"))
    .values(
        status=bindparam("status"),
        provider_status=bindparam("provider_status"),
        started_at=bindparam("started_at"),
        completed_at=bindparam("completed_at"),
        polls=bindparam("polls"),
        result=bindparam("result"),
        error=bindparam("error"),
        warnings=bindparam("warnings"),
        tracking=bindparam("tracking"),
    )
)
IS_OPEN = jobs.c.status.in_([status.value for status in OPEN])


class JobVerbs(Verbs):
    """Jobs."""

    @writing
    async def register_jobs(
        self, connection: AsyncConnection, registrations: Sequence[Registration]
    ) -> list[tuple[Job, bool]]:
        """
        For each registration, in order: the job that tracks its id, and whether this call wrote it down, now or when it
        was made before with the same ids.

        Where `tracking` is taken, by a stored job or an earlier one of the same call, that job is given. A
        callback is written with a new job, and with an existing one while that is pending and has no callback to
        the same URL yet.
        """
        holders = await self._claim(connection, [one.job for one in registrations])
        answers: list[tuple[Job, bool]] = []
        seen: set[str] = set()
        for one in registrations:
            job = one.job if one.job.tracking is None else holders[one.job.tracking]
            answers.append((job, job.id == one.job.id and job.id not in seen))
            seen.add(job.id)
        await self._add_callbacks(connection, registrations, answers)
        return answers

    async def _claim(self, connection: AsyncConnection, wanted: Sequence[Job]) -> dict[str, Job]:
        """Insert what is free; the holder of each `tracking`, those of others locked until the commit."""
        insert = self._database.insert(jobs).on_conflict_do_nothing()
        untracked = [job_row(job) for job in wanted if job.tracking is None]
        if untracked:
            await connection.execute(insert, untracked)
        # Backwards, so that the first of a call stays; sorted, so that two calls wait for each other in one order.
        unheld = {job.tracking: job for job in reversed(wanted) if job.tracking is not None}
        holders: dict[str, Job] = {}
        for _ in range(ROUNDS_MAX):
            if not unheld:
                return holders
            await connection.execute(insert, [job_row(unheld[tracking]) for tracking in sorted(unheld)])
            ours = await self._ours(connection, list(unheld.values()))
            holders |= {tracking: ours[job.id] for tracking, job in unheld.items() if job.id in ours}
            foreign = {tracking for tracking, job in unheld.items() if job.id not in ours}
            if foreign:
                query = select(jobs).where(self._database.among(jobs.c.tracking, foreign)).order_by(jobs.c.id)
                for row in await connection.execute(query.with_for_update()):
                    holders[row.tracking] = job_of(row)
            unheld = {tracking: job for tracking, job in unheld.items() if tracking not in holders}
        raise AssertionError(f"no holder found for {len(unheld)} ids in {ROUNDS_MAX} rounds")

    async def _ours(self, connection: AsyncConnection, wanted: Sequence[Job]) -> dict[str, Job]:
        """Those that are written, by their ids; as they stand where the same call had written them before."""
        query = select(jobs.c.id, jobs.c.tracking, jobs.c.created_at)
        query = query.where(self._database.among(jobs.c.id, {job.id for job in wanted}))
        there = {row.id: (row.tracking, row.created_at) for row in await connection.execute(query)}
        ours = {job.id: job for job in wanted if job.id in there}
        before = {job.id for job in ours.values() if there[job.id] != (job.tracking, job.created_at)}
        if before:
            older = select(jobs).where(self._database.among(jobs.c.id, before)).order_by(jobs.c.id)
            ours |= {row.id: job_of(row) for row in await connection.execute(older.with_for_update())}
        return ours

    async def _add_callbacks(
        self,
        connection: AsyncConnection,
        registrations: Sequence[Registration],
        answers: Sequence[tuple[Job, bool]],
    ) -> None:
        asked = [
            (job, is_new, one.callback)
            for one, (job, is_new) in zip(registrations, answers, strict=True)
            if one.callback is not None and job.status is JobStatus.PENDING
        ]
        known = await self._callback_urls(connection, {job.id for job, is_new, _ in asked if not is_new})
        wanted: list[Subscription] = []
        for job, _, callback in asked:
            if (job.id, callback.url) not in known:
                known.add((job.id, callback.url))
                wanted.append(replace(callback, job_id=job.id))
        if wanted:
            insert = self._database.insert(subscriptions).on_conflict_do_nothing(index_elements=["id"])
            await connection.execute(insert, [self._vault.subscription_row(one) for one in wanted])

    async def _callback_urls(self, connection: AsyncConnection, job_ids: Collection[str]) -> set[tuple[str, str]]:
        if not job_ids:
            return set()
        query = select(subscriptions.c.job_id, subscriptions.c.url).where(
            self._database.among(subscriptions.c.job_id, job_ids), subscriptions.c.removed_at.is_(None)
        )
        return {(job_id, url) for job_id, url in await connection.execute(query)}

    @reading
    async def find_job(self, connection: AsyncConnection, tenant: str, job_id: str) -> Job | None:
        """The tenant's job of that id."""
        return await _job(connection, tenant, job_id)

    @reading
    async def list_jobs(
        self,
        connection: AsyncConnection,
        tenant: str,
        *,
        status: str | None = None,
        provider: str | None = None,
        credential: str | None = None,
        provider_job_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        place: Place | None = None,
        limit: int = LIST_DEFAULT,
    ) -> list[Job]:
        """
        The tenant's jobs, newest first; `credential` is its id, `place` where the page lies, None for the first.

        `metadata` matches by equality of each pair, a number or boolean by what JSON writes for it.
        """
        wanted = {
            "status": status,
            "provider": provider,
            "credential_id": credential,
            "provider_job_id": provider_job_id,
        }
        query = select(jobs).where(jobs.c.tenant == tenant)
        for name, value in wanted.items():
            if value is not None:
                query = query.where(jobs.c[name] == str(value))
        if metadata:
            labels = {storable(key): label(value) for key, value in metadata.items()}
            query = query.where(self._database.has_labels(jobs.c.labels, labels))
        return [job_of(row) for row in await connection.execute(paged(query, jobs, place, limit))]

    @reading
    async def load_jobs(self, connection: AsyncConnection, ids: Collection[str]) -> dict[str, Job]:
        """The jobs of those ids, whosever they are."""
        rows = await connection.execute(select(jobs).where(self._database.among(jobs.c.id, ids)))
        return {row.id: job_of(row) for row in rows}

    async def advance_jobs(self, endings: Sequence[Ending]) -> set[str]:
        """
        End open jobs, each with its announcement, in bulk; gives the ids of those that these endings ended.

        The first ending of a job wins; a loser writes nothing.
        """
        return await in_bulk(self._advance_jobs, endings)

    @writing
    async def _advance_jobs(self, connection: AsyncConnection, endings: Sequence[Ending]) -> set[str]:
        first = {ending.job.id: ending for ending in reversed(endings)}
        query = (
            select(jobs.c.id)
            .where(self._database.among(jobs.c.id, first), IS_OPEN)
            .order_by(jobs.c.id)  # everybody locks in this order
            .with_for_update()
        )
        unended = set((await connection.execute(query)).scalars())
        lost = [ending for job_id, ending in first.items() if job_id not in unended]
        won = [ending for job_id, ending in first.items() if job_id in unended]
        won = await self._up_to_date(connection, won)
        if won:
            await connection.execute(END, [{"of": one.job.id, **ending_values(one.job)} for one in won])
        told = [one.announcement for one in won if one.announcement is not None]
        await write_announcements(self._database, connection, told)
        return {one.job.id for one in won} | await self._announced(connection, lost)

    async def _up_to_date(self, connection: AsyncConnection, endings: list[Ending]) -> list[Ending]:
        """Those decided on all of their job's callbacks."""
        minded = {one.job.id for one in endings if one.callbacks is not None}
        if not minded:
            return endings
        query = select(subscriptions.c.job_id, subscriptions.c.id).where(
            self._database.among(subscriptions.c.job_id, minded), subscriptions.c.removed_at.is_(None)
        )
        callbacks: dict[str, set[str]] = {}
        for job_id, subscription_id in await connection.execute(query):
            callbacks.setdefault(job_id, set()).add(subscription_id)
        return [one for one in endings if one.callbacks is None or callbacks.get(one.job.id, set()) <= one.callbacks]

    async def _announced(self, connection: AsyncConnection, endings: Sequence[Ending]) -> set[str]:
        # The very same events are there: an earlier commit went through whose answer was lost.
        told = {one.announcement.event.id for one in endings if one.announcement is not None}
        if not told:
            return set()
        query = select(events.c.ending_of).where(self._database.among(events.c.id, told))
        return set((await connection.execute(query)).scalars())

    @writing
    async def cancel_job(
        self, connection: AsyncConnection, tenant: str, job_id: str, now: datetime, seen: Job | None = None
    ) -> Job | None:
        """
        Stop tracking: an open job is cancelled; of one that has completed, the public link is revoked. `seen` is the
        job with what its looks had shown.

        Gives the job as it stands, None when the tenant has none.
        """
        change = jobs.update().where(jobs.c.tenant == tenant, jobs.c.id == job_id)
        is_linked = and_(jobs.c.status == JobStatus.COMPLETED.value, jobs.c.link_revoked_at.is_(None))
        await connection.execute(change.where(is_linked).values(link_revoked_at=now))
        cancelled = {"status": JobStatus.CANCELLED.value, "completed_at": now, "tracking": None}
        if seen is not None:
            cancelled |= {"polls": seen.polls, "provider_status": seen.provider_status, "started_at": seen.started_at}
        await connection.execute(change.where(IS_OPEN).values(cancelled))
        return await _job(connection, tenant, job_id)

    @writing
    async def renew_result(
        self, connection: AsyncConnection, tenant: str, job_id: str, result: Mapping[str, Any], now: datetime
    ) -> bool:
        """A completed job's result with fresh links, asked for at `now`; False when there is no such job."""
        done = await connection.execute(
            jobs.update()
            .where(jobs.c.tenant == tenant, jobs.c.id == job_id, jobs.c.status == JobStatus.COMPLETED.value)
            .values(result=dict(result), result_fetched_at=now)
        )
        return done.rowcount == 1

    @reading
    async def delivery_counts(self, connection: AsyncConnection, job_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """For each of the jobs that has any, how many of its deliveries have which status."""
        query = (
            select(deliveries.c.job_id, deliveries.c.status, func.count())
            .where(self._database.among(deliveries.c.job_id, job_ids))
            .group_by(deliveries.c.job_id, deliveries.c.status)
        )
        counts: dict[str, dict[str, int]] = {}
        for job_id, status, count in await connection.execute(query):
            counts.setdefault(job_id, {})[status] = count
        return counts


async def _job(connection: AsyncConnection, tenant: str, job_id: str) -> Job | None:
    row = (await connection.execute(select(jobs).where(jobs.c.tenant == tenant, jobs.c.id == job_id))).first()
    return None if row is None else job_of(row)
