"""API keys: whose they are, what they may do, and how one is told from a typing error."""

import hashlib
import re
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay.domain.errors import Invalid
from relay.domain.moments import rfc3339

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "rl_"
SECRET_LENGTH = 43  # 256 bits in base 62
CHECKSUM_LENGTH = 6  # CRC-32 in base 62
NAME_CHARACTERS_MAX = 64
NAME_PATTERN = (
    r"^[A-Za-z0-9][A-Za-z0-9 ._@:/+\-]*$"  # of whatever has a name: nothing that a log or a terminal mistakes
)
SCOPES = (
    "admin",
    "read",
    "jobs:write",
    "subscriptions:write",
    "secrets:read",
    "credentials:write",
)


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key: never the key itself, only its SHA-256."""

    id: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    digest: str
    created_at: datetime
    last_used_at: datetime | None

    def may(self, scope: str) -> bool:
        """True when the key has the scope; `admin` has them all."""
        return scope in self.scopes or "admin" in self.scopes


def check_name(text: str) -> str:
    """The name of a key or a tenant as it is; raises Invalid for one that is none."""
    if not re.match(NAME_PATTERN, text) or text[-1:].isspace() or len(text) > NAME_CHARACTERS_MAX:
        characters = "letters, digits, spaces and ._@:/+-, a letter or a digit first and no space last"
        detail = f"{text!r} is no name: 1 to {NAME_CHARACTERS_MAX} {characters}"
        raise Invalid("invalid_request", detail)
    return text


def make_key(entropy: bytes) -> str:
    """`rl_` + 43 letters + 6 of checksum; `entropy` is 32 random bytes."""
    secret = _base62(int.from_bytes(entropy, "big"), SECRET_LENGTH)
    return PREFIX + secret + _checksum(secret)


def looks_like_key(text: str) -> bool:
    """True when the checksum fits, so that a mistyped key costs no query."""
    secret, check = text[len(PREFIX) : -CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    return text.startswith(PREFIX) and len(secret) == SECRET_LENGTH and _checksum(secret) == check


def digest(text: str) -> str:
    """SHA-256 in hex; enough for a secret of 256 random bits (no salt is needed against guessing)."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def key_view(key: Key, shown: str | None = None) -> dict[str, Any]:
    """The key as the API shows it; `shown` is the key itself, once, at its creation."""
    view = {
        "id": key.id,
        "object": "key",
        "name": key.name,
        "tenant": key.tenant,
        "scopes": list(key.scopes),
        "created_at": rfc3339(key.created_at),
        "last_used_at": rfc3339(key.last_used_at),
    }
    return view if shown is None else {**view, "key": shown}
