"""A provider's answer made safe to read: bounded, decoded, and free of what JSON or a database cannot hold."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SAMPLE_CHARACTERS_MAX = 2048
RAW_BYTES_MAX = 65_536
UNSTORABLE = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")  # may be half a surrogate pair, or NUL
UNSTORABLE_CHARACTERS = re.compile("[\ud800-\udfff\x00]")
REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One answer: `body` is the JSON value (None when there is none), `fault` says why there is none,
    `headers` are by lower-case name, `text` is the beginning of what came, for samples.
    """

    status_code: int
    headers: Mapping[str, str]
    body: Any
    fault: str | None
    is_html: bool
    text: bytes

    @property
    def is_json(self) -> bool:
        """True when the body could be read."""
        return self.fault is None

    def document(self) -> dict[str, Any]:
        """What expressions see; the state word and its meaning are filled in by whoever reads a state."""
        return {
            "status": self.status_code,
            "headers": self.headers,
            "body": self.body,
            "word": None,
            "meaning": None,
        }

    def sample(self) -> dict[str, Any]:
        """What to keep of an answer that nobody understood; bounded, printable."""
        text = self.text[: SAMPLE_CHARACTERS_MAX * 4].decode("utf-8", "replace")
        return {
            "status_code": self.status_code,
            "content_type": self.headers.get("content-type"),
            "body": text[:SAMPLE_CHARACTERS_MAX].replace("\x00", REPLACEMENT),
        }


def read_answer(
    status_code: int, headers: Iterable[tuple[str, str]], body: bytes, *, is_truncated: bool = False
) -> Answer:
    """The answer in `body`; never raises, whatever the bytes are."""
    value, fault = (None, "the answer is too large") if is_truncated else _decoded(body)
    start = body[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    lowered: dict[str, str] = {}
    for name, text in headers:
        lowered.setdefault(name.lower(), text)
    return Answer(status_code, lowered, value, fault, start.startswith(b"<"), body)


def _decoded(body: bytes) -> tuple[Any, str | None]:
    if not body.strip():
        return None, "the answer is empty"
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None, "the answer is not UTF-8"
    try:
        value = DECODER.decode(text)
        return (_cleaned(value) if UNSTORABLE.search(body) else value), None
    except (ValueError, RecursionError):
        return None, "the answer is not JSON"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a number that JSON can hold")
    return number


DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def _cleaned(value: Any) -> Any:
    """`value` without half surrogate pairs and NULs, which no UTF-8 and no PostgreSQL text can hold."""
    if isinstance(value, str):
        return UNSTORABLE_CHARACTERS.sub(REPLACEMENT, value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(item) for name, item in value.items()}
    return value


def presentable(value: Any) -> Any:
    """`value` if it is small enough to be sent along in every event, else None."""
    try:
        size_bytes = len(json.dumps(value, separators=(",", ":")))
    except (ValueError, TypeError, RecursionError):
        return None
    return value if size_bytes <= RAW_BYTES_MAX else None
