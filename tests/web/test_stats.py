"""Tests of the tenant's things in numbers."""

from relay.domain.key import SCOPES
from relay.schedule import Item
from tests.web.house import House, opened, told
from tests.web.test_health import NOWHERE, put_long_ago


async def test_jobs_and_deliveries_are_counted_by_status_and_provider(house: House) -> None:
    await house.add_credential()
    await house.add_credential("vocu")
    jobs = [await house.add_job(f"c-{number}") for number in range(3)]
    await house.add_job("v-1", provider="vocu")
    told(await house.api.delete(f"/v1/jobs/{jobs[0]['id']}"))
    subscription = await house.add_subscription()
    told(await house.api.post(f"/v1/subscriptions/{subscription['id']}/test"), 202)
    stats = told(await house.api.get("/v1/stats"))
    assert stats["jobs"] == {
        "total": 4,
        "submitting": 0,
        "pending": 3,
        "completed": 0,
        "failed": 0,
        "expired": 0,
        "cancelled": 1,
    }
    assert (stats["deliveries"]["total"], stats["deliveries"]["pending"]) == (1, 1)
    assert stats["providers"] == [
        {"provider": "camb", "jobs": 3, "pending": 2},
        {"provider": "vocu", "jobs": 1, "pending": 1},
    ]


async def test_another_tenants_things_are_not_counted(house: House) -> None:
    await house.add_credential()
    await house.add_job()
    async with house.client(await house.new_key(*SCOPES, tenant="other")) as other:
        stats = told(await other.get("/v1/stats"))
    assert (stats["jobs"]["total"], stats["deliveries"]["total"], stats["providers"]) == (0, 0, [])


async def test_what_is_overdue_is_told_in_seconds(house: House) -> None:
    await put_long_ago(house, "deliver", Item("sub_a", "dlv_a"))
    stats = told(await house.api.get("/v1/stats"))
    assert stats["oldest_overdue_delivery_seconds"] > 60
    assert stats["oldest_overdue_poll_seconds"] == 0


async def test_the_counts_are_told_without_redis(database_url: str) -> None:
    async with opened(database_url, NOWHERE, RELAY_API_REQUESTS_PER_SECOND="0") as house:
        stats = told(await house.api.get("/v1/stats"))
    assert stats["jobs"]["total"] == 0
    assert stats["oldest_overdue_poll_seconds"] is None
