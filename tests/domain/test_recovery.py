"""A recovery as it is shown."""

from typing import Any

from relay.domain.recovery import Recovery, RecoveryStatus, recovery_view
from tests.domain.specimens import NOW, later


def a_recovery(**changes: Any) -> Recovery:
    """A recovery of the minute before NOW, not yet begun."""
    told: dict[str, Any] = {
        "id": "rcv_00000000000000000000000001",
        "tenant": "default",
        "subscription_id": "sub_00000000000000000000000001",
        "since": later(-60),
        "until": NOW,
        "status": RecoveryStatus.RUNNING,
        "place": None,
        "recovered": 0,
        "created_at": NOW,
        "completed_at": None,
    }
    return Recovery(**{**told, **changes})


def test_a_recovery_is_shown_without_its_place_and_with_its_nulls() -> None:
    assert recovery_view(a_recovery(place="dlv_1", recovered=7)) == {
        "id": "rcv_00000000000000000000000001",
        "object": "recovery",
        "subscription": "sub_00000000000000000000000001",
        "since": "2026-03-04T05:05:07.890Z",
        "until": "2026-03-04T05:06:07.890Z",
        "status": "running",
        "recovered": 7,
        "created_at": "2026-03-04T05:06:07.890Z",
        "completed_at": None,
    }


def test_a_completed_recovery_says_when() -> None:
    view = recovery_view(a_recovery(status=RecoveryStatus.COMPLETED, completed_at=later(2)))
    assert (view["status"], view["completed_at"]) == ("completed", "2026-03-04T05:06:09.890Z")
