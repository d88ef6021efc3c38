"""What one exchange comes to, against receivers that behave well and badly on purpose."""

import asyncio
import os
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from relay.egress import Answered, Egress, Guard, Outgoing, Unanswered, tls_context
from tests.receivers import (
    GOOD_MORNING,
    Authority,
    Behaviour,
    Call,
    Receiver,
    Wire,
    answering,
    closed_port,
    dripping,
    endless,
    gzip_bomb,
    hanging,
    hanging_up,
    in_turn,
    raw_port,
    redirecting,
    resetting,
    slow,
    slow_headers,
)

LOOPBACK = ["127.0.0.0/8", "::1"]
MEBIBYTE = 1024 * 1024


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def egress(authority: Authority) -> AsyncIterator[Egress]:
    async with Egress(
        Guard(LOOPBACK, allow_http=True), "relay/test (tests)", tls=tls_context(authority.ca_file)
    ) as egress:
        yield egress


async def answer(egress: Egress, url: str, *, timeout_seconds: float = 5.0, **others: object) -> Answered:
    """Sends a POST that must be answered."""
    said = await egress.send(Outgoing("POST", url, timeout_seconds=timeout_seconds, **others))  # type: ignore[arg-type]  # the fields of an Outgoing
    assert isinstance(said, Answered), said
    return said


async def failure(egress: Egress, url: str, timeout_seconds: float = 5.0) -> Unanswered:
    """Sends a POST that must not be answered."""
    said = await egress.send(Outgoing("POST", url, body=b"{}", timeout_seconds=timeout_seconds))
    assert isinstance(said, Unanswered), said
    return said


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299, 400, 404, 410, 413, 429, 500, 503])
async def test_a_status_is_an_answer_whatever_it_says(egress: Egress, status: int) -> None:
    async with Receiver(answering(status)) as receiver:
        assert (await answer(egress, receiver.url())).status_code == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_its_target_is_never_visited(egress: Egress, status: int) -> None:
    async with Receiver(answering()) as second, Receiver(redirecting(status, second.url("/second"))) as first:
        said = await answer(egress, first.url())
        assert said.status_code == status
        assert dict(said.headers)["location"] == second.url("/second")
        assert (second.connections, len(first.calls)) == (0, 1)


async def test_the_request_arrives_as_it_was_given(egress: Egress) -> None:
    body = '{"b":1.10,"a":"ž"}'.encode()
    headers = {"content-type": "application/json", "X-Own": 'a, b;c="d"'}
    async with Receiver(answering(204)) as receiver:
        await answer(egress, receiver.url("/a/../b//c/%7Efoo/{x}?q=1&q=%2F+x&é#part"), headers=headers, body=body)
    call = receiver.calls[0]
    assert (call.method, call.target) == ("POST", "/a/../b//c/%7Efoo/{x}?q=1&q=%2F+x&%C3%A9")
    assert call.body == body
    assert dict(call.headers) == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": "relay/test (tests)",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "x-own": 'a, b;c="d"',
        "content-length": str(len(body)),
    }


async def test_headers_of_the_connection_are_not_the_callers_to_choose(egress: Egress) -> None:
    headers = {"Host": "evil.example", "Content-Length": "0", "Transfer-Encoding": "chunked", "Accept-Encoding": "br"}
    async with Receiver(answering()) as receiver:
        await answer(egress, receiver.url(), headers=headers, body=b"whole")
    call = receiver.calls[0]
    assert call.body == b"whole"
    assert call.header("host") == f"127.0.0.1:{receiver.port}"
    assert call.header("transfer-encoding") is None
    assert call.header("accept-encoding") == "identity"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-own", "a\r\nx-injected: 1"),
        ("x-own", "a\nb"),
        ("x-own", "a\x00b"),
        ("x-own", "Zoë"),
        ("x-own", "€"),
        ("x-own", "\ud800"),
        ("x-own", "a\x7f"),
        ("x own", "a"),
        ("x-ówn", "a"),
        ("", "a"),
    ],
)
async def test_a_header_that_cannot_be_written_is_a_failure_like_any_other(
    egress: Egress, name: str, value: str
) -> None:
    async with Receiver(answering()) as receiver:
        said = await egress.send(Outgoing("POST", receiver.url(), {name: value}))
        assert isinstance(said, Unanswered)
        assert (said.reason, said.blame, said.was_sent) == ("blocked", "receiver", False)
        assert said.detail == "a header of the request has characters that cannot be sent"
        assert receiver.calls == []
        assert (await answer(egress, receiver.url())).status_code == 200


