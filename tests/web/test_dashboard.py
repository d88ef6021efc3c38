"""Tests of the dashboard's pages: made of real things, whole, harmless and closed to other tenants."""

import html
import json
import re
from typing import Any

import pytest

from relay.domain.credential import CredentialStatus
from tests.provider_stub import CAMB_KEY, Providers, camb, stub
from tests.receivers import Receiver, answering, in_turn
from tests.trips import until, working
from tests.web.house import House, told
from tests.web.visitor import Visitor, signed_in

EVIL = "</pre></script><script>alert('evil')</script><img src=x onerror=alert(1)>"
LISTS = ("/", "/dashboard/jobs", "/dashboard/deliveries", "/dashboard/subscriptions", "/dashboard/credentials")
OUTWARD = re.compile(r"""(?:src|href|action)\s*=\s*["']?\s*(?:[a-z]+:|//)""", re.IGNORECASE)


async def lived(house: House) -> dict[str, str]:
    """A trip with hostile words at every corner: a job that failed, told of in vain once and then with success."""
    providers = Providers({"c-1": [camb("PENDING"), camb("ERROR", exception_reason=EVIL)]})
    answers = in_turn(answering(500, {"x-said": "<b>no</b>"}, EVIL.encode()), answering(200, body=b"thanks"))
    async with stub(providers) as server, Receiver(answers) as inbox:
        await house.add_credential(
            secrets={"api_key": CAMB_KEY}, base_url=server.url(""), max_requests_per_second=100.0
        )
        subscription = await house.add_subscription(
            inbox.url("/hook"), description=EVIL, headers={"x-own": "told in confidence"}, metadata={"note": EVIL}
        )
        job = await house.add_job("c-1", metadata={"order": "42", "note": EVIL})
        async with working(house.relay):
            await inbox.heard(1, 30)
            (delivery,) = told(await house.api.get(f"/v1/deliveries?job={job['id']}"))["data"]
            await house.api.post(f"/v1/deliveries/{delivery['id']}/redelivery")
            await until(lambda: is_over(house, delivery["id"]))
    ids = {"jobs": job["id"], "subscriptions": subscription["id"], "deliveries": delivery["id"]}
    return {**ids, "secret": subscription["secret"]}


async def is_over(house: House, delivery_id: str) -> bool:
    """True when the delivery has succeeded."""
    return bool(told(await house.api.get(f"/v1/deliveries/{delivery_id}"))["status"] == "succeeded")


