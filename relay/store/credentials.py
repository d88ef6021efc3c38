"""Credentials: what polls sign in with, and whether the provider still takes it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import and_, exists, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.credential import Credential, CredentialStatus
from relay.domain.errors import BadSettings, Conflict
from relay.domain.place import Place
from relay.store.events import write_announcements
from relay.store.rows import Announcement, AnyRow
from relay.store.sql import LIST_DEFAULT, Verbs, paged, reading, writing
from relay.store.tables import JOB_IS_PENDING, JOB_IS_SUBMITTING, credentials, jobs

FIXED = ("id", "tenant", "created_at")  # what no change changes
GIVEN = ("secrets", "params")  # what the environment says; the rest of a credential is its owner's


class CredentialVerbs(Verbs):
    """Credentials."""

    @writing
    async def add_credential(self, connection: AsyncConnection, credential: Credential) -> Credential | None:
        """Write a new one down; the one of that id that is there already, or None when its name is another's."""
        insert = self._database.insert(credentials).on_conflict_do_nothing()
        if (await connection.execute(insert, self._vault.credential_row(credential))).rowcount == 1:
            return credential
        is_it = and_(credentials.c.tenant == credential.tenant, credentials.c.id == credential.id)
        row = (await connection.execute(select(credentials).where(is_it))).first()
        return None if row is None else self._vault.credential(row)

    @writing
    async def put_credential(self, connection: AsyncConnection, credential: Credential) -> Credential:
        """
        The one of that tenant, provider and name, made to have these secrets and params.

        One that has them already is untouched and keeps its status; a changed one takes the status given. Its name,
        base URL and limits stay as its owner has set them.
        """
        insert = self._database.insert(credentials).on_conflict_do_nothing()
        values = self._vault.credential_row(credential)
        if (await connection.execute(insert, values)).rowcount == 1:
            return credential
        is_named = and_(
            credentials.c.tenant == credential.tenant,
            credentials.c.provider == credential.provider,
            credentials.c.name == credential.name,
        )
        # By its id too: the environment's has always the same, even when its owner has renamed it.
        query = select(credentials).where(or_(is_named, credentials.c.id == credential.id))
        row = (await connection.execute(query.order_by(is_named.desc()).limit(1).with_for_update())).one()
        if self._has(row, credential):
            return self._vault.credential(row)
        change = credentials.update().where(credentials.c.id == row.id)
        taken = (*GIVEN, "status", "status_reason", "throttled_until", "updated_at")
        changed = change.values({name: values[name] for name in taken})
        return self._vault.credential((await connection.execute(changed.returning(credentials))).one())

    def _has(self, row: AnyRow, wanted: Credential) -> bool:
        try:
            present = self._vault.credential(row)
        except BadSettings:
            return False  # what no key opens any more is replaced by what was given
        return all(getattr(present, name) == getattr(wanted, name) for name in GIVEN)

    @reading
    async def find_credential(self, connection: AsyncConnection, tenant: str, credential_id: str) -> Credential | None:
        """The tenant's credential of that id. Raises BadSettings when no key opens its secrets."""
        query = select(credentials).where(credentials.c.tenant == tenant, credentials.c.id == credential_id)
        row = (await connection.execute(query)).first()
        return None if row is None else self._vault.credential(row)

    @reading
    async def find_credentials(
        self,
        connection: AsyncConnection,
        tenant: str,
        *,
        provider: str | None = None,
        name: str | None = None,
        status: str | None = None,
        place: Place | None = None,
        limit: int = LIST_DEFAULT,
    ) -> list[Credential]:
        """The tenant's credentials, newest first."""
        query = select(credentials).where(credentials.c.tenant == tenant)
        for column, value in (("provider", provider), ("name", name), ("status", status)):
            if value is not None:
                query = query.where(credentials.c[column] == str(value))
        rows = await connection.execute(paged(query, credentials, place, limit))
        return [self._vault.credential(row, is_lenient=True) for row in rows]

    @reading
    async def load_credentials(self, connection: AsyncConnection, ids: Collection[str]) -> dict[str, Credential]:
        """The credentials of those ids, whosever they are; without secrets where no key opens them."""
        rows = await connection.execute(select(credentials).where(self._database.among(credentials.c.id, ids)))
        return {row.id: self._vault.credential(row, is_lenient=True) for row in rows}

    @writing
    async def change_credential(
        self, connection: AsyncConnection, credential: Credential, expected_updated_at: datetime
    ) -> bool:
        """
        The credential as given, if nobody changed it since; False when somebody did, or it is gone.

        Raises Conflict (`name_taken`) when the tenant has another one of that provider and name.
        """
        values = {name: value for name, value in self._vault.credential_row(credential).items() if name not in FIXED}
        change = credentials.update().where(
            credentials.c.tenant == credential.tenant,
            credentials.c.id == credential.id,
            credentials.c.updated_at == expected_updated_at,
        )
        try:
            return (await connection.execute(change.values(values))).rowcount == 1
        except IntegrityError as error:
            raise Conflict("name_taken", f"there is another credential named {credential.name}") from error

    @writing
    async def remove_credential(
        self, connection: AsyncConnection, tenant: str, credential_id: str, as_of: datetime | None = None
    ) -> Literal["removed", "in_use", "absent", "changed"]:
        """
        `in_use` while jobs that have not ended name it; `changed` when its `updated_at` is not `as_of`, where told.
        """
        names_it = jobs.c.credential_id == credential_id
        is_used = or_(*(exists().where(names_it, is_open) for is_open in (JOB_IS_PENDING, JOB_IS_SUBMITTING)))
        is_it = (credentials.c.tenant == tenant) & (credentials.c.id == credential_id)
        is_as_seen = true() if as_of is None else credentials.c.updated_at == as_of
        if (await connection.execute(credentials.delete().where(is_it, is_as_seen, ~is_used))).rowcount == 1:
            return "removed"
        left = (await connection.execute(select(credentials.c.updated_at).where(is_it))).first()
        if left is None:
            return "absent"
        return "in_use" if as_of in (None, left.updated_at) else "changed"

    @writing
    async def mark_credential(
        self,
        connection: AsyncConnection,
        credential_id: str,
        status: CredentialStatus,
        reason: str | None,
        throttled_until: datetime | None,
        now: datetime,
        *,
        only_from: Collection[CredentialStatus],
        entries: Sequence[Announcement] = (),
    ) -> bool:
        """The status, if it was one of `only_from`, with what is to be told of it; False: nothing was written."""
        done = await connection.execute(
            credentials.update()
            .where(credentials.c.id == credential_id, credentials.c.status.in_([str(one) for one in only_from]))
            .values(status=str(status), status_reason=reason, throttled_until=throttled_until, updated_at=now)
        )
        if done.rowcount != 1:
            return False
        await write_announcements(self._database, connection, entries)
        return True
