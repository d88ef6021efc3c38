"""Tests of lists in pages."""

from tests.web.house import House, faults, refused, told


async def collected(house: House, path: str, limit: int) -> list[str]:
    """Every id of the list, page by page."""
    ids: list[str] = []
    query = f"{path}{'&' if '?' in path else '?'}limit={limit}"
    page = told(await house.api.get(query))
    while True:
        assert len(page["data"]) <= limit
        ids += [one["id"] for one in page["data"]]
        if page["next_cursor"] is None:
            return ids
        page = told(await house.api.get(f"{query}&cursor={page['next_cursor']}"))


async def test_pages_hold_everything_once_newest_first(house: House) -> None:
    made = [(await house.add_subscription(description=str(number)))["id"] for number in range(7)]
    for limit in (1, 2, 3, 6, 7, 8, 200):
        assert await collected(house, "/v1/subscriptions", limit) == sorted(made, reverse=True)


async def test_pages_are_stable_under_inserts_and_removals(house: House) -> None:
    made = [(await house.add_subscription())["id"] for _ in range(6)]
    first = told(await house.api.get("/v1/subscriptions?limit=3"))
    assert [one["id"] for one in first["data"]] == sorted(made, reverse=True)[:3]
    for _ in range(4):
        await house.add_subscription()
    await house.api.delete(f"/v1/subscriptions/{first['data'][-1]['id']}")
    second = told(await house.api.get(f"/v1/subscriptions?limit=3&cursor={first['next_cursor']}"))
    assert [one["id"] for one in second["data"]] == sorted(made, reverse=True)[3:]
    assert second["next_cursor"] is None


async def test_a_filter_goes_on_over_pages(house: House) -> None:
    await house.add_credential()
    wanted = []
    for number in range(10):
        job = await house.add_job(f"c-{number}", metadata={"even": number % 2 == 0})
        wanted += [job["id"]] if number % 2 == 0 else []
    assert await collected(house, "/v1/jobs?metadata.even=true", 2) == sorted(wanted, reverse=True)


async def test_a_cursor_is_taken_as_it_was_given_and_by_its_own_list_alone(house: House) -> None:
    for _ in range(3):
        await house.add_subscription()
    cursor = told(await house.api.get("/v1/subscriptions?limit=1"))["next_cursor"]
    assert "sub_" not in cursor
    forged = house.relay.tokens.for_result("sub_" + "0" * 26)
    for wrong in (cursor[:-1], cursor + "A", "", "abc", forged, cursor.swapcase()):
        problem = refused(await house.api.get(f"/v1/subscriptions?cursor={wrong}"), 400, "invalid_request")
        assert faults(problem) == {"?cursor": "malformed"}
    for path in ("/v1/jobs", "/v1/events", "/v1/deliveries", "/v1/credentials", "/v1/keys"):
        refused(await house.api.get(f"{path}?cursor={cursor}"), 400, "invalid_request")


async def test_fifty_are_shown_unless_another_number_is_asked_for(house: House) -> None:
    await house.add_credential()
    jobs = [{"provider": "camb", "provider_job_id": f"c-{number}"} for number in range(210)]
    told(await house.api.post("/v1/jobs/batch", json={"jobs": jobs}))
    assert len(told(await house.api.get("/v1/jobs"))["data"]) == 50
    assert len(told(await house.api.get("/v1/jobs?limit=200"))["data"]) == 200
    assert len(await collected(house, "/v1/jobs", 200)) == 210
