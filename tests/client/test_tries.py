"""A call is tried again where that is safe and may help, with one Idempotency-Key, and not for ever."""

import asyncio
import json

import httpx
import pytest

from relay.client import AsyncClient, Client, NoAnswer, NotUnderstood, ProblemError
from tests.client.patience import Patience
from tests.receivers import Behaviour, Receiver, answering, closed_port, hanging, hanging_up, in_turn, resetting, slow

JOB = json.dumps({"id": "job_1", "status": "pending"}).encode()
IN_FLIGHT = json.dumps({"code": "idempotency_in_flight", "detail": "Still being handled.", "errors": []}).encode()
REUSED = json.dumps({"code": "idempotency_key_reused", "detail": "Take a new one.", "errors": []}).encode()


def client(server: Receiver, clock: Patience, path: str = "", timeout_seconds: float = 5.0) -> AsyncClient:
    """A client of the flaky server."""
    return AsyncClient(server.url(path), "a-key", timeout_seconds=timeout_seconds, trust_env=False, clock=clock)


@pytest.mark.parametrize(
    "bad",
    [
        *(answering(status) for status in (429, 502, 503, 504)),
        answering(409, {"retry-after": "1"}, IN_FLIGHT),
        resetting(),
        hanging_up(),
        hanging_up(b"HTTP/1.1 201 Word\r\ncontent-length: 100\r\n\r\n{"),
    ],
)
async def test_what_may_pass_is_tried_again_and_is_the_same_call(bad: Behaviour) -> None:
    clock = Patience()
    async with Receiver(in_turn(bad, bad, answering(201, {}, JOB))) as server, client(server, clock) as relay:
        assert (await relay.jobs.create("camb", "x"))["id"] == "job_1"
    keys = {call.header("idempotency-key") for call in server.calls}
    assert len(server.calls) == 3
    assert len(keys) == 1
    assert None not in keys
    assert {call.body for call in server.calls} == {b'{"provider":"camb","provider_job_id":"x"}'}
    assert len(clock.pauses) == 2


async def test_each_call_has_a_key_of_its_own_unless_the_program_gives_one() -> None:
    async with Receiver(answering(201, {}, JOB)) as server, client(server, Patience()) as relay:
        await relay.jobs.create("camb", "x")
        await relay.jobs.create("camb", "x")
        await relay.jobs.create("camb", "x", idempotency_key="order-42")
        await relay.jobs.get("job_1")
    keys = [call.header("idempotency-key") for call in server.calls]
    assert len(set(keys)) == 4
    assert keys[2:] == ["order-42", None]


async def test_the_pauses_grow_and_end() -> None:
    clock = Patience()
    async with Receiver(answering(503)) as server, client(server, clock) as relay:
        with pytest.raises(ProblemError) as raised:
            await relay.jobs.get("job_1")
    assert raised.value.status == 503
    assert clock.pauses == [0.5, 1.0, 2.0, 4.0]
    assert len(server.calls) == 5


async def test_retry_after_is_honoured() -> None:
    clock = Patience()
    behaviour = in_turn(answering(429, {"retry-after": "7"}), answering(200, {}, JOB))
    async with Receiver(behaviour) as server, client(server, clock) as relay:
        await relay.jobs.get("job_1")
    assert clock.pauses == [7.25]


async def test_an_hour_is_not_slept_through_but_told() -> None:
    clock = Patience()
    async with Receiver(answering(503, {"retry-after": "1800"})) as server, client(server, clock) as relay:
        with pytest.raises(ProblemError) as raised:
            await relay.jobs.get("job_1")
    assert raised.value.retry_after_seconds == 1800
    assert clock.pauses == []
    assert len(server.calls) == 1


@pytest.mark.parametrize("final", [answering(500), answering(404), answering(409, {}, REUSED), answering(422)])
async def test_what_will_not_pass_is_told_at_once(final: Behaviour) -> None:
    clock = Patience()
    async with Receiver(final) as server, client(server, clock) as relay:
        with pytest.raises(ProblemError):
            await relay.jobs.create("camb", "x")
    assert len(server.calls) == 1


async def test_a_removal_whose_answer_was_lost_has_removed() -> None:
    async with (
        Receiver(in_turn(resetting(), answering(404))) as server,
        client(server, Patience()) as relay,
    ):
        await relay.subscriptions.remove("sub_1")
        assert len(server.calls) == 2
        with pytest.raises(ProblemError):
            await relay.subscriptions.remove("sub_1")


async def test_a_job_that_there_never_was_is_not_cancelled_by_a_second_try() -> None:
    async with (
        Receiver(in_turn(resetting(), answering(404))) as server,
        client(server, Patience()) as relay,
    ):
        with pytest.raises(ProblemError):
            await relay.jobs.cancel("job_1")
    assert len(server.calls) == 2


async def test_many_may_wait_at_once() -> None:
    async with Receiver(slow(0.3, answering(200, {}, JOB))) as server, client(server, Patience()) as relay:
        await asyncio.gather(*(relay.jobs.get("job_1") for _ in range(150)))
    assert server.connections == 150


async def test_a_relay_that_is_not_there_is_told_as_such() -> None:
    clock = Patience()
    with closed_port() as port:
        async with AsyncClient(f"http://127.0.0.1:{port}", "k", trust_env=False, clock=clock) as relay:
            with pytest.raises(NoAnswer, match="no connection could be made to the host") as raised:
                await relay.jobs.get("job_1")
    assert raised.value.tries == 5
    assert isinstance(raised.value.__cause__, httpx.ConnectError)


