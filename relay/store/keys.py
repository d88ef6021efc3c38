"""API keys and calls with an idempotency key: who asks, and whether it was asked before."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.key import Key
from relay.domain.place import Place
from relay.store.rows import AnyRow, SavedCall, key_of, key_row
from relay.store.sql import LIST_DEFAULT, Verbs, paged, reading, writing
from relay.store.tables import idempotency, keys

CALL_SECONDS_MAX = 120  # a call in flight for longer died with its process; whoever repeats it may have it


class KeyVerbs(Verbs):
    """Keys and idempotent calls."""

    @writing
    async def add_key(self, connection: AsyncConnection, key: Key) -> None:
        """Write a new key down."""
        await connection.execute(keys.insert(), key_row(key))

    @reading
    async def find_key(self, connection: AsyncConnection, digest: str) -> Key | None:
        """The key with that SHA-256."""
        row = (await connection.execute(select(keys).where(keys.c.digest == digest))).first()
        return None if row is None else key_of(row)

    @reading
    async def recall_key(self, connection: AsyncConnection, key_id: str) -> Key | None:
        """The key of that id, as long as nobody has revoked it."""
        row = (await connection.execute(select(keys).where(keys.c.id == key_id))).first()
        return None if row is None else key_of(row)

    @reading
    async def list_keys(
        self, connection: AsyncConnection, tenant: str, place: Place | None = None, limit: int = LIST_DEFAULT
    ) -> list[Key]:
        """The tenant's keys, newest first; `place` is where the page lies."""
        query = paged(select(keys).where(keys.c.tenant == tenant), keys, place, limit)
        return [key_of(row) for row in await connection.execute(query)]

    @writing
    async def revoke_key(self, connection: AsyncConnection, tenant: str, key_id: str) -> bool:
        """The key is gone; False when it was not there."""
        done = await connection.execute(keys.delete().where(keys.c.tenant == tenant, keys.c.id == key_id))
        return done.rowcount == 1

    @writing
    async def note_key_use(self, connection: AsyncConnection, key_id: str, now: datetime) -> None:
        """`last_used_at` moves forward, never back."""
        is_older = or_(keys.c.last_used_at.is_(None), keys.c.last_used_at < now)
        await connection.execute(keys.update().where(keys.c.id == key_id, is_older).values(last_used_at=now))

    @writing
    async def open_call(
        self, connection: AsyncConnection, tenant: str, key: str, fingerprint: str, now: datetime
    ) -> SavedCall | None:
        """
        None: the call is ours to make, from now on in flight. Otherwise what is known of it.

        A call of the same fingerprint that has been in flight for CALL_SECONDS_MAX is taken over.
        """
        values = {"tenant": tenant, "key": key, "fingerprint": fingerprint, "created_at": now}
        is_dead = and_(
            idempotency.c.status_code.is_(None),
            idempotency.c.fingerprint == fingerprint,
            idempotency.c.created_at < now - timedelta(seconds=CALL_SECONDS_MAX),
        )
        insert = self._database.insert(idempotency).on_conflict_do_update(
            index_elements=["tenant", "key"], set_={"created_at": now}, where=is_dead
        )
        if (await connection.execute(insert, values)).rowcount == 1:
            return None
        row = (await connection.execute(select(idempotency).where(*_named(tenant, key)))).one()
        return self._saved_call(row)

    def _saved_call(self, row: AnyRow) -> SavedCall:
        body = b"" if row.body is None else self._vault.unseal(row.body).encode("latin-1")
        return SavedCall(row.fingerprint, row.status_code, row.headers or {}, body, row.created_at)

    @writing
    async def close_call(
        self,
        connection: AsyncConnection,
        tenant: str,
        key: str,
        status_code: int,
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        """The answer that repetitions get."""
        sealed = self._vault.seal(body.decode("latin-1"))  # any bytes, as text that gives the same bytes back
        values = {"status_code": status_code, "headers": dict(headers), "body": sealed}
        await connection.execute(idempotency.update().where(*_named(tenant, key)).values(values))

    @writing
    async def forget_call(self, connection: AsyncConnection, tenant: str, key: str) -> None:
        """The call came to nothing: it may be made again."""
        await connection.execute(idempotency.delete().where(*_named(tenant, key)))


def _named(tenant: str, key: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return idempotency.c.tenant == tenant, idempotency.c.key == key
