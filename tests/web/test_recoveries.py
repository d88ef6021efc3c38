"""Recoveries by the API."""

from datetime import timedelta
from typing import Any

import pytest

from relay.domain.moments import rfc3339
from tests.web.house import House, faults, refused, told

SINCE = "2026-01-02T03:04:05.678Z"


async def test_a_recovery_is_asked_for_and_seen(house: House) -> None:
    """M5."""
    subscription = await house.add_subscription()
    path = f"/v1/subscriptions/{subscription['id']}/recovery"
    answer = await house.api.post(path, json={"since": SINCE})
    recovery = told(answer, 202)
    assert answer.headers["location"] == path
    assert (recovery["object"], recovery["subscription"], recovery["since"]) == (
        "recovery",
        subscription["id"],
        SINCE,
    )
    assert (recovery["status"], recovery["recovered"], recovery["completed_at"]) == ("running", 0, None)
    second = told(await house.api.post(path, json={"since": SINCE, "until": "2026-01-03T00:00:00+01:00"}), 202)
    assert second["until"] == "2026-01-02T23:00:00.000Z"
    await house.relay.sweep.tick()
    await house.relay.sweep.tick()
    page = told(await house.api.get(path, params={"limit": 1}))
    (shown,) = page["data"]
    assert (shown["id"], shown["status"], shown["recovered"]) == (second["id"], "completed", 0)
    (older,) = told(await house.api.get(path, params={"cursor": page["next_cursor"]}))["data"]
    assert older["id"] == recovery["id"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"/since": "missing"}),
        ({"since": "yesterday"}, {"/since": "invalid_format"}),
        ({"since": "2026-01-02T03:04:05", "until": 7}, {"/since": "invalid_format", "/until": "invalid_type"}),
        ({"since": SINCE, "until": "2026-13-01T00:00:00Z"}, {"/until": "invalid_format"}),
        ({"since": SINCE, "until": SINCE}, {"/since": "out_of_range"}),
        ({"since": SINCE, "until": None, "colour": "red"}, {"/colour": "unknown_field"}),
    ],
)
async def test_every_fault_of_a_recovery_is_named(house: House, body: dict[str, Any], expected: dict[str, str]) -> None:
    subscription = await house.add_subscription()
    answer = await house.api.post(f"/v1/subscriptions/{subscription['id']}/recovery", json=body)
    assert faults(refused(answer, 422)) == expected


async def test_a_recovery_does_not_begin_in_the_future(house: House) -> None:
    subscription = await house.add_subscription()
    body = {"since": rfc3339(house.relay.clock.now() + timedelta(hours=1))}
    answer = await house.api.post(f"/v1/subscriptions/{subscription['id']}/recovery", json=body)
    assert faults(refused(answer, 422)) == {"/since": "out_of_range"}


@pytest.mark.parametrize("status", ["paused", "disabled"])
async def test_a_subscription_that_is_not_called_is_not_recovered(house: House, status: str) -> None:
    """M4."""
    subscription = await house.add_subscription()
    told(await house.api.patch(f"/v1/subscriptions/{subscription['id']}", json={"status": status}))
    answer = await house.api.post(f"/v1/subscriptions/{subscription['id']}/recovery", json={"since": SINCE})
    refused(answer, 409, "subscription_not_active")
