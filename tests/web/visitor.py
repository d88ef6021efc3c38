"""Somebody with a browser inside a test: cookies are kept, forms are sent from the relay's own pages."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from tests.web.house import BASE_URL, House

OWN = {"origin": BASE_URL}


@dataclass
class Visitor:
    """A browser that has been at the door; `client` follows no redirect."""

    client: httpx.AsyncClient
    pages: list[httpx.Response] = field(default_factory=list)

    async def page(self, path: str, status_code: int = 200) -> str:
        """The page's HTML, when it has that status."""
        response = await self.client.get(path)
        self.pages.append(response)
        assert response.status_code == status_code, response.text
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        return response.text

    async def send(self, path: str, **fields: str) -> httpx.Response:
        """What a form's button does."""
        return await self.client.post(path, data=fields, headers=OWN)


def forms(page: str) -> list[str]:
    """Where the page's forms lead that do something."""
    return [found for found in re.findall(r'action="([^"]+)"', page) if found != "/dashboard/sign-out"]


@asynccontextmanager
async def signed_in(house: House, key: str | None = None) -> AsyncIterator[Visitor]:
    """A visitor with the key, or with one of every scope of the test's tenant."""
    async with house.client(None) as client:
        visitor = Visitor(client)
        response = await visitor.send("/dashboard/sign-in", key=key or await house.new_key())
        assert response.status_code == 303, response.text
        yield visitor
