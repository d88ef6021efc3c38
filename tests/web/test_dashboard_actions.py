"""Tests of what can be done from the dashboard's pages: the API's own deeds, for whom the API would let."""

import pytest

from relay.web.dashboard.actions import ACTIONS, PATHS
from tests.receivers import Receiver, answering
from tests.trips import until, working
from tests.web.house import House, told
from tests.web.visitor import Visitor, forms, signed_in


async def belongings(house: House) -> dict[str, str]:
    """A paused subscription with a held delivery, and a pending job, by the segment of their pages."""
    await house.add_credential()
    job = await house.add_job()
    subscription = await house.add_subscription()
    await house.api.patch(f"/v1/subscriptions/{subscription['id']}", json={"status": "paused"})
    sent = told(await house.api.post(f"/v1/subscriptions/{subscription['id']}/test"), 202)
    return {"jobs": job["id"], "subscriptions": subscription["id"], "deliveries": sent["id"]}


async def form_of(visitor: Visitor, page: str, name: str) -> str:
    """Where the page's form of that action leads."""
    (action,) = [one for one in forms(await visitor.page(page)) if one.endswith(f"/{name}")]
    return action


def test_the_actions_are_operations_of_the_api() -> None:
    assert {one.path for one in ACTIONS.values()} == set(PATHS)
    assert {name: one.scope for name, one in ACTIONS.items()} == {
        "redelivery": "subscriptions:write",
        "refresh": "jobs:write",
        "activation": "subscriptions:write",
        "test": "subscriptions:write",
    }


async def test_buttons_are_for_who_may_press_them_and_the_server_asks_again(house: House) -> None:
    ids = await belongings(house)
    pages = {f"/dashboard/{kind}/{one}": kind for kind, one in ids.items()}
    reader, writer = await house.new_key("read"), await house.new_key()
    async with signed_in(house, reader) as visitor, signed_in(house, writer) as other:
        for page in pages:
            assert forms(await visitor.page(page)) == []
            buttons = forms(await other.page(page))
            assert buttons
            for action in buttons:
                response = await visitor.send(action)
                assert response.status_code == 403, action
                assert "lacks the scope" in response.text
    assert told(await house.api.get(f"/v1/subscriptions/{ids['subscriptions']}"))["status"] == "paused"


async def test_a_subscription_is_activated_tested_and_delivered_to_again(house: House) -> None:
    async with Receiver(answering(204)) as inbox, signed_in(house) as visitor:
        subscription = await house.add_subscription(inbox.url("/hook"))
        page = f"/dashboard/subscriptions/{subscription['id']}"
        assert forms(await visitor.page(page)) == [f"{page}/test"]
        await house.api.patch(f"/v1/subscriptions/{subscription['id']}", json={"status": "paused"})
        response = await visitor.send(await form_of(visitor, page, "activation"))
        assert (response.status_code, response.headers["location"]) == (303, f"{page}?notice=activation")
        assert 'role="status">The subscription is active' in await visitor.page(response.headers["location"])
        async with working(house.relay):
            sent = await visitor.send(await form_of(visitor, page, "test"))
            assert sent.headers["location"] == f"{page}?notice=test"
            await inbox.heard()
            (delivery,) = told(await house.api.get("/v1/deliveries"))["data"]
            own = f"/dashboard/deliveries/{delivery['id']}"

            async def is_over() -> bool:
                return "succeeded" in await visitor.page(own)

            await until(is_over)
            again = await visitor.send(await form_of(visitor, own, "redelivery"))
            assert again.headers["location"] == f"{own}?notice=redelivery"
            await inbox.heard(2)


async def test_a_job_is_looked_at_now(house: House) -> None:
    await house.add_credential()
    job = await house.add_job()
    async with signed_in(house) as visitor:
        page = f"/dashboard/jobs/{job['id']}"
        response = await visitor.send(await form_of(visitor, page, "refresh"))
        assert (response.status_code, response.headers["location"]) == (303, f"{page}?notice=refresh")
        told(await house.api.delete(f"/v1/jobs/{job['id']}"))
        assert forms(await visitor.page(page)) == []


async def test_what_the_api_refuses_is_a_page_that_says_why(house: House) -> None:
    ids = await belongings(house)
    async with signed_in(house) as visitor:
        path = f"/dashboard/deliveries/{ids['deliveries']}"
        action = await form_of(visitor, path, "redelivery")
        response = await visitor.send(action)
        assert response.status_code == 409
        assert "The subscription would not be called" in response.text
        assert "Sign out" in response.text


@pytest.mark.parametrize("name", sorted(ACTIONS))
async def test_nothing_is_done_to_what_is_anothers(house: House, name: str) -> None:
    ids = await belongings(house)
    stranger = await house.new_key(tenant="another")
    kind = ACTIONS[name].path.split("/")[2]
    async with signed_in(house, stranger) as visitor:
        response = await visitor.send(f"/dashboard/{kind}/{ids[kind]}/{name}")
        assert response.status_code == 404
