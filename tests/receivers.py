"""Receivers on loopback that behave well or badly on purpose, and remember what they were sent."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HEARD_WITHIN_SECONDS = 5.0
GOOD_MORNING = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came over the wire; header names in lower case, in order."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key == name), None)


class Wire:
    """The receiver's side of one connection: what a behaviour writes with."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.bytes_written = 0
        self.is_closing = False

    async def write(self, raw: bytes) -> None:
        """Sends, and waits until the peer has made room; raises ConnectionError when it is gone."""
        self.writer.write(raw)
        self.bytes_written += len(raw)
        await self.writer.drain()

    async def respond(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """A whole and honest response."""
        lines = [f"HTTP/1.1 {status} Word"]
        if status != 204:
            lines.append(f"content-length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def close(self) -> None:
        """Ends the connection after what was written."""
        self.is_closing = True

    def reset(self) -> None:
        """Ends the connection rudely."""
        self.is_closing = True
        self.writer.transport.abort()


Behaviour = Callable[[Call, Wire], Awaitable[None]]


@dataclass
class Receiver:
    """A server on loopback; use as `async with Receiver(behaviour) as receiver`."""

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    connections: int = 0
    bytes_written: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Where to reach it, by the name or address `host`."""
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    async def heard(self, count: int = 1, within_seconds: float = HEARD_WITHIN_SECONDS) -> list[Call]:
        """The calls, as soon as there are `count` of them; TimeoutError when there are not."""
        async with asyncio.timeout(within_seconds):
            while len(self.calls) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.calls

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        wire = Wire(reader, writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._converse(wire, self.connections)
        except asyncio.CancelledError:
            pass  # the test has ended
        finally:
            self.bytes_written += wire.bytes_written
            self._open.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(self, wire: Wire, connection: int) -> None:
        while not wire.is_closing:
            call = await read_call(wire.reader, connection)
            if call is None:
                return
            self.calls.append(call)
            self._changed.set()
            await self.behaviour(call, wire)


async def read_call(reader: asyncio.StreamReader, connection: int = 0) -> Call | None:
    """The next request of a connection, None at its end."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    request_line, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = request_line.split(" ")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = int(dict(headers).get("content-length", "0"))
    return Call(method, target, headers, await reader.readexactly(length), connection)


def answering(status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Behaviour:
    """Answers, always the same."""

    async def behave(_: Call, wire: Wire) -> None:
        await wire.respond(status, headers, body)

    return behave


def redirecting(status: int, location: str) -> Behaviour:
    """Sends elsewhere."""
    return answering(status, {"location": location})


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first behaviour for the first call, and so on; the last for all that follow."""
    left = list(behaviours)

    async def behave(call: Call, wire: Wire) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(call, wire)

    return behave


def hanging() -> Behaviour:
    """Reads the request and says nothing, until the caller goes away."""

    async def behave(_: Call, wire: Wire) -> None:
        await wire.reader.read()
        wire.close()

    return behave


def slow(seconds: float, then: Behaviour) -> Behaviour:
    """Thinks first."""

    async def behave(call: Call, wire: Wire) -> None:
        await asyncio.sleep(seconds)
        await then(call, wire)

    return behave


def dripping(piece: bytes = b".", every_seconds: float = 0.05, length: int = 1_000_000) -> Behaviour:
    """Sends its headers at once and its body a piece at a time, so that no single read takes long."""

    async def behave(_: Call, wire: Wire) -> None:
        await wire.write(f"HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n".encode())
        while True:
            await wire.write(piece)
            await asyncio.sleep(every_seconds)

    return behave


def slow_headers(every_seconds: float = 0.05) -> Behaviour:
    """Never comes to the end of its headers."""

    async def behave(_: Call, wire: Wire) -> None:
        await wire.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        while True:
            await wire.write(b".")
            await asyncio.sleep(every_seconds)

    return behave


def resetting() -> Behaviour:
    """Reads the request and resets the connection."""

    async def behave(_: Call, wire: Wire) -> None:
        wire.reset()

    return behave


def hanging_up(first: bytes = b"") -> Behaviour:
    """Reads the request, writes `first`, which is no whole response, and closes."""

    async def behave(_: Call, wire: Wire) -> None:
        await wire.write(first)
        wire.close()

    return behave


def endless(headers: Mapping[str, str] | None = None, piece: bytes = b"x" * 65_536) -> Behaviour:
    """A chunked body without end, as fast as it is read."""

    async def behave(_: Call, wire: Wire) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        await wire.write(f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{lines}\r\n".encode())
        while True:
            await wire.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    return behave


def gzip_bomb(unpacked_bytes: int = 256 * 1024 * 1024) -> Behaviour:
    """A small body that would be a large one, to who unpacks it."""
    return answering(200, {"content-encoding": "gzip"}, gzip.compress(bytes(unpacked_bytes), compresslevel=1))


def many_headers(count: int, value: str = "v") -> Behaviour:
    """More headers than anybody needs."""
    return answering(200, {f"x-{number}": value for number in range(count)})


@dataclass
class ForwardProxy:
    """
    A forward proxy on loopback: absolute-form for http, CONNECT for https. Whatever name it is asked for, it connects
    to 127.0.0.1, as a proxy does that sees another network; `refusal` is a status that it answers instead.
    """

    refusal: int | None = None
    calls: list[Call] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._open: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._forward(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = await read_call(reader)
        if call is None:
            return
        self.calls.append(call)
        if self.refusal is not None:
            writer.write(f"HTTP/1.1 {self.refusal} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            return
        authority = call.target if call.method == "CONNECT" else call.target.split("/")[2]
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", int(authority.rpartition(":")[2]))
        if call.method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Established\r\n\r\n")
        else:
            path = "/" + call.target.split("/", 3)[3]
            lines = "".join(f"{name}: {value}\r\n" for name, value in call.headers if not name.startswith("proxy-"))
            there_writer.write(f"{call.method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + call.body)
            there_writer.write_eof()  # one exchange a connection: the next one's target must be rewritten, too
            await _copy(there_reader, writer)
            there_writer.close()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, there_writer))
                both.create_task(_copy(there_reader, writer))
        finally:
            there_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


class Authority:
    """A certificate authority of our own; its certificate is in `ca_file`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file = str(folder / "authority.pem")
        Path(self.ca_file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self, *names: str, days: int = 36_500) -> ssl.SSLContext:
        """For a server with a certificate for these names and addresses, good for so many days since 2020."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = (
            self._builder(subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"{certificate.serial_number:x}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int = 36_500
    ) -> x509.CertificateBuilder:
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(GOOD_MORNING)
            .not_valid_after(GOOD_MORNING + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer_key, critical=False)
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@asynccontextmanager
async def raw_port(greeting: bytes = b"", *, is_open: bool = True) -> AsyncIterator[int]:
    """A port that says its greeting to whoever connects, whatever they say, and then nothing more."""
    open_writers: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.append(writer)
        writer.write(greeting)
        if not is_open:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_writers:
            writer.close()


@contextmanager
def silent_port(host: str, port: int) -> Iterator[None]:
    """An address where connections are neither taken nor refused, as behind a firewall that drops them."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):  # nobody accepts: when the queue is full, the kernel answers no more
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((host, port))
        yield


@contextmanager
def closed_port() -> Iterator[int]:
    """A port where nothing listens, held so that nobody else takes it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        yield holder.getsockname()[1]