async def test_a_get_without_a_body_says_nothing_of_one(egress: Egress) -> None:
    async with Receiver(answering(200, {"X-Kind": "Look"}, b"{}")) as receiver:
        said = await egress.send(Outgoing("GET", receiver.url("/jobs/1")))
    assert isinstance(said, Answered)
    assert (said.body, dict(said.headers)["x-kind"]) == (b"{}", "Look")
    assert receiver.calls[0].header("content-length") is None


async def test_a_large_body_goes_out_whole(egress: Egress) -> None:
    body = os.urandom(3 * MEBIBYTE)
    async with Receiver(answering()) as receiver:
        await answer(egress, receiver.url(), body=body)
    assert receiver.calls[0].body == body
    assert receiver.calls[0].header("content-length") == str(len(body))


async def test_no_cookie_is_ever_sent_back(egress: Egress) -> None:
    async with Receiver(answering(200, {"set-cookie": "session=1; Path=/"})) as receiver:
        for _ in range(2):
            await answer(egress, receiver.url())
    assert all(call.header("cookie") is None for call in receiver.calls)


async def test_proxies_of_the_environment_are_ignored(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login thief password thief\n")
    async with (
        Receiver(answering(502)) as proxy,
        Receiver(answering(), authority.server_context("127.0.0.1")) as secure,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        async with (
            Egress(Guard(LOOPBACK, allow_http=True), "relay/test", tls=tls_context(authority.ca_file)) as egress,
            Receiver(answering()) as plain,
        ):
            assert (await answer(egress, plain.url())).status_code == 200
            assert (await answer(egress, secure.url())).status_code == 200
        assert proxy.connections == 0
        assert plain.calls[0].header("authorization") is None


async def test_connections_are_kept_for_the_next_request_to_the_same_host(egress: Egress) -> None:
    async with Receiver(answering(200, {}, b"body")) as one, Receiver(answering()) as other:
        said = [await answer(egress, one.url()) for _ in range(5)]
        await answer(egress, other.url())
        assert (one.connections, other.connections) == (1, 1)
    assert said[0].timing.connect_ms is not None
    assert said[1].timing.connect_ms is None


async def test_in_flight_requests_to_one_host_are_limited() -> None:
    async with (
        Egress(Guard(LOOPBACK, allow_http=True), "relay/test", connections_per_host=2) as egress,
        Receiver(slow(0.02, answering())) as receiver,
    ):
        await asyncio.gather(*(answer(egress, receiver.url()) for _ in range(8)))
        assert receiver.connections == 2


async def test_with_many_connections_open_new_ones_are_not_kept() -> None:
    async with (
        Egress(Guard(LOOPBACK, allow_http=True), "relay/test", connections_open=1) as egress,
        Receiver(answering()) as kept,
        Receiver(answering()) as crowded_out,
    ):
        for _ in range(3):
            await answer(egress, kept.url())
            assert dict((await answer(egress, crowded_out.url())).headers)["content-length"] == "0"
        assert crowded_out.connections == 3
        assert crowded_out.calls[0].header("connection") == "close"


async def test_a_deadline_that_passes_in_the_queue_is_the_relays_own_fault() -> None:
    async with (
        Egress(Guard(LOOPBACK, allow_http=True), "relay/test", connections_per_host=1) as egress,
        Receiver(hanging()) as receiver,
    ):
        first = asyncio.create_task(failure(egress, receiver.url(), timeout_seconds=30.0))
        await receiver.heard()
        second = await failure(egress, receiver.url(), timeout_seconds=0.1)
        assert (second.reason, second.blame, second.was_sent) == ("timeout", "relay", False)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_one_slow_receiver_delays_nobody_else(egress: Egress) -> None:
    async with Receiver(hanging()) as stuck, Receiver(answering()) as quick:
        waiting = [asyncio.create_task(failure(egress, stuck.url(), timeout_seconds=30.0)) for _ in range(50)]
        await stuck.heard(50)
        for _ in range(20):
            assert (await answer(egress, quick.url())).status_code == 200
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_receiver_that_says_nothing_times_out(egress: Egress) -> None:
    async with Receiver(hanging()) as receiver:
        said = await failure(egress, receiver.url(), timeout_seconds=0.5)
    assert (said.reason, said.blame, said.was_sent) == ("timeout", "receiver", True)
    assert said.detail == "no answer within 0.5 s"
    assert said.timing.wait_ms is not None
    assert 0 < said.timing.wait_ms <= 1500
    assert said.timing.read_ms is None


@pytest.mark.parametrize(("behaviour", "detail"), [(dripping(), "not complete"), (slow_headers(), "no answer")])
async def test_what_is_dripped_is_cut_at_the_total_deadline(egress: Egress, behaviour: Behaviour, detail: str) -> None:
    async with Receiver(behaviour) as receiver:
        async with asyncio.timeout(5.0):
            said = await failure(egress, receiver.url(), timeout_seconds=0.8)
    assert (said.reason, said.blame, said.was_sent) == ("timeout", "receiver", True)
    assert detail in said.detail


async def test_a_connection_that_a_deadline_cut_is_not_used_again(egress: Egress) -> None:
    async with Receiver(in_turn(answering(), hanging(), answering(200, {}, b"right"))) as receiver:
        await answer(egress, receiver.url())
        assert (await failure(egress, receiver.url(), timeout_seconds=0.5)).reason == "timeout"
        assert (await answer(egress, receiver.url())).body == b"right"
        assert [call.connection for call in receiver.calls] == [1, 1, 2]


async def test_a_body_of_just_the_limit_is_whole_and_one_byte_more_is_cut(egress: Egress) -> None:
    async with Receiver(in_turn(answering(200, {}, b"x" * 1000), answering(200, {}, b"x" * 1001))) as receiver:
        whole = await answer(egress, receiver.url(), body_bytes_max=1000)
        cut = await answer(egress, receiver.url(), body_bytes_max=1000)
    assert (len(whole.body), whole.is_truncated) == (1000, False)
    assert (len(cut.body), cut.is_truncated) == (1000, True)


async def test_an_endless_body_is_cut_and_the_rest_is_never_read(egress: Egress) -> None:
    async with Receiver(endless()) as receiver:
        tracemalloc.start()
        try:
            said = await answer(egress, receiver.url(), body_bytes_max=65_536)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert said.is_truncated
    assert len(said.body) == 65_536
    assert peak_bytes < 4 * MEBIBYTE
    assert receiver.bytes_written < 32 * MEBIBYTE  # what fits into the sockets' own buffers


@pytest.mark.parametrize("behaviour", [gzip_bomb(), endless({"content-encoding": "gzip"})], ids=["bomb", "endless"])
async def test_nothing_is_ever_unpacked(egress: Egress, behaviour: Behaviour) -> None:
    async with Receiver(behaviour) as receiver:
        tracemalloc.start()
        try:
            said = await answer(egress, receiver.url(), body_bytes_max=65_536)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert said.is_truncated
    assert dict(said.headers)["content-encoding"] == "gzip"
    assert said.body.startswith((b"\x1f\x8b", b"xxxx"))
    assert peak_bytes < 8 * MEBIBYTE


async def test_an_unsolicited_stream_of_interim_answers_ends_at_the_deadline(egress: Egress) -> None:
    async def behave(_: Call, wire: Wire) -> None:
        while True:
            await wire.write(b"HTTP/1.1 103 Early Hints\r\nx-a: b\r\n\r\n")
            await asyncio.sleep(0.01)

    async with Receiver(behave) as receiver:
        assert (await failure(egress, receiver.url(), timeout_seconds=0.5)).reason == "timeout"


async def test_a_closed_port_is_refused(egress: Egress) -> None:
    with closed_port() as port:
        said = await failure(egress, f"http://127.0.0.1:{port}/")
    assert (said.reason, said.blame, said.was_sent) == ("refused", "receiver", False)


@pytest.mark.parametrize(
    "behaviour",
    [
        resetting(),
        hanging_up(),
        hanging_up(b"HTTP/1.1 200 OK\r\ncontent-le"),
        hanging_up(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        hanging_up(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        hanging_up(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ],
    ids=["reset", "closed", "half a head", "half a body", "half of chunks", "not HTTP"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_broken_answer_is_a_reset_and_a_new_connection_is_not_tried_twice(
    egress: Egress, behaviour: Behaviour, method: str
) -> None:
    async with Receiver(behaviour) as receiver:
        said = await egress.send(Outgoing(method, receiver.url()))
        assert isinstance(said, Unanswered)
        assert (said.reason, said.blame, said.was_sent) == ("reset", "receiver", True)
        assert len(receiver.calls) == 1


@pytest.mark.parametrize("end", [resetting(), hanging_up()], ids=["reset", "closed"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_the_peer_closed_is_replaced_once_without_a_word(
    egress: Egress, end: Behaviour, method: str
) -> None:
    async with Receiver(in_turn(answering(), end, answering(201))) as receiver:
        await egress.send(Outgoing(method, receiver.url()))
        said = await egress.send(Outgoing(method, receiver.url(), body=b"{}"))
        assert isinstance(said, Answered)
        assert said.status_code == 201
        assert [call.connection for call in receiver.calls] == [1, 1, 2]
        assert receiver.calls[1].body == receiver.calls[2].body == b"{}"


async def test_a_kept_connection_is_not_replaced_by_another_that_may_be_dead_too(egress: Egress) -> None:
    async def behave(call: Call, wire: Wire) -> None:
        if call.connection <= 3 and sum(each.connection == call.connection for each in receiver.calls) > 1:
            wire.reset()
            return
        if call.connection <= 3:
            await all_three.wait()
        await wire.respond(200)

    all_three = asyncio.Barrier(3)
    async with Receiver(behave) as receiver:
        await asyncio.gather(*(answer(egress, receiver.url()) for _ in range(3)))
        assert receiver.connections == 3
        assert (await answer(egress, receiver.url())).status_code == 200
        kept, new = (call.connection for call in receiver.calls[3:])
        assert (kept in {1, 2, 3}, new) == (True, 4)


async def test_a_kept_connection_is_replaced_only_once(egress: Egress) -> None:
    async with Receiver(in_turn(answering(), resetting())) as receiver:
        await answer(egress, receiver.url())
        assert (await failure(egress, receiver.url())).reason == "reset"
        assert len(receiver.calls) == 3


async def test_a_kept_connection_that_broke_in_the_middle_of_an_answer_is_not_replaced(egress: Egress) -> None:
    async with Receiver(in_turn(answering(), hanging_up(b"HTTP/1.1 200 OK\r\nx-a"), answering())) as receiver:
        await answer(egress, receiver.url())
        assert (await failure(egress, receiver.url())).reason == "reset"
        assert len(receiver.calls) == 2


async def test_tls_is_checked_against_the_name(egress: Egress, authority: Authority) -> None:
    async with Receiver(answering(), authority.server_context("localhost", "127.0.0.1")) as receiver:
        for host in ("localhost", "127.0.0.1"):
            said = await answer(egress, receiver.url(host=host))
            assert said.status_code == 200
            assert said.timing.tls_ms is not None
            assert said.timing.connect_ms is not None
        assert [call.header("host") for call in receiver.calls] == [
            f"{host}:{receiver.port}" for host in ("localhost", "127.0.0.1")
        ]


@pytest.mark.parametrize(
    ("names", "days", "fault"),
    [
        (["other.example"], 36_500, "other_name"),
        (["127.0.0.2"], 36_500, "other_name"),
        (["127.0.0.1"], 1, "expired"),
    ],
    ids=["another name", "another address", "run out"],
)
async def test_a_certificate_that_does_not_fit_is_a_tls_failure_and_nothing_is_sent(
    egress: Egress, authority: Authority, names: list[str], days: int, fault: str
) -> None:
    async with Receiver(answering(), authority.server_context(*names, days=days)) as receiver:
        said = await failure(egress, receiver.url())
        assert (said.reason, said.blame, said.was_sent) == ("tls", "receiver", False)
        assert said.certificate_fault == fault
        assert "certificate" in said.detail
        assert receiver.calls == []


async def test_the_exchange_that_makes_a_connection_tells_when_the_certificate_runs_out(
    egress: Egress, authority: Authority
) -> None:
    days = 20_000
    async with Receiver(answering(), authority.server_context("127.0.0.1", days=days)) as receiver:
        first, kept, own = [await answer(egress, receiver.url(), is_repeatable=is_it) for is_it in (True, True, False)]
    expires = GOOD_MORNING + timedelta(days=days)
    assert [said.certificate_expires_at for said in (first, kept, own)] == [expires, None, expires]
    async with Receiver(answering()) as plain:
        assert (await answer(egress, plain.url())).certificate_expires_at is None


async def test_an_unknown_authority_is_a_tls_failure(authority: Authority) -> None:
    async with (
        Egress(Guard(LOOPBACK), "relay/test") as egress,
        Receiver(answering(), authority.server_context("127.0.0.1")) as receiver,
    ):
        said = await failure(egress, receiver.url())
        assert (said.reason, said.certificate_fault) == ("tls", "untrusted")
        assert receiver.calls == []


async def test_a_server_that_does_not_speak_tls_is_a_tls_failure(egress: Egress) -> None:
    async with raw_port(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        said = await failure(egress, f"https://127.0.0.1:{port}/")
    assert (said.reason, said.blame, said.was_sent) == ("tls", "receiver", False)


async def test_a_server_that_closes_in_the_handshake_is_a_tls_failure(egress: Egress) -> None:
    async with raw_port(b"", is_open=False) as port:
        said = await failure(egress, f"https://127.0.0.1:{port}/")
    assert (said.reason, said.was_sent) == ("tls", False)


async def test_a_handshake_that_never_ends_is_cut_at_the_deadline(egress: Egress) -> None:
    async with raw_port() as port:
        said = await failure(egress, f"https://127.0.0.1:{port}/", timeout_seconds=0.5)
    assert (said.reason, said.blame, said.was_sent) == ("timeout", "network", False)
    assert said.detail == "the TLS handshake was not complete within 0.5 s"
    assert said.timing.tls_ms is not None
    assert said.timing.wait_ms is None


async def test_the_default_check_of_certificates_is_on() -> None:
    context = tls_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_every_part_of_a_first_exchange_is_timed(authority: Authority) -> None:
    async def find(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(0.02)
        return ["127.0.0.1"]

    guard = Guard(LOOPBACK, resolver=find)
    behaviour = slow(0.05, answering(200, {}, b"body"))
    async with (
        Egress(guard, "relay/test", tls=tls_context(authority.ca_file)) as egress,
        Receiver(behaviour, authority.server_context("receiver.example")) as receiver,
    ):
        timing = (await answer(egress, receiver.url(host="receiver.example"))).timing
        again = (await answer(egress, receiver.url(host="receiver.example"))).timing
    split = timing.to_json()
    assert list(split) == ["dns_ms", "connect_ms", "tls_ms", "wait_ms", "read_ms"]
    assert all(part is not None for part in split.values()), split
    assert (split["dns_ms"] or 0) >= 19
    assert (split["wait_ms"] or 0) >= 49
    assert (again.dns_ms, again.connect_ms, again.tls_ms) == (None, None, None)


async def test_closing_leaves_the_egress_ready_to_be_opened_again(egress: Egress) -> None:
    async with Receiver(answering()) as receiver:
        await answer(egress, receiver.url())
        await egress.close()
        await egress.close()
        await answer(egress, receiver.url())
        assert receiver.connections == 2
