"""Ids that say what they name and sort by when they were made."""

from collections.abc import Callable
from typing import Literal

Prefix = Literal["job", "sub", "evt", "dlv", "att", "crd", "key", "rcv", "req"]
NewId = Callable[[Prefix], str]  # how what is made gets its id: freshly, or as the same call before would have named it

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing that reads like something else
TIME_BITS = 48
RANDOM_BITS = 80
RANDOM_BYTES = RANDOM_BITS // 8
LENGTH = 26  # 128 bits in base 32, the ULID layout


def make_id(prefix: Prefix, now_ms: int, entropy: bytes) -> str:
    """`job_01jd…`: 48 bits of time, then 80 of `entropy`; sorts by time as text."""
    number = (now_ms & ((1 << TIME_BITS) - 1)) << RANDOM_BITS | int.from_bytes(entropy[:RANDOM_BYTES], "big")
    digits = []
    for _ in range(LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return f"{prefix}_{''.join(reversed(digits))}"


def is_id(prefix: Prefix, text: str) -> bool:
    """True when `text` could be an id of that kind (it says nothing about whether the object exists)."""
    head, _, tail = text.partition("_")
    return head == prefix and len(tail) == LENGTH and all(letter in ALPHABET for letter in tail)
