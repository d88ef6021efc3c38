"""Ports that are stepped over, and applications that run in the loop of the test."""

import socket

import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from relay.dev.serving import free_port, is_free, listen, port_of, serving


def app() -> Starlette:
    return Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])


def test_a_taken_port_is_stepped_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = port_of(taken)
        assert not is_free(port)
        assert free_port(port) > port


def test_a_port_that_is_taken_on_all_addresses_is_not_free_on_loopback() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        assert not is_free(port_of(taken))
        with listen(port_of(taken)) as other:
            assert port_of(other) != port_of(taken)


def test_no_wish_gets_any_port() -> None:
    with listen(0) as first, listen(0) as second:
        assert port_of(first) != port_of(second)


async def test_an_application_is_served_and_its_port_is_free_afterwards() -> None:
    async with serving(app(), listen(0)) as url, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(url)).text == "here"
    assert is_free(int(url.rpartition(":")[2]))


async def test_two_applications_are_served_side_by_side() -> None:
    async with (
        serving(app(), listen(0)) as first,
        serving(app(), listen(0)) as second,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        assert [(await client.get(url)).text for url in (first, second)] == ["here", "here"]
