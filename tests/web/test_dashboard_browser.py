"""A walk through the dashboard with a real browser, which holds the pages to their policy."""

import json
import shutil
from pathlib import Path

import pytest

from relay.dev.serving import listen, serving
from tests.trips import until
from tests.web.chromium import browsing
from tests.web.house import House, told

EVIL = "<script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>"
NARROW = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="what a browser makes of the pages is asked of Chromium")
async def test_a_browser_signs_in_acts_and_sees_the_page_refresh_itself(house: House, tmp_path: Path) -> None:
    subscription = await house.add_subscription(description=EVIL)
    key = await house.new_key()
    async with serving(house.app, listen(0)) as url, browsing(tmp_path / "profile") as tab:
        page = f"{url}/dashboard/subscriptions/{subscription['id']}"
        await tab.call("Page.navigate", url=page)
        await until(lambda: tab.value_of("!!document.querySelector('#key')"))
        assert tab.complaints == ["Failed to load resource: the server responded with a status of 401 (Unauthorized)"]
        tab.complaints.clear()
        await tab.value_of(f"document.querySelector('#key').value = {json.dumps(key)}")
        await tab.value_of("document.querySelector('.door form').submit()")
        await until(lambda: tab.value_of("!!document.querySelector('.act button')"))
        assert await tab.value_of("location.href") == page
        assert await tab.value_of("document.cookie") == ""

        await tab.value_of("document.querySelector('form[action$=\"/test\"]').submit()")
        await until(lambda: tab.value_of("!!document.querySelector('.notice')"))
        await tab.await_page(page)  # the notice has left the address
        (delivery,) = told(await house.api.get("/v1/deliveries"))["data"]
        assert delivery["id"] in await tab.value_of("document.body.innerHTML")

        await house.api.patch(f"/v1/subscriptions/{subscription['id']}", json={"status": "paused"})
        await tab.value_of("document.dispatchEvent(new Event('visibilitychange'))")
        await until(lambda: tab.value_of("document.querySelector('h1').textContent.includes('paused')"))

        await tab.call("Emulation.setDeviceMetricsOverride", **NARROW)
        lists = [f"{url}/dashboard/{name}" for name in ("jobs", "deliveries", "subscriptions", "credentials")]
        for one in (page, f"{url}/", *lists, f"{url}/dashboard/deliveries/{delivery['id']}"):
            await tab.show(one)
            assert await tab.value_of("document.documentElement.scrollWidth") <= NARROW["width"], one
            assert await tab.value_of("getComputedStyle(document.querySelector('header')).display") == "flex", one
            assert await tab.value_of("window.harmed") is None
        assert tab.complaints == []
        assert {one for one in tab.asked_for if not one.startswith(url)} == set()
