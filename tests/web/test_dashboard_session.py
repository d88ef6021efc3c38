"""Tests of the dashboard's door: who gets in, for how long, and from where."""

import httpx
import pytest

from relay.domain.ids import make_id
from relay.domain.moments import from_ms, to_ms
from tests.trips import TENANT
from tests.web.house import ENVIRONMENT_KEY, House, opened, refused
from tests.web.visitor import OWN, Visitor, signed_in

COOKIE = "relay_session"
PAGES = ("jobs", "deliveries", "subscriptions", "credentials")


async def test_whoever_has_not_signed_in_is_asked_to_on_every_page(house: House) -> None:
    async with house.client(None) as client:
        visitor = Visitor(client)
        assert 'type="password"' in await visitor.page("/")
        for name in PAGES:
            page = await visitor.page(f"/dashboard/{name}", 401)
            assert f'name="way" value="/dashboard/{name}"' in page
        answer = await visitor.send("/dashboard/jobs/job_x/refresh")
        assert answer.status_code == 401


async def test_a_good_key_opens_a_session_that_does_not_hold_it(house: House) -> None:
    key = await house.new_key("read")
    async with house.client(None) as client:
        visitor = Visitor(client)
        response = await visitor.send("/dashboard/sign-in", key=f" {key} ", way="/dashboard/jobs")
        assert (response.status_code, response.headers["location"]) == (303, "/dashboard/jobs")
        cookie = response.headers["set-cookie"]
        assert key not in cookie
        assert cookie.startswith(f"{COOKIE}=")
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert attributes == {"httponly", "max-age=43200", "path=/", "samesite=lax"}
        told = house.relay.tokens.told_by(client.cookies[COOKIE])
        assert told is not None
        key_id, ends_ms, _ = told.split(" ")
        assert key_id.startswith("key_")
        lasts = from_ms(int(ends_ms)) - house.relay.clock.now()
        assert 11.9 < lasts.total_seconds() / 3600 <= 12
        page = await visitor.page("/")
        assert "Sign out" in page
        assert key not in page


@pytest.mark.parametrize("way", ["https://elsewhere.example", "//elsewhere.example", "/dashboard/../x", "/v1/jobs", ""])
async def test_the_form_leads_nowhere_but_to_a_page_of_the_dashboard(house: House, way: str) -> None:
    async with house.client(None) as client:
        response = await Visitor(client).send("/dashboard/sign-in", key=await house.new_key(), way=way)
        assert response.headers["location"] == "/"


@pytest.mark.parametrize("key", ["", " ", "rl_wrong", "rl_" + "0" * 49, "é", "x" * 600])
async def test_a_wrong_key_gets_the_form_again_and_no_cookie(house: House, key: str) -> None:
    async with house.client(None) as client:
        response = await Visitor(client).send("/dashboard/sign-in", key=key)
        assert response.status_code == 401
        assert 'role="alert"' in response.text
        assert "set-cookie" not in response.headers


async def test_a_form_that_is_too_long_or_no_form_at_all_opens_nothing(house: House) -> None:
    async with house.client(None) as client:
        assert (await Visitor(client).send("/dashboard/sign-in", key="x" * 5000)).status_code == 413
        for body in (b"\xff\xfe=\x00", b"", b"&&==&"):
            assert (await client.post("/dashboard/sign-in", content=body, headers=OWN)).status_code == 401


async def test_the_key_of_the_environment_opens_a_session_that_ends_when_it_is_replaced(
    database_url: str, redis_url: str
) -> None:
    async with opened(database_url, redis_url) as house, signed_in(house, ENVIRONMENT_KEY) as visitor:
        assert "RELAY_API_KEY" in await visitor.page("/")
        cookie = visitor.client.cookies[COOKIE]
    for more in ({"RELAY_API_KEY": "another key of the environment"}, {"RELAY_API_KEY": ""}):
        async with opened(database_url, redis_url, **more) as later, later.client(None) as client:
            client.cookies.set(COOKIE, cookie)
            await Visitor(client).page("/dashboard/jobs", 401)
    async with opened(database_url, redis_url) as same, same.client(None) as client:
        client.cookies.set(COOKIE, cookie)
        await Visitor(client).page("/dashboard/jobs")


