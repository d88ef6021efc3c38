"""API keys and calls with an idempotency key: who asks, and whether it was asked before."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.key import Key
from relay.domain.moments import seconds_after
from relay.domain.place import Place
from relay.store.rows import AnyRow, key_of, key_row
from relay.store.sql import LIST_DEFAULT, Verbs, paged, reading, writing
from relay.store.tables import idempotency, keys

CALL_KEPT_SECONDS = 86_400  # from when it was opened; then its key is new again
SIGN_SECONDS = 1.0  # between two signs of life of a call in flight
LIFE_SECONDS = 7.0  # without a sign; longer than a turn in Redis outlives its holder, so that submissions are settled


@dataclass(frozen=True, slots=True)
class SavedCall:
    """A call with an idempotency key that was seen before; `status_code` is None while it is in flight."""

    fingerprint: str
    status_code: int | None
    headers: dict[str, str]
    body: bytes
    created_at: datetime
    lives_until: datetime


@dataclass(frozen=True, slots=True)
class OpenCall:
    """
    A call with an idempotency key that is `holder`'s to make. `opened_at` is the same for whoever has it after him;
    `is_first`: nobody had it before.
    """

    tenant: str
    key: str
    holder: str
    opened_at: datetime
    is_first: bool


class KeyVerbs(Verbs):
    """Keys and idempotent calls."""

    @writing
    async def add_key(self, connection: AsyncConnection, key: Key, call: OpenCall | None = None) -> bool:
        """
        Write a new key down. With a `call`, in the place of one that an earlier holder of it has made, whose text
        nobody has seen; False when the call is another's now.
        """
        if call is None:
            await connection.execute(keys.insert(), key_row(key))
            return True
        is_ours = exists().where(*_held(call))
        renewed = {"digest": key.digest, "created_at": key.created_at}
        insert = self._database.insert(keys).on_conflict_do_update(
            index_elements=["id"], set_=renewed, where=and_(keys.c.tenant == key.tenant, is_ours)
        )
        return (await connection.execute(insert, key_row(key))).rowcount == 1

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
        self, connection: AsyncConnection, tenant: str, key: str, fingerprint: str, holder: str, now: datetime
    ) -> OpenCall | SavedCall:
        """
        The call, when it is the holder's to make, for LIFE_SECONDS from now on; otherwise what is known of it.

        One of the same fingerprint whose holder has given no sign of life for so long is taken over; one that was
        first opened CALL_KEPT_SECONDS ago is as if it had never been.
        """
        of = idempotency.c
        has_no_holder = of.lives_until <= now
        is_dead = and_(of.status_code.is_(None), of.fingerprint == fingerprint, has_no_holder)
        is_old = and_(of.created_at <= _oldest(now), has_no_holder)
        taken = {"fingerprint": fingerprint, "holder": holder, "lives_until": seconds_after(now, LIFE_SECONDS)}
        emptied = {"status_code": None, "headers": None, "body": None}
        opened_at = case((is_old, literal(now, of.created_at.type)), else_=of.created_at)
        insert = self._database.insert(idempotency).on_conflict_do_update(
            index_elements=["tenant", "key"],
            set_={**taken, **emptied, "created_at": opened_at},
            where=or_(is_dead, is_old),
        )
        values = {"tenant": tenant, "key": key, "created_at": now, **taken}
        is_ours = (await connection.execute(insert, values)).rowcount == 1
        row = (await connection.execute(select(idempotency).where(*_named(tenant, key)))).one()
        if is_ours:
            return OpenCall(tenant, key, holder, row.created_at, row.created_at == now)
        return self._saved_call(row)

    @reading
    async def recall_call(self, connection: AsyncConnection, call: OpenCall) -> SavedCall | None:
        """What is known of a call that may have another holder by now; None when it was forgotten."""
        row = (await connection.execute(select(idempotency).where(*_named(call.tenant, call.key)))).first()
        return None if row is None else self._saved_call(row)

    def _saved_call(self, row: AnyRow) -> SavedCall:
        body = b"" if row.body is None else self._vault.unseal(row.body).encode("latin-1")
        return SavedCall(row.fingerprint, row.status_code, row.headers or {}, body, row.created_at, row.lives_until)

    @writing
    async def keep_call(self, connection: AsyncConnection, call: OpenCall, now: datetime) -> bool:
        """A sign of life of the holder; False when the call is no longer his."""
        change = idempotency.update().where(*_held(call)).values(lives_until=seconds_after(now, LIFE_SECONDS))
        return (await connection.execute(change)).rowcount == 1

    @writing
    async def close_call(
        self, connection: AsyncConnection, call: OpenCall, status_code: int, headers: Mapping[str, str], body: bytes
    ) -> bool:
        """The answer that repetitions get; False when the call is no longer the holder's, or has one already."""
        sealed = self._vault.seal(body.decode("latin-1"))  # any bytes, as text that gives the same bytes back
        values = {"status_code": status_code, "headers": dict(headers), "body": sealed, "lives_until": call.opened_at}
        change = idempotency.update().where(*_held(call)).values(values)
        return (await connection.execute(change)).rowcount == 1

    @writing
    async def leave_call(self, connection: AsyncConnection, call: OpenCall, now: datetime) -> None:
        """Its holder has died on the way, and nobody need wait to find out: the same call may take it over now."""
        await connection.execute(idempotency.update().where(*_held(call)).values(lives_until=now))

    @writing
    async def forget_call(self, connection: AsyncConnection, call: OpenCall) -> None:
        """The call came to nothing: any may be made with its key."""
        await connection.execute(idempotency.delete().where(*_held(call)))

    @writing
    async def forget_calls(self, connection: AsyncConnection, now: datetime, limit: int) -> int:
        """Forget up to `limit` calls that were opened CALL_KEPT_SECONDS ago; gives how many."""
        of = idempotency.c
        is_old = of.created_at <= _oldest(now)
        old = select(of.tenant, of.key).where(is_old).order_by(of.created_at).limit(limit)
        rows = [{"of_tenant": tenant, "of_key": key} for tenant, key in await connection.execute(old)]
        if rows:
            which = (of.tenant == bindparam("of_tenant"), of.key == bindparam("of_key"), is_old)
            await connection.execute(idempotency.delete().where(*which), rows)
        return len(rows)


def _named(tenant: str, key: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return idempotency.c.tenant == tenant, idempotency.c.key == key


def _held(call: OpenCall) -> tuple[ColumnElement[bool], ...]:
    """The call is still the holder's, and unanswered."""
    return (
        *_named(call.tenant, call.key),
        idempotency.c.holder == call.holder,
        idempotency.c.status_code.is_(None),
    )


def _oldest(now: datetime) -> datetime:
    return seconds_after(now, -CALL_KEPT_SECONDS)
