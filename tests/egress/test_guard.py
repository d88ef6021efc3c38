"""What the guard refuses: by the URL's form, by what a name resolves to, and whatever a name server does."""

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import Clock
from relay.egress import Blocked, Guard, NameNotResolved
from relay.egress.guard import DNS_CACHE_ENTRIES_MAX, DNS_CACHE_SECONDS, DNS_FAILURE_CACHE_SECONDS, look_up

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "addresses.json").read_text())
*REFUSED_URLS, ALLOWED_URL = VECTORS["urls"]
PUBLIC, OTHER_PUBLIC, PRIVATE = "93.184.216.34", "2606:4700:4700::1111", "10.0.0.1"


class StoppedClock(Clock):
    """Moves only when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


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


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_a_bad_url_is_refused_by_its_form_even_where_http_is_allowed(url: str) -> None:
    assert Guard(allow_http=True).check_url(url)
    assert Guard().check_url(url)


def test_a_fragment_is_fine_and_is_not_sent() -> None:
    assert Guard().check_url(ALLOWED_URL) == []
    assert Guard().target(ALLOWED_URL).path == "/"


@pytest.mark.parametrize("address", VECTORS["refuse_addresses"])
def test_a_refused_address_is_refused_in_a_url_without_being_echoed(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    faults = Guard().check_url(f"https://{host}/hook")
    assert faults
    assert not any(address in fault for fault in faults)


@pytest.mark.parametrize("address", VECTORS["allow_addresses"])
def test_a_public_address_is_fine_in_a_url(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    assert Guard().check_url(f"https://{host}/hook") == []


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/hook?a=b&c=%2F",
        "HTTPS://EXAMPLE.COM/",
        "https://example.com./",
        "https://münchen.example/straße",
        "https://xn--mnchen-3ya.example/",
        "https://a_b.example.com/",
        "https://receiver/hook",
        "https://1.example/",
        "https://0x7f.example.com/",
        "https://example.com/a/../b/./c//d",
        "https://example.com/{braces}|and\"quotes'",
        "https://example.com?q",
    ],
)
def test_an_honest_url_is_fine(url: str) -> None:
    assert Guard().check_url(url) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "https:example.com",
        "https:/example.com/",
        "https:///example.com/",
        "https://@example.com/",
        "https://example.com:0/",
        "https://example.com:/",
        "https://example.com:-1/",
        "https://example.com:８０/",
        "https://example.com:443:443/",
        "https://[::1/",
        "https://::1/",
        "https://[::1]x/",
        "https://[2606:4700:4700:0:0:0:0:1111]/",
        "https://[example.com]/",
        "https://[]/",
        "https://exam%70le.com/",
        "https://example..com/",
        "https://.example.com/",
        "https://-example.com/",
        "https://example.com\\@evil.example/",
        "https://example.com\t/",
        "https://example.com/\x00",
        "https://example.com/\u2028",
        "https://example.com/\u00a0",
        " https://example.com/",
        "https://example.com/ ",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 127 + "aa/",
        "https://example.com/" + "a" * 2048,
        "https://1.2.3.4.5/",
        "https://8.8.8.08/",
        "https://8.8.2056/",
        "https://0x08080808/",
        "https://8.8.8.8./",
        "https://8。8。8。8/",
        "https://8.8.8.8８/",
        "https://foo.127/",
        "https://127.0.0.0x1/",
        "https://foo.localhost/",
        "https://FOO.LocalHost./",
        "https://printer.local/",
        "https://db.internal./",
        "https://ⓛocalhost/",
        "https://loca\u00adlhost/",
        "ws://example.com/",
        "javascript:alert(1)",
    ],
)
def test_a_twisted_url_is_refused(url: str) -> None:
    assert Guard(allow_http=True).check_url(url)


@given(st.text(max_size=60))
def test_no_text_makes_the_check_raise(text: str) -> None:
    Guard(["127.0.0.1"], allow_http=True).check_url(text)
    Guard(["127.0.0.1"], allow_http=True).check_url(f"https://{text}")


@given(st.integers(0, 2**32 - 1), st.sampled_from(["{}", "0x{:x}", "0{:o}", "{}.", "0x{:X}", "1.{}", "1.2.{}"]))
def test_no_number_is_ever_taken_for_an_address(number: int, spelling: str) -> None:
    assert Guard(["0.0.0.0/0", "::/0"]).check_url(f"https://{spelling.format(number)}/")


def test_http_is_refused_unless_it_is_allowed() -> None:
    assert Guard().check_url("http://example.com/") == ["the URL's scheme must be https"]
    assert Guard(allow_http=True).check_url("http://example.com/") == []


def test_every_fault_is_named() -> None:
    assert len(Guard().check_url("http://10.0.0.1/")) == 2


def test_what_is_allowed_by_setting_is_fine_and_nothing_beside_it() -> None:
    guard = Guard(["10.0.0.0/24", "::1"])
    assert guard.check_url("https://10.0.0.7/") == []
    assert guard.check_url("https://[::1]/") == []
    assert guard.check_url("https://10.0.1.7/")
    assert guard.check_url("https://127.0.0.1/")


def test_private_names_are_fine_by_form_only_where_something_private_is_allowed() -> None:
    assert Guard(["10.0.0.0/8"]).check_url("https://hooks.corp.internal/") == []
    assert Guard(["10.0.0.0/8"]).check_url("https://localhost/")
    assert Guard(["127.0.0.1"]).check_url("https://localhost/") == []


async def test_a_name_with_one_private_answer_among_public_ones_is_refused() -> None:
    for answer in ([PUBLIC, PRIVATE], [PRIVATE, PUBLIC], [OTHER_PUBLIC, PUBLIC, "::ffff:10.0.0.1"]):
        with pytest.raises(Blocked):
            await Guard(resolver=Names(answer)).resolve("mixed.example", 443)


async def test_a_public_name_gives_all_its_addresses_once() -> None:
    guard = Guard(resolver=Names([PUBLIC, OTHER_PUBLIC, PUBLIC]))
    assert await guard.resolve("good.example", 443) == (ip_address(PUBLIC), ip_address(OTHER_PUBLIC))


async def test_public_and_allowed_answers_may_be_mixed() -> None:
    guard = Guard([PRIVATE], resolver=Names([PUBLIC, PRIVATE]))
    assert len(await guard.resolve("split.example", 443)) == 2


async def test_a_name_that_turns_private_is_refused_as_soon_as_it_is_asked_again() -> None:
    clock, names = StoppedClock(), Names([PUBLIC], ["127.0.0.1"])
    guard = Guard(resolver=names, clock=clock)
    assert await guard.resolve("rebinding.example", 443) == (ip_address(PUBLIC),)
    clock.seconds += DNS_CACHE_SECONDS - 0.1
    assert await guard.resolve("rebinding.example", 443) == (ip_address(PUBLIC),)
    clock.seconds += 0.2
    with pytest.raises(Blocked):
        await guard.resolve("rebinding.example", 443)
    assert len(names.asked) == 2


async def test_literal_addresses_are_judged_without_asking_anybody() -> None:
    names = Names([PUBLIC])
    guard = Guard(resolver=names)
    assert await guard.resolve(OTHER_PUBLIC, 443) == (ip_address(OTHER_PUBLIC),)
    with pytest.raises(Blocked):
        await guard.resolve(PRIVATE, 443)
    assert names.asked == []


async def test_localhost_is_loopback_whatever_a_name_server_says_and_only_what_is_allowed_of_it() -> None:
    names = Names([PUBLIC])
    assert await Guard(["127.0.0.0/8"], resolver=names).resolve("localhost", 80) == (ip_address("127.0.0.1"),)
    assert await Guard(["::1"], resolver=names).resolve("a.LOCALHOST.", 80) == (ip_address("::1"),)
    with pytest.raises(Blocked):
        await Guard(resolver=names).resolve("localhost", 80)
    assert names.asked == []


@pytest.mark.parametrize(
    ("error", "is_unknown"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
        (OSError("broken"), False),
    ],
)
async def test_a_name_that_is_unknown_is_told_from_a_lookup_that_failed(error: OSError, is_unknown: bool) -> None:
    with pytest.raises(NameNotResolved) as caught:
        await Guard(resolver=Names(error)).resolve("gone.example", 443)
    assert caught.value.is_unknown is is_unknown


async def test_no_addresses_at_all_is_an_unknown_name() -> None:
    with pytest.raises(NameNotResolved) as caught:
        await Guard(resolver=Names([])).resolve("empty.example", 443)
    assert caught.value.is_unknown


async def test_a_failure_is_remembered_for_a_moment_only() -> None:
    clock, names = StoppedClock(), Names(OSError("broken"), [PUBLIC])
    guard = Guard(resolver=names, clock=clock)
    for _ in range(3):
        with pytest.raises(NameNotResolved):
            await guard.resolve("flaky.example", 443)
    clock.seconds += DNS_FAILURE_CACHE_SECONDS
    assert await guard.resolve("flaky.example", 443)
    assert len(names.asked) == 2


async def test_those_who_ask_for_one_name_at_once_share_one_lookup() -> None:
    names = Names([PUBLIC])
    guard = Guard(resolver=names)
    await asyncio.gather(*(guard.resolve("busy.example", 443) for _ in range(100)))
    assert names.asked == ["busy.example"]


async def test_a_dead_name_server_costs_the_time_budget_and_only_one_lookup() -> None:
    asked, release = [], asyncio.Event()

    async def never(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        await release.wait()
        return [PUBLIC]

    guard = Guard(resolver=never, dns_timeout_seconds=0.05)
    for _ in range(2):
        with pytest.raises(NameNotResolved):
            await guard.resolve("dead.example", 443)
    assert asked == ["dead.example"]
    lookup = guard._asking["dead.example"]
    release.set()
    await lookup
    assert await guard.resolve("dead.example", 443) == (ip_address(PUBLIC),)


async def test_who_comes_after_a_lookup_that_was_late_does_not_wait_for_it_again_for_a_while() -> None:
    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    clock = StoppedClock()
    guard = Guard(resolver=never, dns_timeout_seconds=0.2, clock=clock)
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(NameNotResolved) as caught:
            await guard.resolve("dead.example", 443)
        assert not caught.value.is_unknown
    assert time.monotonic() - began < 1.0
    clock.seconds += DNS_CACHE_SECONDS
    began = time.monotonic()
    with pytest.raises(NameNotResolved):
        await guard.resolve("dead.example", 443)
    assert time.monotonic() - began >= 0.19
    guard._asking["dead.example"].cancel()


async def test_one_who_gives_up_does_not_take_the_lookup_from_the_others() -> None:
    release = asyncio.Event()

    async def late(_host: str, _port: int) -> Sequence[str]:
        await release.wait()
        return [PUBLIC]

    guard = Guard(resolver=late)
    first, second = (asyncio.create_task(guard.resolve("slow.example", 443)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert await second == (ip_address(PUBLIC),)


async def test_the_memory_of_names_is_bounded() -> None:
    guard = Guard(resolver=Names([PUBLIC]))
    for number in range(DNS_CACHE_ENTRIES_MAX + 10):
        await guard.resolve(f"n{number}.example", 443)
    assert len(guard._known) == DNS_CACHE_ENTRIES_MAX


async def test_the_system_is_asked_for_addresses_as_text() -> None:
    assert "127.0.0.1" in await look_up("127.0.0.1", 80)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b", "nothing.invalid"])
async def test_what_the_system_cannot_look_up_is_an_os_error(host: str) -> None:
    with pytest.raises(OSError, match=r"\w"):
        await look_up(host, 80)
