"""How often a key may call: told in every answer, and a refusal that says when to come back."""

from tests.web.house import opened, refused, told


async def test_a_key_that_calls_too_often_is_told_when_to_come_back(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url, RELAY_API_REQUESTS_PER_SECOND="2") as house:
        for left in (3, 2, 1, 0):
            answer = await house.api.get("/v1/event-types")
            assert (answer.status_code, answer.headers["ratelimit-remaining"]) == (200, str(left))
        too_often = await house.api.get("/v1/event-types")
        refused(too_often, 429, "too_many_requests")
        assert int(too_often.headers["retry-after"]) >= 1
        assert too_often.headers["ratelimit-limit"] == "4"
        other = house.client(await house.new_key("read"))
        assert told(await other.get("/v1/event-types"))


async def test_without_a_limit_nothing_is_counted(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url, RELAY_API_REQUESTS_PER_SECOND="0") as house:
        answer = await house.api.get("/v1/event-types")
        assert "ratelimit-limit" not in answer.headers
