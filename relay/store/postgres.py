"""PostgreSQL, to grow: pooled connections, and a feed that stays in order with many writers at once."""

import ssl
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Table, Text, any_, bindparam, cast, literal, text
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from relay.domain.errors import BadSettings
from relay.store.sql import Database
from relay.store.tables import storable

CONNECTIONS = 8  # kept
CONNECTIONS_MORE = 8  # opened under load
POOL_SECONDS = 30.0
CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 60.0
IDLE_SECONDS_MAX = 1800  # hosts drop idle connections after an hour

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
VERIFYING = ("verify-ca", "verify-full")
# Words for libpq that asyncpg does not know, and nothing is lost without.
IGNORED = ("channel_binding", "target_session_attrs", "gssencmode", "keepalives", "keepalives_idle", "connection_limit")
UNNAMED = {"prepared_statement_cache_size": 0, "statement_cache_size": 0, "prepared_statement_name_func": str}

# Advisory locks: whoever migrates has the one, whoever writes events shares one whose upper 16 bits are FEED.
SCHEMA = 0x52656C6179
FEED = 0x5265 << 48
LOCK_SCHEMA = text("SELECT pg_advisory_xact_lock(CAST(:schema AS bigint))").bindparams(schema=SCHEMA)
JOIN_FEED = text(
    "SELECT pg_advisory_xact_lock_shared(CAST(:feed AS bigint) + last_value) FROM events_position_seq"
).bindparams(feed=FEED)
LAST_POSITION = text("SELECT last_value FROM events_position_seq")
LOWEST_OPEN = text(
    """
    SELECT min((classid::bigint << 32) + objid::bigint - CAST(:feed AS bigint))
      FROM pg_locks
     WHERE locktype = 'advisory' AND objsubid = 1
       AND classid::bigint >> 16 = CAST(:feed AS bigint) >> 48
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
).bindparams(feed=FEED)


class PostgresDatabase(Database):
    """One pool; readers autocommit, so that a look-up is one round trip."""

    def __init__(self, url: str) -> None:
        """Raises BadSettings when the URL's options cannot be met."""
        super().__init__()
        driver, arguments = driver_url(url)
        self.writer = create_async_engine(
            driver,
            pool_size=CONNECTIONS,
            max_overflow=CONNECTIONS_MORE,
            pool_timeout=POOL_SECONDS,
            pool_recycle=IDLE_SECONDS_MAX,
            hide_parameters=True,  # they hold secrets
            connect_args={"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS, **arguments},
        )
        # A pooler in transaction mode may give each statement outside a transaction another server.
        is_pooled = "statement_cache_size" in arguments
        self.reader = self.writer if is_pooled else self.writer.execution_options(isolation_level="AUTOCOMMIT")

    def insert(self, table: Table) -> Insert:
        return insert(table)

    def among(self, column: ColumnElement[Any], values: Collection[str]) -> ColumnElement[bool]:
        return column == any_(literal([storable(value) for value in values], ARRAY(Text)))

    def has_labels(self, column: ColumnElement[Any], labels: Mapping[str, str]) -> ColumnElement[bool]:
        return cast(column, JSONB).contains(bindparam(None, dict(labels), JSONB))

    async def join_feed(self, connection: AsyncConnection) -> None:
        """
        Positions come from a sequence and are committed in any order. So each transaction shows, by a lock that
        hinders nobody, that positions from `last_value` on may be its own; the lock goes after the commit is seen.
        """
        await connection.execute(JOIN_FEED)

    async def settled(self, connection: AsyncConnection) -> int | None:
        # In this order: who is not among the locks by then takes positions beyond the one read before.
        last: int = (await connection.execute(LAST_POSITION)).scalar_one()
        lowest_open: int | None = (await connection.execute(LOWEST_OPEN)).scalar_one()
        return last if lowest_open is None else min(last, lowest_open - 1)

    async def lock_schema(self, connection: AsyncConnection) -> None:
        await connection.execute(LOCK_SCHEMA)


def driver_url(url: str) -> tuple[URL, dict[str, Any]]:
    """
    `postgres://…?sslmode=require` as asyncpg wants it: the URL without options, and the arguments they mean.

    `pgbouncer=true` (or a `prepared_statement_cache_size` of 0) does without prepared statements, as a pooler
    in transaction mode needs it. Raises BadSettings for options that are not understood.
    """
    parsed = make_url(url)
    options = {name: value if isinstance(value, str) else value[-1] for name, value in parsed.query.items()}
    arguments: dict[str, Any] = {}
    settings = {"application_name": options.pop("application_name", "relay")}
    arguments.update(_ssl(options))
    if "connect_timeout" in options:
        arguments["timeout"] = _seconds(options.pop("connect_timeout"))
    if options.pop("pgbouncer", "") == "true" or options.pop("prepared_statement_cache_size", "") == "0":
        arguments.update(UNNAMED)
    if "options" in options:
        settings |= _server_settings(options.pop("options"))
    unknown = [name for name in options if name not in IGNORED]
    if unknown:
        raise BadSettings([f"DATABASE_URL: the option {name} is not understood; leave it out" for name in unknown])
    return parsed.set(drivername="postgresql+asyncpg", query={}), {**arguments, "server_settings": settings}


def _ssl(options: dict[str, str]) -> dict[str, Any]:
    mode = options.pop("sslmode", None) or options.pop("ssl", None)
    root = options.pop("sslrootcert", None)
    if mode is None:
        return {}
    if mode not in SSL_MODES:
        raise BadSettings([f"DATABASE_URL: sslmode is one of {', '.join(SSL_MODES)}, not {mode}"])
    if mode not in VERIFYING:
        return {"ssl": mode}
    try:
        context = ssl.create_default_context(cafile=None if root in (None, "system") else root)
    except OSError as error:
        raise BadSettings([f"DATABASE_URL: sslrootcert cannot be read: {error}"]) from error
    context.check_hostname = mode == "verify-full"
    return {"ssl": context}


def _seconds(words: str) -> float:
    try:
        return float(words)
    except ValueError:
        raise BadSettings([f"DATABASE_URL: connect_timeout is a number of seconds, not {words}"]) from None


def _server_settings(options: str) -> dict[str, str]:
    """`-c name=value -c name=value`, as libpq's `options` has it."""
    words = options.replace("-c ", "-c").split()
    pairs = [word.removeprefix("-c").partition("=") for word in words]
    return {name: value for name, _, value in pairs}
