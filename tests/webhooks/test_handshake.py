"""The handshake believes the headers of the answer and nothing else, and says what would have been an agreement."""

from collections.abc import AsyncIterator

import pytest

from relay.egress import Egress, Guard
from relay.webhooks.handshake import Denied, Granted, Handshake, origin_of
from tests.receivers import Receiver, answering, closed_port, hanging, redirecting

ORIGIN = "relay.example"


@pytest.fixture
async def handshake() -> AsyncIterator[Handshake]:
    async with Egress(Guard(["127.0.0.1"], allow_http=True), "relay/test") as egress:
        yield Handshake(egress, "https://Relay.example:8443/base", 1.0)


@pytest.mark.parametrize(
    ("headers", "rate"),
    [
        ({"WebHook-Allowed-Origin": ORIGIN, "WebHook-Allowed-Rate": "120"}, 120),
        ({"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "*"}, None),
        ({"webhook-allowed-origin": "RELAY.example", "webhook-allowed-rate": " 1 "}, 1),
        ({"WebHook-Allowed-Origin": "*"}, None),
    ],
)
@pytest.mark.parametrize("status", [200, 204, 404])
async def test_a_receiver_agrees_by_its_headers_whatever_its_status(
    handshake: Handshake, headers: dict[str, str], rate: int | None, status: int
) -> None:
    async with Receiver(answering(status, headers)) as receiver:
        assert await handshake.ask(receiver.url("/hook?a=b"), {"X-Token": "own"}) == Granted(rate)
        (call,) = receiver.calls
    assert (call.method, call.target, call.body) == ("OPTIONS", "/hook?a=b", b"")
    assert call.header("webhook-request-origin") == ORIGIN
    assert int(call.header("webhook-request-rate") or "") > 0
    assert call.header("x-token") == "own"
    assert call.header("webhook-signature") is None


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({}, "WebHook-Allowed-Origin: relay.example"),
        ({"allow": "POST, OPTIONS"}, "WebHook-Allowed-Origin: relay.example"),
        ({"WebHook-Allowed-Origin": "another.example"}, "another origin"),
        ({"WebHook-Allowed-Origin": "relay.example.evil.example"}, "another origin"),
        ({"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "0"}, "WebHook-Allowed-Rate"),
        ({"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "-5"}, "WebHook-Allowed-Rate"),
        ({"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "many"}, "WebHook-Allowed-Rate"),
    ],
)
@pytest.mark.parametrize("status", [200, 405])
async def test_whatever_else_a_receiver_says_is_no_agreement(
    handshake: Handshake, headers: dict[str, str], word: str, status: int
) -> None:
    async with Receiver(answering(status, headers)) as receiver:
        said = await handshake.ask(receiver.url(), {})
    assert isinstance(said, Denied)
    assert word in said.reason


async def test_a_redirect_is_no_agreement_and_is_not_followed(handshake: Handshake) -> None:
    async with (
        Receiver(answering(200, {"WebHook-Allowed-Origin": "*"})) as second,
        Receiver(redirecting(308, second.url("/hook/"))) as first,
    ):
        said = await handshake.ask(first.url("/hook"), {})
        assert isinstance(said, Denied)
        assert "final URL" in said.reason
        assert second.connections == 0


async def test_no_answer_is_no_agreement(handshake: Handshake) -> None:
    async with Receiver(hanging()) as receiver:
        said = await handshake.ask(receiver.url(), {})
        assert isinstance(said, Denied)
        assert "timeout" in said.reason
    with closed_port() as port:
        said = await handshake.ask(f"http://127.0.0.1:{port}/", {})
        assert isinstance(said, Denied)
        assert "127.0.0.1" not in said.reason


def test_the_origin_is_the_name_of_the_relays_public_url() -> None:
    assert origin_of("https://relay.example") == "relay.example"
    assert origin_of("http://localhost:8000") == "localhost"
