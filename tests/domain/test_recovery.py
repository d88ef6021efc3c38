"""The shape of a recovery: what it says while it runs and when it is through."""

from dataclasses import replace
from datetime import UTC, datetime

from relay.domain.recovery import Recovery, RecoveryStatus, recovery_view

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUNNING = Recovery("rcv_1", "acme", "sub_1", NOW, NOW, RecoveryStatus.RUNNING, None, 0, NOW, None)


def test_a_running_recovery_shows_how_far_it_is_and_no_end() -> None:
    view = recovery_view(replace(RUNNING, place="dlv_7", recovered=7))
    assert (view["status"], view["recovered"], view["completed_at"]) == ("running", 7, None)
    assert "place" not in view


def test_a_completed_recovery_says_when() -> None:
    done = replace(RUNNING, status=RecoveryStatus.COMPLETED, completed_at=NOW)
    assert recovery_view(done)["completed_at"] == "2026-01-02T03:04:05.000Z"
