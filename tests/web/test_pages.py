"""Tests of lists in pages."""

from typing import Any

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


async def turned(house: House, cursor: str, limit: int = 3) -> Any:
    """The page of subscriptions that the cursor leads to."""
    return told(await house.api.get(f"/v1/subscriptions?limit={limit}&cursor={cursor}"))


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


async def test_the_way_back_shows_the_same_pages(house: House) -> None:
    made = [(await house.add_subscription())["id"] for _ in range(8)]
    made.sort(reverse=True)
    first = told(await house.api.get("/v1/subscriptions?limit=3"))
    second = await turned(house, first["next_cursor"])
    third = await turned(house, second["next_cursor"])
    assert first["prev_cursor"] is None
    assert third["next_cursor"] is None
    back = await turned(house, third["prev_cursor"])
    assert back == second
    top = await turned(house, back["prev_cursor"])
    assert top == first
    assert [one["id"] for page in (first, second, third) for one in page["data"]] == made


async def test_the_way_back_leads_through_everything_made_meanwhile_each_once(house: House) -> None:
    old = [(await house.add_subscription())["id"] for _ in range(5)]
    page = told(await house.api.get("/v1/subscriptions?limit=2"))
    page = await turned(house, page["next_cursor"], limit=2)
    seen = [one["id"] for one in page["data"]]
    new = []
    while page["prev_cursor"] is not None:
        if len(new) < 6:
            new.append((await house.add_subscription())["id"])
        page = await turned(house, page["prev_cursor"], limit=2)
        assert len(page["data"]) <= 2
        seen = [one["id"] for one in page["data"]] + seen
    assert seen == sorted([*old[1:], *new], reverse=True)


async def test_where_what_was_newer_is_gone_the_way_back_ends(house: House) -> None:
    made = [(await house.add_subscription())["id"] for _ in range(3)]
    first = told(await house.api.get("/v1/subscriptions?limit=1"))
    second = await turned(house, first["next_cursor"], limit=1)
    await house.api.delete(f"/v1/subscriptions/{max(made)}")
    top = await turned(house, second["prev_cursor"], limit=1)
    assert (top["data"], top["prev_cursor"]) == ([], None)
    again = await turned(house, top["next_cursor"], limit=1)
    assert [one["id"] for one in again["data"]] == [one["id"] for one in second["data"]]


async def test_where_what_was_older_is_gone_the_way_down_ends_and_leads_back(house: House) -> None:
    made = [(await house.add_subscription())["id"] for _ in range(3)]
    first = told(await house.api.get("/v1/subscriptions?limit=2"))
    await house.api.delete(f"/v1/subscriptions/{min(made)}")
    end = await turned(house, first["next_cursor"], limit=2)
    assert (end["data"], end["next_cursor"]) == ([], None)
    again = await turned(house, end["prev_cursor"], limit=2)
    assert [one["id"] for one in again["data"]] == [one["id"] for one in first["data"]]


async def test_a_filter_holds_on_the_way_back_too(house: House) -> None:
    await house.add_credential()
    jobs = [await house.add_job(f"c-{number}", metadata={"even": number % 2 == 0}) for number in range(10)]
    wanted = sorted((job["id"] for job in jobs[::2]), reverse=True)
    query = "/v1/jobs?metadata.even=true&limit=2"
    page = told(await house.api.get(query))
    while page["next_cursor"] is not None:
        page = told(await house.api.get(f"{query}&cursor={page['next_cursor']}"))
    seen = [one["id"] for one in page["data"]]
    while page["prev_cursor"] is not None:
        page = told(await house.api.get(f"{query}&cursor={page['prev_cursor']}"))
        seen = [one["id"] for one in page["data"]] + seen
    assert seen == wanted


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
