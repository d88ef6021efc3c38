"""Reads answers: as lenient as curl is where their head says all, and deaf to what comes before anybody has asked."""

import asyncio
import re
import select
from typing import Any

import httpx
from aiohttp.client_proto import ResponseHandler

HEADERS_BYTES_MAX = 65_536  # of a whole head
HEADERS_MAX = 1000
BODILESS = frozenset({204, 304})  # RFC 9112, section 6.3: whatever their headers say

MARK = b"HTTP/"
HEAD_END = re.compile(rb"\n\r?\n")
STATUS = re.compile(rb"HTTP/[0-9]\.[0-9] +([0-9]{3})")
SPACED = re.compile(rb"^([^\s:]+)[ \t]+:", re.MULTILINE)  # RFC 9112, section 5.1
LENGTH = re.compile(rb"^content-length:([^\r\n]*)\r?\n", re.IGNORECASE | re.MULTILINE)
CHUNKED = re.compile(rb"^transfer-encoding:[^\r\n]*chunked", re.IGNORECASE | re.MULTILINE)
WHOLE_NUMBER = re.compile(rb"[0-9]{1,18}")


class HungUp(httpx.ReadError):
    """
    The peer closed or reset the connection; `is_stale` when that had been kept from an earlier exchange, and not one
    byte of an answer had come.
    """

    def __init__(self, message: str, *, is_stale: bool) -> None:
        super().__init__(message)
        self.is_stale = is_stale


class HeadersTooLarge(httpx.RemoteProtocolError):
    """The response has more, or longer, headers than any honest one."""


class AnswerReader(ResponseHandler):
    """
    What reads from one connection. aiohttp's parser, which is strict, gets each head whole and made plain, and of the
    body what the head has announced: a byte too many, or one that comes when nobody has asked, costs the connection,
    and never the answer that came before it or after.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._head = bytearray()  # as much as has come of one that is not whole yet
        self._has_head = False  # of the answer that was asked for last, not of the interim ones before it
        self._body_left: int | None = None  # bytes; None where only the parser can tell
        self._asked: dict[str, Any] = {}

    def is_connected(self) -> bool:
        """What the pool asks of a kept connection: not if the peer has closed it, or said a thing since."""
        return super().is_connected() and not self.should_close and not (self._is_idle and self._is_readable())

    def set_response_params(self, **asked: Any) -> None:
        """The next answer will be that to a request which goes out now."""
        self._asked, self._has_head, self._body_left = asked, False, None
        super().set_response_params(**asked)  # gives what the peer has said before it was asked, if it has

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._upgraded:
            super().data_received(data)
            return
        if data and self.exception() is not None:
            return
        while data and not self._has_head:
            data = self._read_head(data)
        if self._has_head:
            self._read_body(data)

    def connection_lost(self, error: BaseException | None) -> None:
        if self._head:
            self.set_exception(HungUp("the connection was closed in the middle of the headers", is_stale=False))
        super().connection_lost(error)

    @property
    def _is_idle(self) -> bool:
        return self._has_head and self._payload is not None and self._payload.is_eof() and not self._buffer

    def _is_readable(self) -> bool:
        """True when something lies in the socket: the next answer would begin with it."""
        if self.transport is None:
            return False
        waiting = select.poll()
        waiting.register(self.transport.get_extra_info("socket"), select.POLLIN)
        return bool(waiting.poll(0))

    def _read_head(self, data: bytes) -> bytes:
        """What follows the head, if this completes it."""
        searched = max(len(self._head) - 2, 0)
        self._head += data if self._head else data.lstrip(b"\r\n")
        if not MARK.startswith(bytes(self._head[: len(MARK)])):
            return self._refuse(httpx.RemoteProtocolError("the answer does not begin as HTTP does"))
        end = HEAD_END.search(self._head, searched)
        size = end.end() if end else len(self._head)
        if size > HEADERS_BYTES_MAX or self._head.count(b"\n", 0, size) - 2 > HEADERS_MAX:
            return self._refuse(
                HeadersTooLarge(f"more than {HEADERS_BYTES_MAX} bytes or {HEADERS_MAX} lines of headers")
            )
        if end is None:
            return b""
        head, rest = bytes(self._head[:size]), bytes(self._head[size:])
        self._head.clear()
        self._begin(head)
        return rest

    def _refuse(self, error: httpx.RemoteProtocolError) -> bytes:
        """Who has asked, or is about to, closes the connection when he reads this."""
        self._head.clear()
        self.set_exception(error)
        return b""

    def _begin(self, head: bytes) -> None:
        status = STATUS.match(head)
        code = int(status[1]) if status else 0
        self._has_head = not 100 <= code <= 199 or code == 101
        head, length = self._with_one_length(SPACED.sub(rb"\1:", head))
        if code in BODILESS and (length or CHUNKED.search(head)):
            self.force_close()  # the body that must not come may come all the same, when the next answer is due
        if code in BODILESS or self._asked.get("skip_payload"):
            super().set_response_params(**{**self._asked, "skip_payload": True})
            length = 0
        self._body_left = length
        super().data_received(head)

    def _with_one_length(self, head: bytes) -> tuple[bytes, int | None]:
        """The head less what RFC 9112, section 6.3, lets one take from it, and the length of the body, if it says."""
        lines = list(LENGTH.finditer(head))
        if not lines:
            return head, None
        first, rest = lines[0], head[lines[0].end() :]
        if CHUNKED.search(head):
            self.force_close()
            return head[: first.start()] + LENGTH.sub(b"", rest), None
        lengths = {number.strip() for line in lines for number in line[1].split(b",")}
        number = lengths.pop()
        if lengths or not WHOLE_NUMBER.fullmatch(number):
            return head, None  # the parser will say so
        if len(lines) == 1 and first[1].strip() == number:
            return head, int(number)
        self.force_close()
        return head[: first.start()] + b"content-length: " + number + b"\r\n" + LENGTH.sub(b"", rest), int(number)

    def _read_body(self, data: bytes) -> None:
        """With no data it is aiohttp that calls, to have the parser go on where it had to wait."""
        if data and self._is_idle:
            self.force_close()
            self.close()
            return
        if self._body_left is not None:
            if len(data) > self._body_left:
                self.force_close()  # first of all: with the last byte of its body a connection is given back
                data = data[: self._body_left]
            self._body_left -= len(data)
        super().data_received(data)
