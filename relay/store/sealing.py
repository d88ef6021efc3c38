"""Moving every sealed column to the newest key, so that an older one can be dropped."""

from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.domain.errors import BadSettings
from relay.store.rows import AnyRow
from relay.store.sql import Verbs, reading, writing
from relay.store.tables import credentials, idempotency, subscriptions


class Sealed(NamedTuple):
    """A table with secrets, by the columns that name a row and those that are encrypted."""

    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...]


SEALED = {
    one.table.name: one
    for one in (
        Sealed(credentials, ("id",), ("secrets",)),
        Sealed(subscriptions, ("id",), ("headers", "secrets", "signing_keys")),
        Sealed(idempotency, ("tenant", "key"), ("body",)),
    )
}
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resealed:
    """
    One batch: the rows that were read, those that were written anew, those that no key opens, and the last one's
    place; None when there are no more.
    """

    seen: int
    changed: int
    unopened: tuple[Place, ...]
    place: Place | None


class SealingVerbs(Verbs):
    """Encryption at rest, as a whole."""

    @reading
    async def count_sealed(self, connection: AsyncConnection, table: str) -> int:
        """How many rows of the table have something encrypted in them."""
        query = select(func.count()).select_from(SEALED[table].table).where(_has_secrets(SEALED[table]))
        return (await connection.execute(query)).scalar_one()

    @writing
    async def reseal(self, connection: AsyncConnection, table: str, after: Place | None, limit: int) -> Resealed:
        """
        The table's next rows behind `after`, each under the newest key.

        What is under it already is not written, so that a run which was broken off may begin again; nor is a row that
        somebody else changes at the same moment, who has sealed it with the newest key.
        """
        sealed = SEALED[table]
        key = [sealed.table.c[name] for name in sealed.key]
        query = select(*key, *(sealed.table.c[name] for name in sealed.columns)).where(_has_secrets(sealed))
        if after is not None:
            query = query.where(tuple_(*key) > tuple_(*after))
        rows = (await connection.execute(query.order_by(*key).limit(limit))).all()
        changed, unopened = 0, []
        for row in rows:
            try:
                values = self._resealed(sealed, row)
            except BadSettings:
                unopened.append(_place(sealed, row))
                continue
            if values:
                changed += (await connection.execute(_change(sealed, row, values))).rowcount
        place = _place(sealed, rows[-1]) if len(rows) == limit else None
        return Resealed(len(rows), changed, tuple(unopened), place)

    def _resealed(self, sealed: Sealed, row: AnyRow) -> dict[str, str]:
        """The columns that the newest key does not hold yet, as it holds them."""
        told = {name: _value(row, name) for name in sealed.columns}
        anew = {name: self._vault.reseal(text) for name, text in told.items() if text is not None}
        return {name: text for name, text in anew.items() if text != told[name]}


def _has_secrets(sealed: Sealed) -> ColumnElement[bool]:
    return or_(*(sealed.table.c[name].is_not(None) for name in sealed.columns))


def _change(sealed: Sealed, row: AnyRow, values: dict[str, str]) -> Any:
    same = [sealed.table.c[name] == _value(row, name) for name in (*sealed.key, *values)]
    return sealed.table.update().where(reduce(and_, same)).values(values)


def _place(sealed: Sealed, row: AnyRow) -> Place:
    return tuple(_value(row, name) for name in sealed.key)


def _value(row: AnyRow, name: str) -> Any:
    return row._mapping[name]  # noqa: SLF001  public, whatever its name says
