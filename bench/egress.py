"""Compares httpx over its own pool with the relay's egress, in one run on one machine, against one server process."""

# Both send the same requests, in turns, so that they see the machine's moods alike; the egress does so with its guard,
# timings and deadlines. Hosts are addresses 127.0.x.y, so Linux is needed: elsewhere only 127.0.0.1 is there.
#
#     python bench/egress.py [seconds per round] > bench/results/egress.txt

import asyncio
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from itertools import cycle

import httpx

from relay.egress import Answered, Egress, Guard, Outgoing

IN_FLIGHT = 50
ROUNDS = 5
SECONDS = 3.0
BODY = b'{"id":"evt_01jd","type":"job.completed","data":{}}'
HEADERS = {"content-type": "application/json", "webhook-id": "evt_01jd"}
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

Send = Callable[[str], Awaitable[None]]


class Answering(asyncio.Protocol):
    """As little of a server as will do: one answer for each request, whose body ends the piece it came in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(BODY):
            self.received = b""
            self.transport.write(ANSWER)  # type: ignore[attr-defined]  # a transport that writes


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "0.0.0.0", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def round_of(send: Send, urls: list[str], seconds: float) -> float:
    """Requests per second, with IN_FLIGHT at a time."""
    turns = cycle(urls)
    done = 0
    ends = 0.0

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < ends:
            await send(next(turns))
            done += 1

    started = time.perf_counter()
    ends = started + seconds
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return done / (time.perf_counter() - started)


async def compare(port: int, hosts: int, seconds: float) -> None:
    urls = [f"http://127.0.{number // 250}.{number % 250 + 1}:{port}/hook" for number in range(hosts)]
    limits = httpx.Limits(max_connections=2000, max_keepalive_connections=2000, keepalive_expiry=60)
    async with (
        httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as client,
        Egress(Guard(["127.0.0.0/8"], allow_http=True), "relay/bench") as egress,
    ):

        async def by_httpx(url: str) -> None:
            assert (await client.post(url, content=BODY, headers=HEADERS)).status_code == 200

        async def by_egress(url: str) -> None:
            said = await egress.send(Outgoing("POST", url, HEADERS, BODY, timeout_seconds=30))
            assert isinstance(said, Answered), said

        ways: dict[str, Send] = {"httpx's own pool": by_httpx, "relay.egress": by_egress}
        figures: dict[str, list[float]] = {name: [] for name in ways}
        for send in ways.values():
            await round_of(send, urls, min(seconds, 1.0))  # warm
        for _ in range(ROUNDS):
            for name, send in ways.items():
                figures[name].append(await round_of(send, urls, seconds))
    medians = {name: statistics.median(rates) for name, rates in figures.items()}
    print(f"\n{hosts} host{'s' if hosts > 1 else ''}, {IN_FLIGHT} in flight")
    for name, rates in figures.items():
        print(f"  {name:18} {medians[name]:8.0f} requests/s   ({', '.join(f'{rate:.0f}' for rate in rates)})")
    slow, fast = medians.values()
    print(f"  {'ratio':18} {fast / slow:8.1f}")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        print(
            f"Medians of {ROUNDS} rounds of {seconds:g} s, in turns; POST, {len(BODY)} bytes; all rounds in brackets."
        )
        print(f"Python {platform.python_version()}, httpx {version('httpx')}, aiohttp {version('aiohttp')}")
        for hosts in (1, 500):
            asyncio.run(compare(port, hosts, seconds))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        asyncio.run(serve())
    else:
        main()
