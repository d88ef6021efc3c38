"""How a verb becomes one transaction, on whichever database, so that no verb has to say it again."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from sqlite3 import SQLITE_NOTADB
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog
from sqlalchemy import ColumnElement, Select, Table, select
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.domain.errors import BadSettings, Unreachable
from relay.domain.place import Place
from relay.store.migrations import upgrade
from relay.store.rows import Vault

TRIES_MAX = 5  # of a transaction that PostgreSQL broke off to end a deadlock, or whose connection was lost
LAST_OF_TRIES = [number == TRIES_MAX for number in range(1, TRIES_MAX + 1)]
LIST_DEFAULT = 50

# SQLSTATE classes and codes, https://www.postgresql.org/docs/current/errcodes-appendix.html
COLLISIONS = ("40001", "40P01")  # serialization_failure, deadlock_detected
UNREACHABLE_CLASSES = ("08", "28", "3D", "40", "53", "57", "58")  # connection, login, catalog, … , shutdown, I/O
UNREACHABLE_CODES = ("25006", "42P01", "42703")  # read-only after a failover; not migrated yet (table, column)
NO_DATABASE = "DATABASE_URL: the file that it names is no SQLite database; name another, or move that one away"

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V", bound="Verbs")

AnyInsert = SqliteInsert | PostgresInsert


class Database(ABC):
    """What the two databases do differently. `writer` begins transactions that write; `reader` autocommits."""

    reader: AsyncEngine
    writer: AsyncEngine

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    @abstractmethod
    def insert(self, table: Table) -> AnyInsert:
        """An insert that can say ON CONFLICT."""

    @abstractmethod
    def among(self, column: ColumnElement[Any], values: Collection[str]) -> ColumnElement[bool]:
        """`column` is one of `values`, as one parameter: any number of them, and one prepared statement for all."""

    @abstractmethod
    def has_labels(self, column: ColumnElement[Any], labels: Mapping[str, str]) -> ColumnElement[bool]:
        """The JSON object in `column` holds each of `labels`."""

    @abstractmethod
    async def join_feed(self, connection: AsyncConnection) -> None:
        """Called before a transaction's first event: from now on `settled` stays below its positions until it ends."""

    @abstractmethod
    async def settled(self, connection: AsyncConnection) -> int | None:
        """The position up to which no event can appear any more; None when every visible one is settled."""

    @abstractmethod
    async def lock_schema(self, connection: AsyncConnection) -> None:
        """Wait until no other process migrates, and keep all others waiting until this transaction ends."""

    async def migrate(self) -> None:
        """Bring the schema to head, in one transaction."""
        async with self.writer.begin() as connection:
            await self.lock_schema(connection)
            await connection.run_sync(upgrade)

    async def unbroken(self, work: Coroutine[Any, Any, T]) -> T:
        """
        What the work gives. Whoever is cancelled meanwhile goes at once, but the work goes on to its end: broken off
        in the middle it can leave its connection taken for ever, and SQLite has only one to write with.
        """
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to ask for it

    async def close(self) -> None:
        """Close every connection, once what is under way has come to its end."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self.reader.dispose()
        await self.writer.dispose()


class Verbs:
    """What every noun's verbs stand on."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault


def reading(
    verb: Callable[Concatenate[V, AsyncConnection, P], Awaitable[T]],
) -> Callable[Concatenate[V, P], Coroutine[Any, Any, T]]:
    """
    The verb is called without `connection`: it is given one that only reads.

    Run again with a fresh connection when the one it had turns out to be lost. Raises Unreachable.
    """

    async def tries(self: V, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for is_last in LAST_OF_TRIES:
            with mapped():
                try:
                    async with self._database.reader.connect() as connection:
                        return await verb(self, connection, *args, **kwargs)
                except DBAPIError as error:
                    if is_last or not error.connection_invalidated:
                        raise
        raise AssertionError("the last try returns or raises")

    @wraps(verb)
    async def run(self: V, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.unbroken(tries(self, *args, **kwargs))

    return run


def writing(
    verb: Callable[Concatenate[V, AsyncConnection, P], Awaitable[T]],
) -> Callable[Concatenate[V, P], Coroutine[Any, Any, T]]:
    """
    The verb is called without `connection`: it is given one in a transaction, committed when the verb returns.

    Run again when the transaction was broken off to end a deadlock, or its connection was lost before the commit;
    a verb keeps nothing between its runs. Raises Unreachable: then it is not known whether a commit went through.
    """

    async def tries(self: V, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for is_last in LAST_OF_TRIES:
            is_committing = False
            with mapped():
                try:
                    async with self._database.writer.begin() as connection:
                        result = await verb(self, connection, *args, **kwargs)
                        is_committing = True
                    return result
                except DBAPIError as error:
                    is_undone = error.connection_invalidated and not is_committing
                    if is_last or not (is_undone or _sqlstate(error) in COLLISIONS):
                        raise
        raise AssertionError("the last try returns or raises")

    @wraps(verb)
    async def run(self: V, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.unbroken(tries(self, *args, **kwargs))

    return run


async def in_bulk(write: Callable[[Sequence[T]], Awaitable[set[str]]], items: Sequence[T]) -> set[str]:
    """
    What `write` says of the items, written in one transaction.

    A row that makes it raise must not cost the others anything: the batch is halved until that row stands alone,
    and it is logged and left out.
    """
    if not items:
        return set()
    try:
        return await write(items)
    except Unreachable:
        raise
    except Exception as error:  # whatever it is, one row's fault must stay that row's
        if len(items) == 1:
            log.exception("row_left_out", error=type(error).__name__)
            return set()
    half = len(items) // 2
    return await in_bulk(write, items[:half]) | await in_bulk(write, items[half:])


def paged(query: Select[Any], table: Table, place: Place | None, limit: int) -> Select[Any]:
    """The query's rows beside the place, those nearest to it, newest first; without a place the newest of all."""
    if place is not None and place.is_newer:
        is_beside = table.c.id >= place.id if place.is_at else table.c.id > place.id
        nearest = query.where(is_beside).order_by(table.c.id).limit(limit).subquery()
        return select(nearest).order_by(nearest.c.id.desc())
    if place is not None:
        query = query.where(table.c.id <= place.id if place.is_at else table.c.id < place.id)
    return query.order_by(table.c.id.desc()).limit(limit)


def is_tenants(table: Table, tenant: str) -> ColumnElement[bool]:
    """The row is the tenant's, said so that no index on the tenant is taken where what else is asked narrows more."""
    return table.c.tenant.concat("") == tenant


@contextmanager
def mapped() -> Iterator[None]:
    """
    The one place where a database that does not answer becomes Unreachable, and a file that is none BadSettings;
    everything else is our bug.
    """
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == SQLITE_NOTADB:
            raise BadSettings([NO_DATABASE]) from error
        if _is_unreachable(error):
            raise Unreachable("database", _first_line(error.orig or error)) from error
        raise
    except PoolTimeoutError as error:
        raise Unreachable("database", "every connection is in use") from error
    except (OSError, TimeoutError) as error:
        raise Unreachable("database", _first_line(error)) from error
    except Exception as error:
        if _state_class(getattr(error, "sqlstate", None)):  # asyncpg's own, raised while it connects
            raise Unreachable("database", _first_line(error)) from error
        raise


def _is_unreachable(error: DBAPIError) -> bool:
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return True
    return _state_class(_sqlstate(error))


def _state_class(state: str | None) -> bool:
    return state is not None and (state[:2] in UNREACHABLE_CLASSES or state in UNREACHABLE_CODES)


def _sqlstate(error: DBAPIError) -> str | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
