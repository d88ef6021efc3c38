"""Sending again what never succeeded: a task that may take its time, and that no crash makes forget its place."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from relay.domain.moments import rfc3339


class RecoveryStatus(StrEnum):
    """`running` also while its subscription is paused or disabled: it then waits for the activation."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Recovery:
    """
    What was decided for a subscription in [since, until) and did not succeed is sent again.

    `place` is the last delivery that was worked off; None before the first. `recovered` counts them.
    """

    id: str
    tenant: str
    subscription_id: str
    since: datetime
    until: datetime
    status: RecoveryStatus
    place: str | None
    recovered: int
    created_at: datetime
    completed_at: datetime | None


def recovery_view(recovery: Recovery) -> dict[str, Any]:
    """The recovery as the API shows it."""
    return {
        "id": recovery.id,
        "object": "recovery",
        "subscription": recovery.subscription_id,
        "since": rfc3339(recovery.since),
        "until": rfc3339(recovery.until),
        "status": str(recovery.status),
        "recovered": recovery.recovered,
        "created_at": rfc3339(recovery.created_at),
        "completed_at": rfc3339(recovery.completed_at),
    }
