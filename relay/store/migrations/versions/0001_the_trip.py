"""The tables of the first release: keys, credentials, jobs, subscriptions, events, deliveries, attempts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
LABELS = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    _keys()
    _credentials()
    _jobs()
    _index_jobs()
    _subscriptions()
    _events()
    _deliveries()
    _attempts()
    _recoveries()
    _pace()
    _idempotency()


def downgrade() -> None:
    for table in (
        "idempotency",
        "pace",
        "recoveries",
        "attempts",
        "deliveries",
        "events",
        "subscriptions",
        "jobs",
        "credentials",
        "keys",
    ):
        op.drop_table(table)


def _text(name: str, *more: sa.schema.SchemaItem, is_optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, *more, nullable=is_optional)


def _moment(name: str, *, is_optional: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=is_optional)


def _number(name: str, *, is_optional: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=is_optional)


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def _index_only(table: str, name: str, where: str, *columns: str) -> None:
    condition = sa.text(where)
    op.create_index(f"ix_{table}_{name}", table, columns, sqlite_where=condition, postgresql_where=condition)


def _keys() -> None:
    op.create_table(
        "keys",
        _text("id"),
        _text("tenant"),
        _text("name"),
        _text("scopes"),
        _text("digest"),
        _moment("created_at"),
        _moment("last_used_at", is_optional=True),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("digest", name="uq_keys_digest"),
    )
    _index("keys", "tenant", "id")


def _credentials() -> None:
    op.create_table(
        "credentials",
        _text("id"),
        _text("tenant"),
        _text("name"),
        _text("provider"),
        _text("secrets"),
        _text("params"),
        _text("base_url", is_optional=True),
        sa.Column("max_requests_per_second", sa.Float),
        _number("max_concurrency", is_optional=True),
        _text("status"),
        _text("status_reason", is_optional=True),
        _moment("throttled_until", is_optional=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
        sa.UniqueConstraint("tenant", "provider", "name", name="uq_credentials_tenant_provider_name"),
    )
    _index("credentials", "tenant", "id")


def _jobs() -> None:
    op.create_table(
        "jobs",
        _text("id"),
        _text("tenant"),
        _text("provider"),
        _text("credential_id"),
        _text("provider_job_id", is_optional=True),
        _text("params"),
        _text("metadata"),
        sa.Column("labels", LABELS),
        _text("status"),
        _text("provider_status", is_optional=True),
        _moment("created_at"),
        _moment("started_at", is_optional=True),
        _moment("completed_at", is_optional=True),
        _moment("deadline_at"),
        _number("polls"),
        _text("result", is_optional=True),
        _text("error", is_optional=True),
        _text("warnings"),
        _text("tracking", is_optional=True),
        _text("submission", is_optional=True),
        _moment("result_fetched_at", is_optional=True),
        _moment("link_revoked_at", is_optional=True),
        _text("trace_id", is_optional=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("tracking", name="uq_jobs_tracking"),
        sa.UniqueConstraint("submission", name="uq_jobs_submission"),
    )


def _index_jobs() -> None:
    _index("jobs", "tenant", "id")
    _index("jobs", "tenant", "status", "id")
    _index("jobs", "tenant", "provider", "id")
    _index("jobs", "tenant", "credential_id", "id")
    _index("jobs", "tenant", "provider_job_id", "id")
    _index_only("jobs", "pending", "status = 'pending'", "id")
    _index_only("jobs", "pending_created_at", "status = 'pending'", "created_at")
    _index_only("jobs", "pending_deadline_at", "status = 'pending'", "deadline_at")
    _index_only("jobs", "pending_credential_id", "status = 'pending'", "credential_id")
    _index_only("jobs", "submitting_deadline_at", "status = 'submitting'", "deadline_at")
    _index_only("jobs", "submitting_credential_id", "status = 'submitting'", "credential_id")
    _index_only("jobs", "ended", "completed_at IS NOT NULL", "completed_at")
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_jobs_labels",
            "jobs",
            ["labels"],
            postgresql_using="gin",
            postgresql_ops={"labels": "jsonb_path_ops"},
            postgresql_where=sa.text("labels IS NOT NULL"),
        )


def _subscriptions() -> None:
    op.create_table(
        "subscriptions",
        _text("id"),
        _text("tenant"),
        _text("url"),
        _text("event_types"),
        _text("filter"),
        _text("description", is_optional=True),
        _text("metadata"),
        _text("headers"),
        _text("payload"),
        _number("max_in_flight"),
        _text("secrets"),
        _text("signing_keys", is_optional=True),
        _text("public_keys", is_optional=True),
        sa.Column("wants_handshake", sa.Boolean, nullable=False),
        _number("requests_per_minute", is_optional=True),
        _text("status"),
        _text("disabled_reason", is_optional=True),
        _text("job_id", is_optional=True),
        _moment("failing_since", is_optional=True),
        _moment("last_success_at", is_optional=True),
        _moment("hold_until", is_optional=True),
        _moment("created_at"),
        _moment("updated_at"),
        _moment("removed_at", is_optional=True),
        sa.PrimaryKeyConstraint("id", name="pk_subscriptions"),
    )
    _index("subscriptions", "tenant", "id")
    _index_only("subscriptions", "job_id", "job_id IS NOT NULL", "job_id")
    _index_only("subscriptions", "listening", "job_id IS NULL AND removed_at IS NULL", "tenant")
    _index_only("subscriptions", "public_keys", "public_keys IS NOT NULL", "id")
    _index_only("subscriptions", "removed_at", "removed_at IS NOT NULL", "removed_at")


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("position", SEQUENCE, autoincrement=True, nullable=False),
        _text("id"),
        _text("tenant"),
        _text("type"),
        _text("body"),
        _text("job_id", is_optional=True),
        _text("ending_of", is_optional=True),
        _moment("created_at"),
        _text("trace_id", is_optional=True),
        sa.PrimaryKeyConstraint("position", name="pk_events"),
        sa.UniqueConstraint("id", name="uq_events_id"),
        sa.UniqueConstraint("ending_of", name="uq_events_ending_of"),
        sqlite_autoincrement=True,
    )
    _index("events", "tenant", "id")
    _index("events", "tenant", "position")
    _index("events", "tenant", "type", "id")
    _index("events", "created_at")
    _index_only("events", "job_id", "job_id IS NOT NULL", "job_id")


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        _text("id"),
        _text("tenant"),
        _text("event_id"),
        _text("event_type"),
        _text("job_id", is_optional=True),
        _text("subscription_id"),
        _text("url"),
        _text("status"),
        _number("attempts_made"),
        _number("steps"),
        sa.Column("has_quick_retried", sa.Boolean, nullable=False),
        _text("next_trigger"),
        _moment("next_attempt_at", is_optional=True),
        _moment("expires_at", is_optional=True),
        _moment("created_at"),
        _moment("completed_at", is_optional=True),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name="fk_deliveries_event_id_events", ondelete="CASCADE"),
        sa.UniqueConstraint("event_id", "subscription_id", name="uq_deliveries_event_id_subscription_id"),
    )
    _index("deliveries", "tenant", "id")
    _index("deliveries", "tenant", "status", "id")
    _index("deliveries", "subscription_id", "id")
    _index_only("deliveries", "job_id", "job_id IS NOT NULL", "job_id")
    _index_only("deliveries", "pending", "status = 'pending'", "id")
    _index_only("deliveries", "pending_created_at", "status = 'pending'", "created_at")
    _index_only("deliveries", "pending_subscription_id", "status = 'pending'", "subscription_id")
    _index_only("deliveries", "held_subscription_id", "status = 'held'", "subscription_id")


def _attempts() -> None:
    op.create_table(
        "attempts",
        _text("id"),
        _text("tenant"),
        _text("delivery_id"),
        _number("number"),
        _text("trigger"),
        _moment("started_at"),
        _text("request_headers"),
        _text("answer"),
        _text("blame"),
        _number("status_code", is_optional=True),
        _text("response_headers"),
        _text("response_body"),
        sa.Column("is_truncated", sa.Boolean, nullable=False),
        _number("duration_ms"),
        _text("timing"),
        sa.Column("retry_after_seconds", sa.Float),
        _text("hint", is_optional=True),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name="fk_attempts_delivery_id_deliveries", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("delivery_id", "number", name="uq_attempts_delivery_id_number"),
    )


def _recoveries() -> None:
    op.create_table(
        "recoveries",
        _text("id"),
        _text("tenant"),
        _text("subscription_id"),
        _moment("since"),
        _moment("until"),
        _text("status"),
        _text("place", is_optional=True),
        _number("recovered"),
        _moment("created_at"),
        _moment("completed_at", is_optional=True),
        sa.PrimaryKeyConstraint("id", name="pk_recoveries"),
    )
    _index("recoveries", "subscription_id", "id")
    _index_only("recoveries", "running", "status = 'running'", "id")
    _index_only("recoveries", "completed_at", "completed_at IS NOT NULL", "completed_at")


def _pace() -> None:
    op.create_table(
        "pace",
        sa.Column("position", SEQUENCE, autoincrement=True, nullable=False),
        _text("provider"),
        _text("kind"),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        _moment("observed_at"),
        sa.PrimaryKeyConstraint("position", name="pk_pace"),
    )
    _index("pace", "provider", "kind", "position")


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        _text("tenant"),
        _text("key"),
        _text("fingerprint"),
        _number("status_code", is_optional=True),
        _text("headers", is_optional=True),
        _text("body", is_optional=True),
        _moment("created_at"),
        _text("holder"),
        _moment("lives_until"),
        sa.PrimaryKeyConstraint("tenant", "key", name="pk_idempotency"),
    )
    _index("idempotency", "created_at")
