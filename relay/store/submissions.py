"""Jobs that the relay asks for itself, written down before the provider hears of them: none is asked for twice."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.job import Job, JobStatus
from relay.store.rows import Registration, job_of, job_row
from relay.store.sql import Verbs, reading, writing
from relay.store.tables import jobs, subscriptions

ROUNDS_MAX = 5  # each begins anew when the holder of a mark lets go between insert and look
IS_SUBMITTING = jobs.c.status == JobStatus.SUBMITTING.value


class SubmissionVerbs(Verbs):
    """Jobs between the call that asks for them and the id that their provider gives them."""

    @writing
    async def open_submission(self, connection: AsyncConnection, registration: Registration) -> tuple[Job, bool]:
        """
        The job to ask for, and whether this call wrote it down; the one that the same `submission` wrote before, else.
        """
        job, callback = registration.job, registration.callback
        named = jobs.c.id == job.id if job.submission is None else jobs.c.submission == job.submission
        for _ in range(ROUNDS_MAX):
            await connection.execute(self._database.insert(jobs).on_conflict_do_nothing(), job_row(job))
            row = (await connection.execute(select(jobs).where(named))).first()
            if row is not None and row.id != job.id:
                return job_of(row), False
            if row is not None:
                if callback is not None:
                    insert = self._database.insert(subscriptions).on_conflict_do_nothing()
                    await connection.execute(insert, self._vault.subscription_row(callback))
                return job_of(row), True
        raise AssertionError(f"no holder found for the submission of {job.id} in {ROUNDS_MAX} rounds")

    @reading
    async def find_submission(self, connection: AsyncConnection, submission: str) -> Job | None:
        """The job that the call with this mark asked for."""
        row = (await connection.execute(select(jobs).where(jobs.c.submission == submission))).first()
        return None if row is None else job_of(row)

    @writing
    async def place_submission(self, connection: AsyncConnection, job: Job) -> Job | None:
        """
        The id that the provider gave, with the status and the `tracking` that follow from it.

        A job that was cancelled or has expired meanwhile gets the id and stays as it is. Where another job tracks that
        id already, that one is given, and nothing is kept of this one. Gives None when it is gone.
        """
        is_it = jobs.c.id == job.id
        nameless = jobs.update().where(is_it, jobs.c.provider_job_id.is_(None))
        step = jobs.update().where(is_it, IS_SUBMITTING).values(status=job.status.value, tracking=job.tracking)
        tracks_it = select(jobs).where(jobs.c.tracking == job.tracking)
        for _ in range(ROUNDS_MAX):
            await connection.execute(nameless.values(provider_job_id=job.provider_job_id))
            try:
                async with connection.begin_nested():
                    await connection.execute(step)
            except IntegrityError:
                holder = (await connection.execute(tracks_it.with_for_update())).first()
                if holder is not None and await self._gives_way(connection, job, job_of(holder)):
                    return job_of((await connection.execute(tracks_it)).one())
                continue
            # Gone when the same call has given way before.
            row = (await connection.execute(select(jobs).where(is_it))).first()
            row = row or (await connection.execute(tracks_it)).first()
            return None if row is None else job_of(row)
        raise AssertionError(f"no holder found for the id of {job.id} in {ROUNDS_MAX} rounds")

    async def _gives_way(self, connection: AsyncConnection, job: Job, holder: Job) -> bool:
        """
        Removes the job for the one that tracks its id, which takes over its callback and its mark as far as there is
        room. False when the job no longer is `submitting`.

        A holder with a mark of its own was submitted as well: its provider has answered two create calls with one id,
        and would do so again.
        """
        if (await connection.execute(jobs.delete().where(jobs.c.id == job.id, IS_SUBMITTING))).rowcount == 0:
            return False
        unmarked = jobs.update().where(jobs.c.id == holder.id, jobs.c.submission.is_(None))
        await connection.execute(unmarked.values(submission=job.submission))
        callback = subscriptions.c.job_id == job.id
        if holder.status is JobStatus.PENDING:
            others = subscriptions.alias()
            called = select(others.c.url).where(others.c.job_id == holder.id, others.c.removed_at.is_(None))
            moved = subscriptions.update().where(callback, subscriptions.c.url.not_in(called))
            await connection.execute(moved.values(job_id=holder.id))
        await connection.execute(subscriptions.delete().where(callback))
        return True

    @writing
    async def doubt_submission(self, connection: AsyncConnection, job: Job) -> Job | None:
        """The warnings of a job whose answer was unclear. Gives the job as it stands, None when it is gone."""
        is_it = jobs.c.id == job.id
        await connection.execute(jobs.update().where(is_it, IS_SUBMITTING).values(warnings=job.warnings))
        row = (await connection.execute(select(jobs).where(is_it))).first()
        return None if row is None else job_of(row)

    @writing
    async def withdraw_submission(self, connection: AsyncConnection, job_id: str) -> bool:
        """The provider has refused: the job and its callback are gone. False when it no longer was `submitting`."""
        if (await connection.execute(jobs.delete().where(jobs.c.id == job_id, IS_SUBMITTING))).rowcount == 0:
            return False
        await connection.execute(subscriptions.delete().where(subscriptions.c.job_id == job_id))
        return True
