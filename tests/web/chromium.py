"""A real browser without a window, driven by the DevTools protocol."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.trips import until

OPTIONS = (
    *("--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-background-networking"),
    *("--disable-gpu", "--disable-dev-shm-usage", "--no-sandbox"),  # the tests may run as root, in a container
)


class Tab:
    """One tab; `complaints` is what the browser had to say of its pages: errors and refusals by policy."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._calls = 0
        self.complaints: list[str] = []
        self.asked_for: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and what it gave."""
        self._calls += 1
        await self._connection.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            told = json.loads(await self._connection.recv())
            if told.get("id") == self._calls:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result
            self._note(told["method"], told["params"])

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(told["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif event == "Network.requestWillBeSent":
            self.asked_for.append(told["request"]["url"])

    async def value_of(self, expression: str) -> Any:
        """What the expression is in the page; None while there is no page, or where it throws."""
        told = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return told["result"].get("value")

    async def show(self, url: str) -> None:
        """Goes to the page, and is back when it has been loaded."""
        await self.call("Page.navigate", url=url)
        await self.await_page(url)

    async def await_page(self, url: str) -> None:
        """Waits until that page is there."""
        await until(lambda: self.value_of(f"location.href === {json.dumps(url)} && document.readyState === 'complete'"))


@asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Tab]:
    """A tab of a fresh Chromium, which keeps its things in `profile`."""
    command = ["chromium", *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        note = profile / "DevToolsActivePort"
        port = await until(lambda: note.exists() and note.read_text().partition("\n")[0])
        async with httpx.AsyncClient(trust_env=False) as client:
            tabs = (await client.get(f"http://127.0.0.1:{port}/json")).json()
        (url,) = [one["webSocketDebuggerUrl"] for one in tabs if one["type"] == "page"]
        async with connect(url, max_size=None, proxy=None) as connection:
            tab = Tab(connection)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.call(f"{domain}.enable")
            yield tab
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)
