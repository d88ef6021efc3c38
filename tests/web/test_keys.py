"""Tests of the keys' routes."""

from relay.domain.key import looks_like_key
from tests.web.house import House, faults, opened, refused, told


async def test_a_key_is_shown_once_listed_without_itself_and_revoked(house: House) -> None:
    response = await house.api.post("/v1/keys", json={"name": "ci", "scopes": ["jobs:write", "read"]})
    key = told(response, 201)
    assert looks_like_key(key["key"])
    assert key["scopes"] == ["read", "jobs:write"]
    assert "location" not in response.headers  # a key alone is shown by no route
    listed = told(await house.api.get("/v1/keys"))["data"]
    assert key["id"] in [one["id"] for one in listed]
    assert all("key" not in one for one in listed)
    async with house.client(key["key"]) as holder:
        assert (await holder.get("/v1/jobs")).status_code == 200
        assert (await house.api.delete(f"/v1/keys/{key['id']}")).status_code == 204
        refused(await holder.get("/v1/jobs"), 401, "unauthorized")
    refused(await house.api.delete(f"/v1/keys/{key['id']}"), 404, "not_found")


async def test_a_revoked_key_is_refused_by_every_process_from_its_next_request_on(
    database_url: str, redis_url: str
) -> None:
    async with opened(database_url, redis_url) as one, opened(database_url, redis_url) as other:
        key = told(await one.api.post("/v1/keys", json={"name": "app"}), 201)
        async with one.client(key["key"]) as here, other.client(key["key"]) as there:
            for holder in (here, there):
                told(await holder.get("/v1/jobs"))
            assert (await one.api.delete(f"/v1/keys/{key['id']}")).status_code == 204
            for holder in (there, here):
                refused(await holder.get("/v1/jobs"), 401, "unauthorized")


async def test_a_key_without_scopes_told_gets_all_but_admin(house: House) -> None:
    key = told(await house.api.post("/v1/keys", json={"name": "app"}), 201)
    assert key["scopes"] == ["read", "jobs:write", "subscriptions:write", "secrets:read", "credentials:write"]


async def test_every_fault_of_a_key_is_named(house: House) -> None:
    problem = refused(await house.api.post("/v1/keys", json={"scopes": ["read", "root"], "tenant": "other"}), 422)
    assert faults(problem) == {"/name": "missing", "/scopes/1": "invalid_choice", "/tenant": "unknown_field"}
    problem = refused(await house.api.post("/v1/keys", json={"name": "a", "scopes": []}), 422)
    assert faults(problem) == {"/scopes": "too_short"}