NO_URLS = (
    "", "localhost:8000", "banana", "ftp://relay.example", "http://", "http:///v1", "//relay.example", " http://x",
    "http://relay.example\n", "http://[::1", "http://relay.example:port", "http://relay.example:99999",
    "http://key@relay.example", "https://relay.example?key=1", "https://relay.example/#top",
)  # fmt: skip
NO_KEYS = ("", "s3same\n", " s3same", "s3same\r\nx-more: 1", "s3säme", "\x00s3same", "s3same\t")


@pytest.mark.parametrize("make", [AsyncClient, Client])
@pytest.mark.parametrize("url", NO_URLS)
def test_a_url_that_is_none_is_told_before_any_call(make: type[AsyncClient | Client], url: str) -> None:
    with pytest.raises(ValueError, match="the relay's URL"):
        make(url, "a-key")


@pytest.mark.parametrize("make", [AsyncClient, Client])
@pytest.mark.parametrize("key", NO_KEYS)
def test_a_key_that_no_call_can_carry_is_told_before_any_call_and_not_shown(
    make: type[AsyncClient | Client], key: str
) -> None:
    with pytest.raises(ValueError, match="the API key") as raised:
        make("http://relay.example", key)
    assert "s3" not in str(raised.value)


@pytest.mark.parametrize("key", NO_KEYS)
async def test_an_idempotency_key_that_no_call_can_carry_is_told_and_nothing_is_sent(key: str) -> None:
    async with Receiver(answering(201, {}, JOB)) as server, client(server, Patience()) as relay:
        with pytest.raises(ValueError, match="the idempotency key"):
            await relay.jobs.create("camb", "x", idempotency_key=key)
    assert server.calls == []


async def test_a_key_with_spaces_inside_is_one() -> None:
    async with (
        Receiver(answering(200, {}, JOB)) as server,
        AsyncClient(server.url(""), "a key of three words", trust_env=False) as relay,
    ):
        await relay.jobs.get("job_1")
    assert server.calls[0].header("authorization") == "Bearer a key of three words"


@pytest.mark.parametrize("error", [httpx.LocalProtocolError, httpx.UnsupportedProtocol])
async def test_what_cannot_be_sent_is_not_tried_again(error: type[httpx.TransportError]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise error("cannot be sent", request=request)

    clock, transport = Patience(), httpx.MockTransport(refuse)
    async with AsyncClient("http://relay.example", "a-key", transport=transport, clock=clock) as relay:
        with pytest.raises(NoAnswer, match=r"cannot be sent as it is \(1 try\)"):
            await relay.jobs.get("job_1")
    assert clock.pauses == []


async def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver(answering(502)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url(""))
        async with AsyncClient("https://relay.example", "a-key", clock=Patience()) as relay:
            with pytest.raises(NoAnswer, match="the proxy on the way makes no connection"):
                await relay.jobs.get("job_1")
    assert {call.method for call in proxy.calls} == {"CONNECT"}


async def test_a_relay_that_says_nothing_is_left_in_time() -> None:
    async with Receiver(hanging()) as server, client(server, Patience(), timeout_seconds=0.05) as relay:
        with pytest.raises(NoAnswer, match="in time"):
            await relay.jobs.get("job_1")
    assert len(server.calls) == 5


@pytest.mark.parametrize("strange", [answering(200, {}, b"<html>"), answering(200, {}, b"[]"), answering(301)])
async def test_what_is_no_relay_is_told_as_such(strange: Behaviour) -> None:
    async with Receiver(strange) as server, client(server, Patience()) as relay:
        with pytest.raises(NotUnderstood):
            await relay.jobs.get("job_1")


async def test_a_list_that_is_none_is_told_as_such() -> None:
    async with Receiver(answering(200, {}, JOB)) as server, client(server, Patience()) as relay:
        with pytest.raises(NotUnderstood):
            await anext(relay.jobs.list())


async def test_a_page_of_a_proxy_is_a_problem_without_a_code() -> None:
    async with Receiver(answering(403, {}, b"<html>Forbidden</html>")) as server, client(server, Patience()) as relay:
        with pytest.raises(ProblemError) as raised:
            await relay.jobs.get("job_1")
    assert (raised.value.status, raised.value.code, raised.value.errors) == (403, "", ())


async def test_an_id_stays_one_part_of_the_path_and_is_never_empty() -> None:
    async with Receiver(answering(200, {}, JOB)) as server, client(server, Patience()) as relay:
        await relay.jobs.get("../keys?x=1")
        with pytest.raises(ValueError, match="id"):
            await relay.credentials.remove("")
    assert [call.target for call in server.calls] == ["/v1/jobs/..%2Fkeys%3Fx%3D1"]


async def test_a_relay_below_a_path_is_found_there() -> None:
    async with Receiver(answering(200, {}, JOB)) as server, client(server, Patience(), "/tools/relay") as relay:
        await relay.jobs.get("job_1")
    assert server.calls[0].target == "/tools/relay/v1/jobs/job_1"


async def test_without_an_event_loop_it_is_just_as_patient() -> None:
    clock = Patience()
    behaviour = in_turn(resetting(), answering(503, {"retry-after": "3"}), answering(201, {}, JOB))
    async with Receiver(behaviour) as server:

        def create() -> str:
            with Client(server.url(""), "a-key", trust_env=False, clock=clock) as relay:
                return relay.jobs.create("camb", "x")["id"]

        assert await asyncio.to_thread(create) == "job_1"
    assert clock.pauses == [0.5, 3.25]
    assert len({call.header("idempotency-key") for call in server.calls}) == 1