def text_of(page: str) -> str:
    """What a reader sees of the page, without its markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


async def test_a_whole_trip_can_be_read_on_pages_that_what_it_says_cannot_harm(house: House) -> None:
    ids = await lived(house)
    async with signed_in(house) as visitor:
        overview = text_of(await visitor.page("/"))
        job = await visitor.page(f"/dashboard/jobs/{ids['jobs']}")
        delivery = await visitor.page(f"/dashboard/deliveries/{ids['deliveries']}")
        subscription = await visitor.page(f"/dashboard/subscriptions/{ids['subscriptions']}")
        for path in LISTS:
            await visitor.page(path)
        assert re.search(r"Jobs 1 .* 1 failed .*Deliveries 1 .* 1 succeeded", overview)
        assert "Latest endings" in overview
        for word in (ids["jobs"], "c-1", "order: 42", "Timeline", "registered", "attempt 1 of", "job.failed"):
            assert word in text_of(job), word
        for word in (
            "server error 500",
            "success 200",
            "by manual",
            "wait",
            "x-said: <b>no</b>",
            "webhook-id",
            "thanks",
        ):
            assert word in text_of(delivery), word
        assert '<svg class="bar"' in delivery
        assert ids["deliveries"] in subscription
        for response in visitor.pages:
            assert "<script>" not in response.text
            assert "<img" not in response.text
            assert "<b>no</b>" not in response.text
            assert ids["secret"] not in response.text
            assert "told in confidence" not in response.text
            assert CAMB_KEY not in response.text
        assert html.escape(EVIL, quote=False).split("alert")[0] in delivery


async def test_a_fresh_relay_says_what_to_do_first(house: House) -> None:
    async with signed_in(house) as visitor:
        page = text_of(await visitor.page("/"))
        calls = re.findall(r"curl -sS http://relay\.example(/v1/\w+) .*? -d '(.*?)'", page)
        assert [path for path, _ in calls] == ["/v1/credentials", "/v1/subscriptions", "/v1/jobs"]
        filled = [
            (path, body.replace("https://…", "http://127.0.0.1:9/hook").replace("…", "mine")) for path, body in calls
        ]
        bodies = {path: json.loads(body) for path, body in filled}
        for path in ("/v1/credentials", "/v1/subscriptions"):
            told(await house.api.post(path, json=bodies[path]), 201)
        assert (await visitor.page("/")).count("curl -sS") == 1
        told(await house.api.post("/v1/jobs", json=bodies["/v1/jobs"]), 201)
        assert "curl" not in await visitor.page("/")


async def test_the_overview_names_what_needs_its_owner(house: House) -> None:
    async with signed_in(house) as visitor:
        credential = await house.add_credential()
        await house.relay.store.mark_credential(
            credential["id"],
            CredentialStatus.AUTH_FAILED,
            "the key is not known",
            None,
            house.relay.clock.now(),
            only_from={CredentialStatus.ACTIVE},
        )
        subscription = await house.add_subscription()
        path = f"/v1/subscriptions/{subscription['id']}"
        await house.api.patch(path, json={"status": "disabled", "disabled_reason": "moved away"})
        page = text_of(await visitor.page("/"))
        assert re.search(r"Credentials that are not active .* auth failed main .* the key is not known", page)
        assert re.search(r"Subscriptions that fail or are not active .* disabled .* moved away", page)
        assert "the key is not known" in await visitor.page("/dashboard/credentials?status=auth_failed")
        assert "moved away" in await visitor.page(f"/dashboard/subscriptions/{subscription['id']}")


async def shown_jobs(visitor: Visitor, query: str) -> list[str]:
    """The ids of the jobs on that page, as they stand."""
    return re.findall(r'class="id" href="/dashboard/jobs/(\w+)"', await visitor.page(f"/dashboard/jobs?{query}"))


async def test_jobs_are_found_by_what_is_known_of_them(house: House) -> None:
    await house.add_credential()
    jobs = [await house.add_job(f"job-{number}") for number in range(3)]
    told(await house.api.delete(f"/v1/jobs/{jobs[0]['id']}"))
    async with signed_in(house) as visitor:
        assert await shown_jobs(visitor, "status=cancelled&provider=&q=") == [jobs[0]["id"]]
        assert await shown_jobs(visitor, "provider=camb&status=pending") == [jobs[2]["id"], jobs[1]["id"]]
        assert await shown_jobs(visitor, "q=+job-1+") == [jobs[1]["id"]]
        assert await shown_jobs(visitor, "q=nothing") == []
        for text, way in ((jobs[1]["id"], f"/dashboard/jobs/{jobs[1]['id']}"), ("dlv_" + "0" * 26, "/dashboard/deliv")):
            response = await visitor.client.get("/dashboard/jobs", params={"q": text})
            assert response.status_code == 303
            assert response.headers["location"].startswith(way)
        for query in ("status=lost", "cursor=x", "colour=red", "q=" + "x" * 513, "q=%00"):
            assert "The request has faults" in await visitor.page(f"/dashboard/jobs?{query}", 400)


async def test_a_long_list_is_paged_there_and_back_with_its_filters(house: House) -> None:
    await house.add_credential()
    ids = [(await house.add_job(f"job-{number}", metadata={"lot": "a b&c"}))["id"] for number in range(5)][::-1]
    async with signed_in(house) as visitor:
        path, seen = "?limit=2&status=pending&metadata.lot=a+b%26c", []
        ways: list[str] = []
        while path:
            page = await visitor.page(f"/dashboard/jobs{path}")
            assert ("data-live" in page) == (not ways)
            seen += re.findall(r'class="id" href="/dashboard/jobs/(\w+)"', page)
            ways.append(path)
            older = re.search(r'rel="next" href="([^"]+)"', page)
            path = html.unescape(older[1]) if older else ""
        assert seen == ids
        assert "status=pending" in ways[-1]
        newer = re.search(r'rel="prev" href="([^"]+)"', page)
        assert newer
        assert await shown_jobs(visitor, html.unescape(newer[1]).removeprefix("?")) == ids[2:4]


async def test_the_files_of_a_result_are_reached_by_the_links_of_the_relay(house: House) -> None:
    async with stub(Providers({"c-1": [camb("SUCCESS", run_id=1)]})) as server:
        await house.add_credential(secrets={"api_key": CAMB_KEY}, base_url=server.url(""))
        job = await house.add_job("c-1")
        async with working(house.relay), signed_in(house) as visitor:

            async def link() -> Any:
                return re.search(r'href="(/r/[^"]+)"', await visitor.page(f"/dashboard/jobs/{job['id']}"))

            found = await until(link)
            assert (await visitor.client.get(found[1])).status_code == 302


async def test_pages_run_and_load_nothing_but_the_relays_own_files(house: House) -> None:
    await house.add_credential()
    await house.add_subscription()
    await house.add_job()
    async with signed_in(house) as visitor:
        for path in (*LISTS, "/dashboard/jobs?status=lost"):
            response = await visitor.client.get(path)
            policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert {policy[name] for name in ("script-src", "style-src", "form-action")} == {"'self'"}
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["referrer-policy"] == "same-origin"
            assert not OUTWARD.search(response.text)
            assert not re.search(r"<style|style=|\son[a-z]+=|<script(?! src=)", response.text)
            for asset in re.findall(r'(?:src|href)="(/assets/[^"]+)"', response.text):
                file = await visitor.client.get(asset)
                assert file.status_code == 200
                assert "immutable" in file.headers["cache-control"]
                assert not re.search("://|url\\(|@import", file.text.replace("http://www.w3.org/2000/svg", ""))
        assert (await visitor.client.get("/assets/dashboard.css?v=old")).headers["cache-control"] == "no-cache"
        assert (await visitor.client.get("/assets/layout.html")).status_code == 404


@pytest.mark.parametrize("kind", ["jobs", "subscriptions", "deliveries"])
async def test_another_tenants_thing_is_a_page_that_says_there_is_none(house: House, kind: str) -> None:
    await house.add_credential()
    job, subscription = await house.add_job("theirs"), await house.add_subscription()
    sent = told(await house.api.post(f"/v1/subscriptions/{subscription['id']}/test"), 202)
    ids = {"jobs": job["id"], "subscriptions": subscription["id"], "deliveries": sent["id"]}
    async with signed_in(house, await house.new_key(tenant="another")) as visitor:
        for one in (ids[kind], ids[kind][:-1] + "0", "x"):
            assert "There is no such" in await visitor.page(f"/dashboard/{kind}/{one}", 404)
        for path in LISTS:
            page = await visitor.page(path)
            assert not any(one in page for one in (*ids.values(), "theirs", subscription["url"]))


async def test_an_address_without_a_page_is_told_of_on_a_page(house: House) -> None:
    async with signed_in(house) as visitor:
        for path in ("/dashboard", "/dashboard/nope", "/dashboard/jobs/x/y", "/dashboard/sign-in"):
            assert "no page at this address" in await visitor.page(path, 404)
    async with house.client(None) as stranger:
        asked = await stranger.get("/dashboard/nope")
    assert (asked.status_code, asked.headers["content-type"]) == (401, "text/html; charset=utf-8")
