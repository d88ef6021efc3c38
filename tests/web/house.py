"""The web application inside a test: the real house behind it, on a database and a Redis of the test's own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette

from relay.bootstrap import Relay
from relay.clock import Clock
from relay.domain.key import SCOPES, Key, digest, make_key
from relay.web.app import create_app
from tests.trips import TENANT, settings_for
from tests.web.reference import documented

ENVIRONMENT_KEY = "the key of the environment"
SECRET_KEY = "a secret key of the web tests"
BASE_URL = "http://relay.test"


@dataclass(frozen=True)
class House:
    """An open application; `api` speaks for the test's tenant, with every scope."""

    app: Starlette
    api: httpx.AsyncClient

    @property
    def relay(self) -> Relay:
        """What is behind the application."""
        relay: Relay = self.app.state.relay
        return relay

    def client(self, key: str | None) -> httpx.AsyncClient:
        """A client that shows that key."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        transport = httpx.ASGITransport(self.app)
        hooks = {"response": [documented]}
        return httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=headers, event_hooks=hooks)

    async def new_key(self, *scopes: str, tenant: str = TENANT) -> str:
        """A fresh key, written down."""
        text = make_key(self.relay.clock.entropy(32))
        key_id, now = self.relay.clock.new_id("key"), self.relay.clock.now()
        await self.relay.store.add_key(Key(key_id, tenant, "test", scopes or SCOPES, digest(text), now, None))
        return text

    async def add_credential(self, provider: str = "camb", **more: Any) -> dict[str, Any]:
        """A credential of the test's tenant, by the API."""
        body = {"name": "main", "provider": provider, "secrets": {"api_key": "a-key-of-camb"}, **more}
        return told(await self.api.post("/v1/credentials", json=body), 201)

    async def add_job(self, provider_job_id: str = "job-1", **more: Any) -> dict[str, Any]:
        """A job of the test's tenant, by the API."""
        body = {"provider": "camb", "provider_job_id": provider_job_id, **more}
        return told(await self.api.post("/v1/jobs", json=body), 201)

    async def add_subscription(self, url: str = "http://127.0.0.1:9/hook", **more: Any) -> dict[str, Any]:
        """A subscription of the test's tenant, by the API."""
        return told(await self.api.post("/v1/subscriptions", json={"url": url, **more}), 201)


@asynccontextmanager
async def opened(database_url: str, redis_url: str, clock: Clock | None = None, **more: str) -> AsyncIterator[House]:
    """An application on a migrated database."""
    told_more = {"RELAY_API_KEY": ENVIRONMENT_KEY, "RELAY_SECRET_KEY": SECRET_KEY, **more}
    settings = settings_for(database_url, redis_url, **told_more)
    app = create_app(settings, clock)
    async with app.router.lifespan_context(app):
        house = House(app, httpx.AsyncClient())
        async with house.client(await house.new_key()) as api:
            yield House(app, api)


def told(response: httpx.Response, status_code: int = 200) -> dict[str, Any]:
    """The response's JSON, when it has that status."""
    assert response.status_code == status_code, response.text
    document: dict[str, Any] = response.json()
    return document


def refused(response: httpx.Response, status_code: int, code: str | None = None) -> dict[str, Any]:
    """The response's problem, when it is one of that status and code, and of the shape that all have."""
    assert response.status_code == status_code, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}
    assert problem["status"] == status_code
    assert problem["type"] == f"http://relay.example/problems/{problem['code']}"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert all(set(error) == {"pointer", "detail", "code"} for error in problem["errors"])
    assert code is None or problem["code"] == code, problem
    return problem


def faults(problem: Mapping[str, Any]) -> dict[str, str]:
    """The codes of a problem's errors by their pointers."""
    return {error["pointer"]: error["code"] for error in problem["errors"]}
