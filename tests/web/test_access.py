"""Tests of keys and scopes."""

import pytest

from relay.domain.key import SCOPES
from relay.domain.moments import parse_rfc3339
from relay.web.access import KEY_CHARACTERS_MAX
from relay.web.calls import Operation
from relay.web.routes import OPERATIONS
from tests.trips import TENANT, make_subscription
from tests.web.house import ENVIRONMENT_KEY, House, refused, told

OPEN = ("/healthz", "/readyz", "/metrics", "/problems/not_found")


def path_of(operation: Operation) -> str:
    return operation.path.format(id="job_" + "0" * 26, name="camb")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
async def test_every_route_wants_a_key_with_its_scope(house: House, operation: Operation) -> None:
    async with house.client(None) as nobody:
        response = await nobody.request(operation.method, path_of(operation))
        refused(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith("Bearer ")
    others = [scope for scope in SCOPES if scope not in (operation.scope, "admin")]
    async with house.client(await house.new_key(*others)) as other:
        problem = refused(await other.request(operation.method, path_of(operation)), 403, "forbidden")
        assert f"`{operation.scope}`" in problem["detail"]
    async with house.client(await house.new_key("admin")) as admin:
        response = await admin.request(operation.method, path_of(operation))
        assert response.status_code not in (401, 403)


async def test_a_key_of_one_scope_may_do_that_alone(house: House) -> None:
    async with house.client(await house.new_key("subscriptions:write")) as writer:
        refused(await writer.get("/v1/subscriptions"), 403, "forbidden")
        response = await writer.post("/v1/subscriptions", json={"url": "http://127.0.0.1/"})
        subscription = told(response, 201)
        refused(await writer.get(f"/v1/subscriptions/{subscription['id']}/secret"), 403, "forbidden")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "rl_abc",
        "Bearer rl_abc",
        "Bearer é",
        f"Bearer {'x' * KEY_CHARACTERS_MAX}x",
    ],
)
async def test_what_is_no_key_is_401(house: House, authorization: str) -> None:
    async with house.client(None) as nobody:
        headers = [(b"authorization", authorization.encode())]
        refused(await nobody.get("/v1/jobs", headers=headers), 401, "unauthorized")


async def test_a_mistyped_key_and_an_unknown_one_are_401(house: House) -> None:
    key = await house.new_key()
    swapped = key[:10] + key[11] + key[10] + key[12:]
    for wrong in (swapped if swapped != key else key + "x", key[:-1], key + "0", key.lower()):
        async with house.client(wrong) as nobody:
            refused(await nobody.get("/v1/jobs"), 401, "unauthorized")


async def test_the_word_bearer_may_be_written_in_any_capitals(house: House) -> None:
    async with house.client(None) as anybody:
        key = await house.new_key()
        assert (await anybody.get("/v1/jobs", headers={"authorization": f"bEARER  {key}"})).status_code == 200


async def test_the_key_of_the_environment_is_of_tenant_default_with_every_scope(house: House) -> None:
    async with house.client(ENVIRONMENT_KEY) as api:
        key = told(await api.post("/v1/keys", json={"name": "second"}), 201)
        assert key["tenant"] == "default"
        assert (await api.get("/v1/subscriptions")).json()["data"] == []
    await house.relay.store.add_subscription(make_subscription(house.relay, "http://127.0.0.1/"))
    async with house.client(ENVIRONMENT_KEY) as api:
        assert (await api.get("/v1/subscriptions")).json()["data"] == []


async def test_the_key_is_asked_for_before_anything_is_said_of_the_request(house: House) -> None:
    async with house.client(None) as nobody:
        refused(await nobody.get("/v1/jobs?surprise=1"), 401)
        refused(await nobody.post("/v1/jobs", content=b"{"), 401)


async def test_the_last_use_is_noted_at_most_once_a_minute(house: House) -> None:
    async def last_used_at() -> str | None:
        (key,) = [one for one in (await house.api.get("/v1/keys")).json()["data"] if one["name"] == "watched"]
        used: str | None = key["last_used_at"]
        return used

    made = told(await house.api.post("/v1/keys", json={"name": "watched"}), 201)
    assert made["last_used_at"] is None
    before = house.relay.clock.now()
    async with house.client(made["key"]) as api:
        await api.get("/v1/jobs")
        first = await last_used_at()
        assert first is not None
        assert parse_rfc3339(first) >= before
        await api.get("/v1/jobs")
        assert await last_used_at() == first


async def test_routes_without_a_key_take_none(house: House) -> None:
    async with house.client(None) as nobody:
        for path in OPEN:
            assert (await nobody.get(path)).status_code == 200, path


async def test_a_key_works_for_its_own_tenant_alone(house: House) -> None:
    await house.add_subscription()
    async with house.client(await house.new_key(tenant="other")) as other:
        assert (await other.get("/v1/subscriptions")).json()["data"] == []
    async with house.client(await house.new_key(tenant=TENANT)) as same:
        assert len((await same.get("/v1/subscriptions")).json()["data"]) == 1
