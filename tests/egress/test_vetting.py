"""The address that was vetted is the address that is dialled; and what a proxy of the operator's changes of that."""

import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from relay.clock import Clock
from relay.egress import AiohttpTransport, Answered, Blocked, Egress, Guard, Outgoing, Unanswered, tls_context
from relay.egress.guard import DNS_CACHE_SECONDS
from relay.egress.transport import ADDRESSES_TRIED_MAX
from tests.receivers import Authority, ForwardProxy, Receiver, answering, closed_port, silent_port

ALLOWED, TRAP, SILENT = "127.0.0.1", "127.0.0.2", "127.0.0.3"
CONCEALED = "refused"  # what only a lookup could tell is told as if nobody had answered there


class Names:
    """A resolver that answers in turn, and counts."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


class StoppedClock(Clock):
    """Moves only when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Listens on every address of this machine, so that a trap would snap."""
    async with Receiver(answering(200, {"connection": "close"}), host="0.0.0.0") as receiver:
        yield receiver


def egress_with(names: Names, clock: Clock | None = None) -> Egress:
    """May reach 127.0.0.1 and nothing else that is private."""
    return Egress(Guard([ALLOWED], allow_http=True, resolver=names, clock=clock), "relay/test")


async def status_of(egress: Egress, url: str) -> int | str:
    """The status of the answer, or the reason why there is none."""
    said = await egress.send(Outgoing("POST", url, body=b"{}", timeout_seconds=5.0))
    return said.status_code if isinstance(said, Answered) else said.reason


async def test_a_name_that_turns_private_between_two_requests_is_never_reached(receiver: Receiver) -> None:
    clock, names = StoppedClock(), Names([ALLOWED], [TRAP])
    async with egress_with(names, clock) as egress:
        assert await status_of(egress, receiver.url(host="rebinding.example")) == 200
        clock.seconds += DNS_CACHE_SECONDS
        assert await status_of(egress, receiver.url(host="rebinding.example")) == CONCEALED
    assert (receiver.connections, len(names.asked)) == (1, 2)


async def test_a_name_that_turns_private_after_it_was_checked_is_never_reached(receiver: Receiver) -> None:
    clock, names = StoppedClock(), Names([ALLOWED], [TRAP])
    async with egress_with(names, clock) as egress:
        await egress.guard.resolve("rebinding.example", receiver.port)
        clock.seconds += DNS_CACHE_SECONDS
        assert await status_of(egress, receiver.url(host="rebinding.example")) == CONCEALED
    assert receiver.connections == 0


async def test_one_answer_to_the_guard_is_the_one_that_is_dialled(receiver: Receiver) -> None:
    names = Names([ALLOWED], [TRAP])  # a second question would be answered otherwise
    async with egress_with(names) as egress:
        for _ in range(3):
            assert await status_of(egress, receiver.url(host="once.example")) == 200
    assert names.asked == ["once.example"]


async def test_a_name_with_a_private_answer_among_others_is_never_reached(receiver: Receiver) -> None:
    async with egress_with(Names([ALLOWED, TRAP])) as egress:
        assert await status_of(egress, receiver.url(host="mixed.example")) == CONCEALED
    assert receiver.connections == 0


@pytest.mark.parametrize("host", [TRAP, "127.1", "2130706434", "0x7f.0.0.2", "0.0.0.0", "[::1]", "[::ffff:127.0.0.2]"])
async def test_a_literal_address_is_vetted_like_any_other(receiver: Receiver, host: str) -> None:
    async with egress_with(Names([ALLOWED])) as egress:
        assert await status_of(egress, receiver.url(host=host)) == "blocked"
    assert receiver.connections == 0


@pytest.mark.parametrize("host", [TRAP, "0.0.0.0", "[::1]"])
async def test_the_transport_itself_dials_no_literal_address_that_the_guard_refuses(
    receiver: Receiver, host: str
) -> None:
    transport = AiohttpTransport(Guard([ALLOWED], allow_http=True), Clock())
    try:
        with pytest.raises(Blocked):
            await transport.handle_async_request(httpx.Request("GET", receiver.url(host=host)))
        response = await transport.handle_async_request(httpx.Request("GET", receiver.url(host=ALLOWED)))
        assert (await response.aread(), response.status_code) == (b"", 200)
    finally:
        await transport.aclose()
    assert receiver.connections == 1


async def test_host_and_certificate_are_those_of_the_name_while_the_vetted_address_is_dialled(tmp_path: Path) -> None:
    authority, names = Authority(tmp_path), Names([ALLOWED])
    async with (
        Receiver(answering(), authority.server_context("receiver.example")) as receiver,
        Egress(Guard([ALLOWED], resolver=names), "relay/test", tls=tls_context(authority.ca_file)) as egress,
    ):
        assert await status_of(egress, receiver.url(host="receiver.example")) == 200
        assert await status_of(egress, receiver.url(host="RECEIVER.example.")) == 200
        assert await status_of(egress, receiver.url(host="other.example")) == "tls"
        assert {call.header("host") for call in receiver.calls} == {f"receiver.example:{receiver.port}"}
    assert names.asked == ["receiver.example", "receiver.example.", "other.example"]


@pytest.mark.parametrize("addresses", [[ALLOWED, "127.77.0.1"], ["127.77.0.1", ALLOWED]], ids=["first", "last"])
@pytest.mark.parametrize(("name", "days", "fault"), [("receiver.example", 1, "expired"), ("other", 9999, "other_name")])
async def test_the_fault_of_a_certificate_is_told_also_where_another_address_refuses(
    tmp_path: Path, addresses: list[str], name: str, days: int, fault: str
) -> None:
    authority, guard = Authority(tmp_path), Guard(["127.0.0.0/8"], resolver=Names(addresses))
    async with (
        Receiver(answering(), authority.server_context(name, days=days)) as receiver,
        Egress(guard, "relay/test", tls=tls_context(authority.ca_file)) as egress,
    ):
        said = await egress.send(Outgoing("POST", receiver.url(host="receiver.example")))
    assert isinstance(said, Unanswered)
    assert (said.reason, said.certificate_fault, said.was_sent) == ("tls", fault, False)


@pytest.mark.parametrize("host", ["xn--n3h.net", "xn--i-7iq.ws", "xn--ls8h.la", "xn--a.example", "www.xn--n3h.net"])
async def test_a_name_that_cannot_be_written_in_letters_is_called_as_it_is_written(
    receiver: Receiver, host: str
) -> None:
    async with egress_with(Names([ALLOWED])) as egress:
        assert await status_of(egress, receiver.url(host=host)) == 200
    assert receiver.calls[0].header("host") == f"{host}:{receiver.port}"


@pytest.mark.parametrize("dead", [["::1"], [f"127.1.0.{number}" for number in range(1, ADDRESSES_TRIED_MAX)]])
async def test_every_address_is_tried_until_one_answers(dead: list[str]) -> None:
    guard = Guard(["127.0.0.0/8", "::1"], allow_http=True, resolver=Names([*dead, ALLOWED]))
    async with Receiver(answering()) as receiver, Egress(guard, "relay/test") as egress:
        assert await status_of(egress, receiver.url(host="many.example")) == 200


async def test_an_address_that_says_nothing_delays_the_next_one_but_little() -> None:
    guard = Guard(["127.0.0.0/8"], allow_http=True, resolver=Names([SILENT, ALLOWED]))
    async with Receiver(answering()) as receiver, Egress(guard, "relay/test") as egress:
        with silent_port(SILENT, receiver.port):
            said = await egress.send(Outgoing("POST", receiver.url(host="half.example"), timeout_seconds=5.0))
    assert isinstance(said, Answered)
    assert said.timing.connect_ms is not None
    assert 200 <= said.timing.connect_ms <= 2000


@pytest.mark.parametrize(
    ("error", "blame"),
    [(socket.gaierror(socket.EAI_NONAME, "x"), "receiver"), (socket.gaierror(socket.EAI_AGAIN, "x"), "network")],
)
async def test_a_name_that_does_not_resolve_is_a_dns_failure(error: OSError, blame: str) -> None:
    async with egress_with(Names(error)) as egress:
        said = await egress.send(Outgoing("POST", "http://gone.example/"))
    assert isinstance(said, Unanswered)
    assert (said.reason, said.blame, said.was_sent) == ("dns", blame, False)
    assert said.timing.dns_ms is not None


async def test_http_is_blocked_where_it_is_not_allowed(receiver: Receiver) -> None:
    async with Egress(Guard([ALLOWED]), "relay/test") as egress:
        assert await status_of(egress, receiver.url()) == "blocked"
    assert receiver.connections == 0


def told(said: Answered | Unanswered) -> tuple[object, ...]:
    """All that a tenant may learn of a failure; of its timing, which parts there were."""
    assert isinstance(said, Unanswered)
    parts = [name for name, value in said.timing.to_json().items() if value is not None]
    return said.reason, said.detail, said.blame, said.was_sent, parts


async def test_what_a_tenant_may_read_does_not_tell_a_refused_address_from_an_unreachable_one() -> None:
    with closed_port() as port:
        async with egress_with(Names([TRAP], [ALLOWED, TRAP], [ALLOWED])) as egress:
            private, mixed, unreachable, literal = [
                await egress.send(Outgoing("POST", f"http://{host}:{port}/"))
                for host in ("private.example", "mixed.example", "unreachable.example", TRAP)
            ]
    assert told(private) == told(mixed) == told(unreachable)
    assert "127" not in str(told(private))
    assert told(literal)[:2] == ("blocked", told(private)[1])  # as the URL alone says, to everybody


async def test_the_log_alone_says_that_an_address_was_refused() -> None:
    async with egress_with(Names([TRAP])) as egress:
        with capture_logs() as lines:
            await egress.send(Outgoing("POST", "http://private.example/hook?token=hush"))
    assert [(line["event"], line["host"]) for line in lines] == [("target_refused", "private.example")]
    assert "hush" not in str(lines)
    assert "public" in lines[0]["reason"]


def egress_through(proxy: str, tls_file: str | None = None, resolver: Names | None = None) -> Egress:
    """May reach 127.0.0.1, and goes through the proxy to get there."""
    guard = Guard([ALLOWED], allow_http=True, resolver=resolver or Names([ALLOWED]))
    return Egress(guard, "relay/test", proxy=proxy, tls=tls_context(tls_file))


async def test_plain_http_goes_to_the_proxy_in_absolute_form(receiver: Receiver) -> None:
    async with ForwardProxy() as proxy, egress_through(proxy.url) as egress:
        assert await status_of(egress, receiver.url("/a/../b?c", host="receiver.example")) == 200
        assert proxy.calls[0].target == f"http://receiver.example:{receiver.port}/a/../b?c"
        assert proxy.calls[0].header("host") == f"receiver.example:{receiver.port}"
    assert receiver.calls[0].body == b"{}"


async def test_https_goes_through_the_proxy_by_connect_and_is_checked_against_the_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        Receiver(answering(), authority.server_context("receiver.example")) as receiver,
        ForwardProxy() as proxy,
        egress_through(proxy.url, authority.ca_file) as egress,
    ):
        assert await status_of(egress, receiver.url("/hook", host="receiver.example")) == 200
        assert await status_of(egress, receiver.url("/hook", host="receiver.example")) == 200
        assert await status_of(egress, receiver.url("/hook", host="other.example")) == "tls"
        assert [(call.method, call.target) for call in proxy.calls] == [
            ("CONNECT", f"receiver.example:{receiver.port}"),
            ("CONNECT", f"other.example:{receiver.port}"),
        ]
        assert [call.target for call in receiver.calls] == ["/hook", "/hook"]


async def test_the_proxys_name_and_password_go_to_the_proxy_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        Receiver(answering(), authority.server_context("receiver.example")) as receiver,
        ForwardProxy() as proxy,
        egress_through(proxy.url.replace("//", "//user:word@"), authority.ca_file) as egress,
    ):
        assert await status_of(egress, receiver.url(host="receiver.example")) == 200
        assert proxy.calls[0].header("proxy-authorization") == "Basic dXNlcjp3b3Jk"
        assert receiver.calls[0].header("proxy-authorization") is None


@pytest.mark.parametrize("host", [TRAP, "private.example", "localhost.", "printer.internal"])
async def test_the_target_is_vetted_before_the_proxy_hears_of_it(receiver: Receiver, host: str) -> None:
    guard = Guard(["192.168.7.7"], allow_http=True, resolver=Names([TRAP]))
    async with ForwardProxy() as proxy, Egress(guard, "relay/test", proxy=proxy.url) as egress:
        is_evident = bool(guard.check_url(receiver.url(host=host)))
        assert await status_of(egress, receiver.url(host=host)) == ("blocked" if is_evident else CONCEALED)
        assert proxy.calls == []


async def test_a_proxy_does_not_make_a_refused_address_tell_itself_from_an_unreachable_one() -> None:
    async with (
        ForwardProxy(refusal=502) as proxy,
        egress_through(proxy.url, resolver=Names([TRAP], [ALLOWED])) as egress,
    ):
        refused, unreachable = [
            await egress.send(Outgoing("POST", f"https://{host}/")) for host in ("private.example", "gone.example")
        ]
    assert told(refused) == told(unreachable)


async def test_a_name_that_only_the_proxy_can_look_up_is_the_proxys_to_judge(receiver: Receiver) -> None:
    names = Names(socket.gaierror(socket.EAI_NONAME, "no name server here"))
    async with ForwardProxy() as proxy, egress_through(proxy.url, resolver=names) as egress:
        assert await status_of(egress, receiver.url(host="receiver.example")) == 200


@pytest.mark.parametrize(
    ("refusal", "blame"), [(403, "relay"), (407, "relay"), (502, "network"), (503, "network"), (504, "network")]
)
async def test_a_proxy_that_refuses_to_connect_is_told_from_one_that_found_no_way(refusal: int, blame: str) -> None:
    async with ForwardProxy(refusal=refusal) as proxy, egress_through(proxy.url) as egress:
        said = await egress.send(Outgoing("POST", "https://receiver.example/"))
    assert isinstance(said, Unanswered)
    assert (said.reason, said.blame, said.was_sent) == ("refused", blame, False)


@pytest.mark.parametrize(
    ("refusal", "header", "blame"),
    [(407, "x-a", "relay"), (403, "x-squid-error", "relay"), (503, "x-squid-error", "network")],
)
async def test_what_a_proxy_says_itself_of_plain_http_is_no_fault_of_the_receiver(
    refusal: int, header: str, blame: str
) -> None:
    behaviour = answering(refusal, {header: "ERR_OF_SOME_KIND 0"})
    async with Receiver(behaviour) as proxy, egress_through(proxy.url()) as egress:
        said = await egress.send(Outgoing("POST", "http://receiver.example/"))
    assert isinstance(said, Unanswered)
    assert (said.reason, said.blame) == ("refused", blame)


async def test_an_answer_that_may_be_the_receivers_is_taken_for_it_behind_a_proxy(receiver: Receiver) -> None:
    async with Receiver(answering(403)) as refusing, ForwardProxy() as proxy, egress_through(proxy.url) as egress:
        assert await status_of(egress, refusing.url(host="receiver.example")) == 403
    async with Receiver(answering(407)) as odd, egress_with(Names([ALLOWED])) as egress:
        assert await status_of(egress, odd.url()) == 407


async def test_a_proxy_that_is_not_there_is_no_fault_of_the_receiver() -> None:
    with closed_port() as port:
        async with egress_through(f"http://127.0.0.1:{port}") as egress:
            for scheme in ("http", "https"):
                said = await egress.send(Outgoing("POST", f"{scheme}://receiver.example/"))
                assert isinstance(said, Unanswered)
                assert (said.reason, said.blame, said.was_sent) == ("refused", "relay", False)
