"""An answer whose head has come is judged by it, and nothing that was said unasked is ever taken for an answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from relay.egress import Answered, Egress, Guard, Outgoing, Unanswered
from relay.egress.reading import HEADERS_BYTES_MAX, HEADERS_MAX
from tests.receivers import Behaviour, Call, Receiver, Wire, answering, in_turn, many_headers, raw_port

DEADLINE_SECONDS = 5.0


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(Guard(["127.0.0.0/8"], allow_http=True), "relay/test (tests)") as made:
        yield made


async def said_by(egress: Egress, url: str, method: str = "POST") -> Answered | Unanswered:
    return await egress.send(Outgoing(method, url, timeout_seconds=DEADLINE_SECONDS))


async def answer(egress: Egress, url: str, method: str = "POST") -> Answered:
    said = await said_by(egress, url, method)
    assert isinstance(said, Answered), said
    return said


def saying(raw: bytes) -> Behaviour:
    """Writes just that."""

    async def behave(_: Call, wire: Wire) -> None:
        await wire.write(raw)

    return behave


STRANGE = {
    "204 with a body": (204, b"HTTP/1.1 204 No Content\r\n\r\nOK", b""),
    "204 of HTTP/1.0 with a body": (204, b"HTTP/1.0 204 No Content\r\nserver: a\r\n\r\nOK", b""),
    "204 with a length and a body": (204, b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nOK", b""),
    "204 with a length and none": (204, b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", b""),
    "204 that closes, with a body": (204, b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\nOK", b""),
    "204 in chunks": (204, b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    "304 with a body": (304, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nOK", b""),
    "one length twice": (200, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nContent-Length: 2\r\n\r\nOK", b"OK"),
    "one length twice in a line": (200, b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nOK", b"OK"),
    "length and chunks": (
        200,
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n",
        b"OK",
    ),
    "longer than it says": (200, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK, really", b"OK"),
    "a body where none is": (200, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nOK", b""),
    "more after the chunks": (
        200,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\nreally",
        b"OK",
    ),
    "130 headers": (200, b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 130 + b"content-length: 2\r\n\r\nOK", b"OK"),
    "a long header": (200, b"HTTP/1.1 200 OK\r\nx: " + b"a" * 9000 + b"\r\ncontent-length: 2\r\n\r\nOK", b"OK"),
    "a space before the colon": (200, b"HTTP/1.1 200 OK\r\nx-a : b\r\nContent-Length : 2\r\n\r\nOK", b"OK"),
    "line feeds alone": (200, b"HTTP/1.1 200 OK\ncontent-length: 2\n\nOK", b"OK"),
    "lines before it": (200, b"\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK", b"OK"),
}


@pytest.mark.parametrize("closes", [False, True], ids=["open", "closing"])
@pytest.mark.parametrize("pieces", ["at once", "body later", "bit by bit"])
@pytest.mark.parametrize(("status", "raw", "body"), STRANGE.values(), ids=STRANGE.keys())
async def test_a_strange_answer_counts_by_its_status(
    egress: Egress, status: int, raw: bytes, body: bytes, pieces: str, closes: bool
) -> None:
    head, blank, rest = raw.lstrip(b"\r\n").partition(b"\r\n\r\n")
    size = 1 + len(raw) // 500
    cut = {
        "at once": [raw],
        "body later": [head + blank, rest],
        "bit by bit": [raw[place : place + size] for place in range(0, len(raw), size)],
    }[pieces]

    async def behave(_: Call, wire: Wire) -> None:
        wire.is_closing = closes
        for piece in cut:
            await wire.write(piece)
            await asyncio.sleep(0)

    async with Receiver(behave) as receiver:
        said = await answer(egress, receiver.url())
        assert (said.status_code, said.body, said.is_truncated) == (status, body, False)


@pytest.mark.parametrize("name", [name for name in STRANGE if name not in ("130 headers", "a long header")])
async def test_after_a_strange_answer_the_next_request_is_answered_for_itself(egress: Egress, name: str) -> None:
    async with Receiver(in_turn(saying(STRANGE[name][1]), answering(500, {}, b"broken"))) as receiver:
        await answer(egress, receiver.url("/strange"))
        said = await answer(egress, receiver.url("/next"))
        assert (said.status_code, said.body) == (500, b"broken")
        assert [call.target for call in receiver.calls] == ["/strange", "/next"]


@pytest.mark.parametrize(
    "unasked",
    [
        b"HTTP/1.1 200 OK\r\nx-smuggled: 1\r\ncontent-length: 4\r\n\r\nEVIL",
        b"HTTP/1.1 200 OK\r\nx-smu",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"H",
        b"\r\n",
    ],
    ids=["an answer", "half a head", "an interim answer", "a letter", "a line"],
)
@pytest.mark.parametrize(
    "first", ["content-length: 0\r\n\r\n", "transfer-encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n"]
)
async def test_what_comes_on_an_idle_connection_closes_it_and_answers_nothing(
    egress: Egress, first: str, unasked: bytes
) -> None:
    """Two receivers share a host and a port, and so, but for this, the connection that is kept."""
    is_given_back, is_closed = asyncio.Event(), asyncio.Event()

    async def behave(call: Call, wire: Wire) -> None:
        if call.target == "/a":
            await wire.write(f"HTTP/1.1 200 OK\r\n{first}".encode())
            await is_given_back.wait()
            await wire.write(unasked)
            await wire.reader.read()  # until the peer closes
            wire.close()
            is_closed.set()
        else:
            await wire.respond(500)

    async with Receiver(behave) as receiver:
        assert (await answer(egress, receiver.url("/a"))).status_code == 200
        is_given_back.set()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await is_closed.wait()
        for _ in range(2):
            said = await answer(egress, receiver.url("/b"))
            assert (said.status_code, said.body) == (500, b"")
        assert [(call.target, call.connection) for call in receiver.calls] == [("/a", 1), ("/b", 2), ("/b", 2)]


@pytest.mark.parametrize("announced", ["content-length: 2", "transfer-encoding: chunked"])
async def test_a_body_that_must_not_come_and_comes_late_is_no_part_of_the_next_answer(
    egress: Egress, announced: str
) -> None:
    is_next = asyncio.Event()

    async def behave(call: Call, wire: Wire) -> None:
        if call.target == "/a":
            await wire.write(f"HTTP/1.1 204 No Content\r\n{announced}\r\n\r\n".encode())
            await is_next.wait()
            await wire.write(b"OK")
        else:
            is_next.set()
            await wire.respond(500)

    async with Receiver(behave) as receiver:
        assert (await answer(egress, receiver.url("/a"))).status_code == 204
        assert (await answer(egress, receiver.url("/b"))).status_code == 500


async def test_what_lies_unread_in_the_socket_is_seen_before_the_connection_is_used_again(egress: Egress) -> None:
    """The loop has not read it yet: it is kept from doing so between the writing and the next request."""
    wires: list[Wire] = []

    async def behave(call: Call, wire: Wire) -> None:
        wires.append(wire)
        await wire.respond(200 if call.target == "/a" else 500)

    async with Receiver(behave) as receiver:
        await answer(egress, receiver.url("/a"))
        unasked = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        wires[0].writer.write(unasked)  # goes out in this very call; nothing is awaited till the connection is chosen
        assert (await answer(egress, receiver.url("/b"))).status_code == 500
        assert [call.connection for call in receiver.calls] == [1, 2]


async def test_an_ordinary_connection_is_still_kept(egress: Egress) -> None:
    chunks = saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n")
    behaviours = (answering(), answering(200, {}, b"body"), chunks, answering(204), answering(304), answering())
    async with Receiver(in_turn(*behaviours)) as receiver:
        for _ in behaviours:
            await answer(egress, receiver.url())
        assert receiver.connections == 1


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.6\r\n", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\x15\x03\x01\x00\x02\x02F"]
)
@pytest.mark.parametrize("is_first", [True, False], ids=["greets", "answers"])
async def test_what_does_not_speak_http_is_told_at_once(egress: Egress, said: bytes, is_first: bool) -> None:
    if is_first:
        async with raw_port(said) as port:
            failed = await said_by(egress, f"http://127.0.0.1:{port}/")
    else:
        async with Receiver(saying(said)) as receiver:
            failed = await said_by(egress, receiver.url())
    assert isinstance(failed, Unanswered)
    assert (failed.reason, failed.is_garbled) == ("reset", True)


async def test_two_lengths_that_differ_are_no_answer(egress: Egress) -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nOK!"
    async with Receiver(saying(raw)) as receiver:
        failed = await said_by(egress, receiver.url())
    assert isinstance(failed, Unanswered)
    assert (failed.reason, failed.is_garbled) == ("reset", True)


@pytest.mark.parametrize(
    "behaviour",
    [many_headers(1, "x" * 100_000), many_headers(90, "x" * 4000)],
    ids=["one", "all"],
)
async def test_too_long_headers_are_no_answer(egress: Egress, behaviour: Behaviour) -> None:
    async with Receiver(behaviour) as receiver:
        said = await said_by(egress, receiver.url())
    assert isinstance(said, Unanswered)
    assert (said.reason, said.blame) == ("too_large", "receiver")


async def test_too_many_headers_are_not_read(egress: Egress) -> None:
    async with Receiver(many_headers(5000)) as receiver:
        said = await said_by(egress, receiver.url())
    assert isinstance(said, Unanswered)
    assert said.reason == "too_large"


@pytest.mark.parametrize(
    "head",
    [b"x: y\r\n" * (HEADERS_MAX + 1) + b"\r\n", b"x: " + b"y" * HEADERS_BYTES_MAX, b"x: y\r\n" * (HEADERS_MAX + 2)],
    ids=["lines", "bytes without end", "lines without end"],
)
async def test_headers_beyond_the_limits_are_not_waited_for(egress: Egress, head: bytes) -> None:
    async with Receiver(saying(b"HTTP/1.1 200 OK\r\n" + head)) as receiver:
        failed = await said_by(egress, receiver.url())
    assert isinstance(failed, Unanswered)
    assert (failed.reason, failed.is_garbled) == ("too_large", False)


async def test_a_head_question_has_no_body_whatever_its_length_says(egress: Egress) -> None:
    async with Receiver(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")) as receiver:
        for _ in range(2):
            assert (await answer(egress, receiver.url(), "HEAD")).body == b""
        assert receiver.connections == 1