async def test_a_session_ends_at_once_when_its_key_is_revoked(house: House) -> None:
    async with signed_in(house) as visitor, signed_in(house) as other:
        await visitor.page("/dashboard/jobs")
        told = house.relay.tokens.told_by(visitor.client.cookies[COOKIE]) or ""
        assert await house.relay.store.revoke_key(TENANT, told.split(" ")[0])
        await visitor.page("/dashboard/jobs", 401)
        await other.page("/dashboard/jobs")


async def test_a_forged_or_an_old_cookie_opens_nothing(house: House) -> None:
    async with signed_in(house) as visitor:
        good = visitor.client.cookies[COOKIE]
        key_id, ends_ms, _ = (house.relay.tokens.told_by(good) or "").split(" ")
        now_ms = to_ms(house.relay.clock.now())
        stranger = make_id("key", now_ms, bytes(10))
        bad = {
            "forged": good[:-3] + ("aaa" if not good.endswith("aaa") else "bbb"),
            "a cursor": house.relay.tokens.for_cursor(f"{key_id} {ends_ms} "),
            "over": house.relay.tokens.for_session(f"{key_id} {now_ms} "),
            "nobody's": house.relay.tokens.for_session(f"{stranger} {ends_ms} "),
            "the environment's, by a guess": house.relay.tokens.for_session(f"key_environment {ends_ms} "),
            "empty": "",
        }
        for name, cookie in bad.items():
            async with house.client(None) as client:
                client.cookies.set(COOKIE, cookie)
                response = await client.get("/dashboard/jobs")
                assert response.status_code == 401, name
        await visitor.page("/dashboard/jobs")


async def test_signing_out_takes_the_cookie_back(house: House) -> None:
    async with signed_in(house) as visitor:
        response = await visitor.send("/dashboard/sign-out")
        assert (response.status_code, response.headers["location"]) == (303, "/")
        assert COOKIE not in visitor.client.cookies
        await visitor.page("/dashboard/jobs", 401)


STRANGE = [
    {},
    {"origin": "null"},
    {"origin": "https://elsewhere.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", **OWN},
    {"sec-fetch-site": "none"},
]


@pytest.mark.parametrize("headers", STRANGE)
async def test_a_form_of_another_site_is_refused_whatever_it_carries(house: House, headers: dict[str, str]) -> None:
    subscription = await house.add_subscription()
    key = await house.new_key()
    async with signed_in(house, key) as visitor:
        paths = ("/dashboard/sign-in", "/dashboard/sign-out", f"/dashboard/subscriptions/{subscription['id']}/test")
        for path in paths:
            response = await visitor.client.post(path, data={"key": key}, headers=headers)
            assert response.status_code == 403, path
            assert "set-cookie" not in response.headers
        assert (await house.api.get("/v1/deliveries")).json()["data"] == []
        await visitor.page("/dashboard/jobs")


async def test_behind_https_the_cookie_is_for_this_host_and_for_tls_alone(database_url: str, redis_url: str) -> None:
    url = "https://relay.example"
    async with opened(database_url, redis_url, RELAY_PUBLIC_URL=url) as house:
        key = await house.new_key("read")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(house.app), base_url=url) as client:
            response = await client.post("/dashboard/sign-in", data={"key": key}, headers={"origin": url})
            cookie = response.headers["set-cookie"]
            assert cookie.startswith(f"__Host-{COOKIE}=")
            assert {"Secure", "Path=/", "HttpOnly"} <= {part.strip() for part in cookie.split(";")}
            assert "Domain" not in cookie
            assert (await client.get("/dashboard/jobs")).status_code == 200


async def test_without_a_dashboard_there_is_nothing_at_its_addresses(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url, RELAY_DASHBOARD="false") as house, house.client(None) as client:
        for path in ("/", "/dashboard/jobs", "/assets/dashboard.css"):
            refused(await client.get(path), 404, "not_found")
        refused(await client.post("/dashboard/sign-in", data={"key": ENVIRONMENT_KEY}, headers=OWN), 404, "not_found")


async def test_a_page_counts_as_a_call_of_its_key(database_url: str, redis_url: str) -> None:
    async with (
        opened(database_url, redis_url, RELAY_API_REQUESTS_PER_SECOND="1") as house,
        signed_in(house) as visitor,
    ):
        answers = [await visitor.client.get("/dashboard/jobs") for _ in range(5)]
        assert answers[0].status_code == 200
        late = answers[-1]
        assert (late.status_code, late.headers["content-type"]) == (429, "text/html; charset=utf-8")
        assert "The API key calls too often" in late.text
        assert int(late.headers["retry-after"]) >= 1
