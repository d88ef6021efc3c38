"""Serves the developer's own applications inside the loop that is already running."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

HOST = "127.0.0.1"
PORTS_TRIED_MAX = 100
PORT_MAX = 65_535
GRACEFUL_SECONDS = 1


class _Server(uvicorn.Server):
    """Leaves the signals to the loop's owner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def is_free(port: int, host: str = "") -> bool:
    """True when nobody listens on the port; `host` "" asks for all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port that only waits out its last connections (TIME_WAIT) is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(wanted: int, host: str = "") -> int:
    """The first free port from `wanted` upwards, or any other (`wanted` 0 asks for that)."""
    for port in range(wanted, min(wanted + PORTS_TRIED_MAX, PORT_MAX + 1)) if wanted else ():
        if is_free(port, host):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def listen(wanted: int) -> socket.socket:
    """A socket that listens on loopback, on `wanted` or the first free port after it."""
    while True:
        port = free_port(wanted, HOST)
        try:
            return socket.create_server((HOST, port))
        except OSError:
            wanted = port + 1 if port < PORT_MAX else 0  # somebody was quicker


def port_of(listener: socket.socket) -> int:
    """The port that a socket listens on."""
    return int(listener.getsockname()[1])


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[str]:
    """Serves `app` on the socket while the block runs; gives its base URL."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=GRACEFUL_SECONDS
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # The socket listens already: who comes before the server is ready waits in its backlog.
        yield f"http://{HOST}:{port_of(listener)}"
    finally:
        server.should_exit = True
        await asyncio.wait({task})
        listener.close()
