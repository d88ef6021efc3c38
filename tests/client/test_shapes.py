"""The client's shapes are the server's, and each operation of the server has its method in both clients."""

import inspect
import pydoc
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
from pydantic import BaseModel

from relay.client import AsyncClient, Client, NotUnderstood, shapes
from relay.client import provider_shapes as shapes_of_providers
from relay.client.asynchronous import accounts, jobs, subscriptions
from relay.web import schemas
from relay.web.reference import provider_shapes, timeline_shapes
from relay.web.reference import shapes as main_shapes
from relay.web.routes import OPERATIONS

SERVED = {**vars(main_shapes), **vars(provider_shapes), **vars(timeline_shapes)}


def test_every_shape_has_the_fields_that_the_server_shows() -> None:
    named = {
        name: one
        for name, one in {**vars(shapes), **vars(shapes_of_providers)}.items()
        if hasattr(one, "__required_keys__")
    }
    models = {"EventType": main_shapes.DescribedEventType}
    assert len(named) > 30
    for name, shape in named.items():
        model = models.get(name) or SERVED[name]
        assert issubclass(model, BaseModel)
        fields = {field.alias or key for key, field in model.model_fields.items()}
        assert shape.__required_keys__ | shape.__optional_keys__ == fields, name


def test_what_can_be_asked_for_is_what_the_server_takes() -> None:
    pairs = [
        (jobs.Jobs, schemas.NewJob),
        (subscriptions.Subscriptions, schemas.NewSubscription),
        (accounts.Credentials, schemas.NewCredential),
        (accounts.Keys, schemas.NewKey),
    ]
    for resource, model in pairs:
        parameters = set(inspect.signature(resource.create).parameters) - {"self", "idempotency_key"}
        assert parameters == set(model.model_fields), model


class Seen(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """Answers nothing of use, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.add((request.method, request.url.path))
        return httpx.Response(200, json={})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def parts_of(client: AsyncClient | Client) -> dict[str, Any]:
    """What stands for one collection of the API each, by name."""
    return {name: one for name, one in vars(client).items() if not name.startswith("_")}


def methods(client: AsyncClient | Client) -> Iterator[Any]:
    """Every method that makes a call, with arguments that will do."""
    for owner in [client, *parts_of(client).values()]:
        for name, method in inspect.getmembers(owner, inspect.ismethod):
            if not name.startswith("_") and name not in ("close", "aclose"):
                wanted = [
                    one
                    for one in inspect.signature(method).parameters.values()
                    if one.default is inspect.Parameter.empty
                ]
                given = {one.name: "a" if one.annotation is str else {} for one in wanted}
                yield lambda method=method, given=given: method(**given)


def unasked(asked: set[tuple[str, str]]) -> list[str]:
    """The operations that no call was for."""
    return [
        f"{one.method} {one.path}"
        for one in OPERATIONS
        if not any(
            method == one.method and re.fullmatch(re.sub(r"\{\w+\}", "a", one.path), path) for method, path in asked
        )
    ]


async def test_every_operation_has_an_asynchronous_method() -> None:
    seen = Seen()
    async with AsyncClient("http://relay.example", "k", transport=seen) as client:
        for call in methods(client):
            try:
                made = call()
                await (anext(made) if isinstance(made, AsyncIterator) else made)
            except (NotUnderstood, KeyError):
                pass  # it has asked, which is all that counts here
    assert unasked(seen.asked) == []


def test_every_operation_has_a_synchronous_method() -> None:
    seen = Seen()
    with Client("http://relay.example", "k", transport=seen) as client:
        for call in methods(client):
            try:
                made = call()
                if isinstance(made, Iterator):
                    next(made)
            except (NotUnderstood, KeyError):
                pass  # it has asked, which is all that counts here
    assert unasked(seen.asked) == []


def test_help_shows_the_parts() -> None:
    with Client("http://relay.example", "k", transport=Seen()) as client:
        for kind in (Client, AsyncClient):
            shown = pydoc.plain(pydoc.render_doc(kind))
            assert [name for name in parts_of(client) if f"`{name}`" not in shown] == []


def test_every_list_with_pages_takes_their_size() -> None:
    asked: list[httpx.QueryParams] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params)
        return httpx.Response(200, json={"data": [], "next_cursor": None})

    with Client("http://relay.example", "k", transport=httpx.MockTransport(answer)) as client:
        parts = parts_of(client)
        lists = [part.list for name, part in parts.items() if name != "providers"]
        assert len(lists) == 6
        for method in lists:
            assert list(method(page_size=7)) == []
            assert list(method()) == []
        assert list(client.subscriptions.recoveries("sub_1", page_size=7)) == []
    assert [params["limit"] for params in asked] == ["7", "100"] * 6 + ["7"]
