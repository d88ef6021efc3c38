"""The tables as they are at head, so that every query and every migration test reads one description."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from relay.domain.moments import from_ms, to_ms

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
compact = json.JSONEncoder(separators=(",", ":")).encode  # made once: json.dumps makes one for every call
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(words: str) -> str:
    """The same text without what PostgreSQL or UTF-8 refuses: NUL and lone surrogates become U+FFFD."""
    if not words.isascii():
        words = words.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return words.replace("\0", REPLACEMENT) if "\0" in words else words


class Words(TypeDecorator[str]):
    """Text from anywhere: a receiver's body with a NUL in it must not poison the batch it is written with."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class Moment(TypeDecorator[datetime]):
    """Aware UTC moments as whole milliseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_ms(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_ms(value)


class Json(TypeDecorator[Any]):
    """JSON as compact ASCII text: key order and every code point survive, which JSONB would not grant."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else compact(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


metadata = MetaData(naming_convention=NAMING)

SEQUENCE = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts by itself in INTEGER alone
LABELS = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _only(table: str, name: str, where: str, *columns: str) -> Index:
    condition = text(where)
    return Index(f"ix_{table}_{name}", *columns, sqlite_where=condition, postgresql_where=condition)


keys = Table(
    "keys",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("scopes", Json, nullable=False),
    Column("digest", Words, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("last_used_at", Moment),
    Index(None, "tenant", "id"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("provider", Words, nullable=False),
    Column("secrets", Text, nullable=False),  # encrypted
    Column("params", Json, nullable=False),
    Column("base_url", Words),
    Column("max_requests_per_second", Float),
    Column("max_concurrency", Integer),
    Column("status", Words, nullable=False),
    Column("status_reason", Words),
    Column("throttled_until", Moment),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("tenant", "provider", "name"),
    Index(None, "tenant", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant", Words, nullable=False),
    Column("provider", Words, nullable=False),
    Column("credential_id", Words, nullable=False),
    Column("provider_job_id", Words),  # NULL: the provider has not named it
    Column("params", Json, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("labels", LABELS),  # the metadata's scalars as text, for filters; NULL when there are none
    Column("status", Words, nullable=False),
    Column("provider_status", Words),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("completed_at", Moment),
    Column("deadline_at", Moment, nullable=False),
    Column("polls", Integer, nullable=False),
    Column("result", Json),
    Column("error", Json),
    Column("warnings", Json, nullable=False),
    Column("tracking", Words, unique=True),
    Column("submission", Words, unique=True),
    Column("result_fetched_at", Moment),
    Column("link_revoked_at", Moment),
    Column("trace_id", Words),
    Index(None, "tenant", "id"),
    Index(None, "tenant", "status", "id"),
    Index(None, "tenant", "provider", "id"),
    Index(None, "tenant", "credential_id", "id"),
    Index(None, "tenant", "provider_job_id", "id"),
    _only("jobs", "pending", "status = 'pending'", "id"),
    _only("jobs", "pending_created_at", "status = 'pending'", "created_at"),
    _only("jobs", "pending_deadline_at", "status = 'pending'", "deadline_at"),
    _only("jobs", "pending_credential_id", "status = 'pending'", "credential_id"),
    _only("jobs", "submitting_deadline_at", "status = 'submitting'", "deadline_at"),
    _only("jobs", "submitting_credential_id", "status = 'submitting'", "credential_id"),
    _only("jobs", "ended", "completed_at IS NOT NULL", "completed_at"),
    Index(
        "ix_jobs_labels",
        "labels",
        postgresql_using="gin",
        postgresql_ops={"labels": "jsonb_path_ops"},
        postgresql_where=text("labels IS NOT NULL"),
    ).ddl_if(dialect="postgresql"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant", Words, nullable=False),
    Column("url", Words, nullable=False),
    Column("event_types", Json, nullable=False),
    Column("filter", Json, nullable=False),
    Column("description", Words),
    Column("metadata", Json, nullable=False),
    Column("headers", Text, nullable=False),  # encrypted
    Column("payload", Words, nullable=False),
    Column("max_in_flight", Integer, nullable=False),
    Column("secrets", Text, nullable=False),  # encrypted
    Column("signing_keys", Text),  # encrypted; the private halves of `public_keys`, in their order
    Column("public_keys", Json),
    Column("wants_handshake", Boolean, nullable=False),
    Column("requests_per_minute", Integer),
    Column("status", Words, nullable=False),
    Column("disabled_reason", Words),
    Column("job_id", Words),
    Column("failing_since", Moment),
    Column("last_success_at", Moment),
    Column("hold_until", Moment),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("removed_at", Moment),  # set: gone for everybody, kept only until nothing of it is left to cancel
    Index(None, "tenant", "id"),
    _only("subscriptions", "job_id", "job_id IS NOT NULL", "job_id"),
    _only("subscriptions", "listening", "job_id IS NULL AND removed_at IS NULL", "tenant"),
    _only("subscriptions", "public_keys", "public_keys IS NOT NULL", "id"),
    _only("subscriptions", "removed_at", "removed_at IS NOT NULL", "removed_at"),
)

events = Table(
    "events",
    metadata,
    Column("position", SEQUENCE, primary_key=True, autoincrement=True),  # the order of acceptance
    Column("id", Words, nullable=False, unique=True),
    Column("tenant", Words, nullable=False),
    Column("type", Words, nullable=False),
    Column("body", Words, nullable=False),
    Column("job_id", Words),
    Column("ending_of", Words, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("trace_id", Words),
    Index(None, "tenant", "id"),
    Index(None, "tenant", "position"),
    Index(None, "tenant", "type", "id"),
    Index(None, "created_at"),
    _only("events", "job_id", "job_id IS NOT NULL", "job_id"),
    sqlite_autoincrement=True,  # a pruned position is never given out again
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant", Words, nullable=False),
    Column("event_id", Words, ForeignKey("events.id", ondelete="CASCADE"), nullable=False),
    Column("event_type", Words, nullable=False),
    Column("job_id", Words),
    Column("subscription_id", Words, nullable=False),
    Column("url", Words, nullable=False),
    Column("status", Words, nullable=False),
    Column("attempts_made", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("has_quick_retried", Boolean, nullable=False),
    Column("next_trigger", Words, nullable=False),
    Column("next_attempt_at", Moment),
    Column("expires_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("completed_at", Moment),
    UniqueConstraint("event_id", "subscription_id"),
    Index(None, "tenant", "id"),
    Index(None, "tenant", "status", "id"),
    Index(None, "subscription_id", "id"),
    _only("deliveries", "job_id", "job_id IS NOT NULL", "job_id"),
    _only("deliveries", "pending", "status = 'pending'", "id"),
    _only("deliveries", "pending_created_at", "status = 'pending'", "created_at"),
    _only("deliveries", "pending_subscription_id", "status = 'pending'", "subscription_id"),
    _only("deliveries", "held_subscription_id", "status = 'held'", "subscription_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant", Words, nullable=False),
    Column("delivery_id", Words, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("trigger", Words, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("request_headers", Json, nullable=False),
    Column("answer", Words, nullable=False),
    Column("blame", Words, nullable=False),
    Column("status_code", Integer),
    Column("response_headers", Json, nullable=False),
    Column("response_body", Words, nullable=False),
    Column("is_truncated", Boolean, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("timing", Json, nullable=False),
    Column("retry_after_seconds", Float),
    Column("hint", Words),
    UniqueConstraint("delivery_id", "number"),
)

recoveries = Table(
    "recoveries",
    metadata,
    Column("id", Words, primary_key=True),
    Column("tenant", Words, nullable=False),
    Column("subscription_id", Words, nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment, nullable=False),
    Column("status", Words, nullable=False),
    Column("place", Words),
    Column("recovered", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("completed_at", Moment),
    Index(None, "subscription_id", "id"),
    _only("recoveries", "running", "status = 'running'", "id"),
    _only("recoveries", "completed_at", "completed_at IS NOT NULL", "completed_at"),
)

pace = Table(
    "pace",
    metadata,
    Column("position", SEQUENCE, primary_key=True, autoincrement=True),
    Column("provider", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("observed_at", Moment, nullable=False),
    Index(None, "provider", "kind", "position"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Words, nullable=False),
    Column("key", Words, nullable=False),
    Column("fingerprint", Words, nullable=False),
    Column("status_code", Integer),  # NULL: still in flight
    Column("headers", Json),
    Column("body", Text),  # encrypted: answers show new secrets once
    Column("created_at", Moment, nullable=False),  # when it was first opened, whoever has it now
    Column("holder", Words, nullable=False),  # the try that makes the call; another may have taken it over
    Column("lives_until", Moment, nullable=False),  # of its holder, unless it gives another sign of life
    PrimaryKeyConstraint("tenant", "key"),
    Index(None, "created_at"),
)

# Constants in the statement, not parameters: only so is it known, when it is planned, that a partial index fits.
JOB_IS_PENDING = jobs.c.status == literal_column("'pending'")
JOB_IS_SUBMITTING = jobs.c.status == literal_column("'submitting'")
DELIVERY_IS_PENDING = deliveries.c.status == literal_column("'pending'")
DELIVERY_IS_HELD = deliveries.c.status == literal_column("'held'")
RECOVERY_IS_RUNNING = recoveries.c.status == literal_column("'running'")
