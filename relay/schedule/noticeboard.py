"""What workers tell each other so that a thing is said once and not by each of them; lost without harm."""

import json
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from relay.schedule.connection import answering

WORDS_KEPT_MAX = 20  # of one provider
WORDS_KEPT_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class UnknownWord:
    """A state word that no definition knows: how often workers saw it, when last, and the first answer with it."""

    word: str
    count: int
    last_seen_ms: int
    sample: dict[str, Any]


class Noticeboard:
    """Notes by name, kept in Redis alone. After a flush a thing may be said twice. Every method raises Unreachable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def is_first(self, name: str, seconds: float) -> bool:
        """True for whoever asks first in so many seconds."""
        with answering():
            return bool(await self._redis.set(f"relay:said:{name}", "1", nx=True, px=round(seconds * 1000)))

    async def since_ms(self, name: str, now_ms: int, kept_seconds: float) -> int:
        """When this was first said, if it was said again at least every `kept_seconds`; else `now_ms`, from now on."""
        key = f"relay:since:{name}"
        kept_ms = round(kept_seconds * 1000)
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.set(key, str(now_ms), nx=True, px=kept_ms)
            pipeline.pexpire(key, kept_ms)
            pipeline.get(key)
            *_, told = await pipeline.execute()
        return int(told) if told else now_ms

    async def forget_since(self, name: str) -> None:
        """It is so no more."""
        with answering():
            await self._redis.delete(f"relay:since:{name}")

    async def note_word(self, provider: str, word: str, sample: dict[str, Any], count: int, now_ms: int) -> bool:
        """
        So many more answers, the last of them now, whose state word nobody knows. Keeps the sample of the first one;
        True when the word is new. Of a provider with too many such words no more are kept.
        """
        samples, counts, moments = _keys(provider)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hsetnx(samples, word, json.dumps(sample))
        pipeline.hlen(samples)
        with answering():
            is_new, words = await pipeline.execute()
        if is_new and words > WORDS_KEPT_MAX:
            pipeline.hdel(samples, word)
        else:
            pipeline.hincrby(counts, word, count)
            pipeline.hset(moments, word, str(now_ms))
        for key in (samples, counts, moments):
            pipeline.expire(key, WORDS_KEPT_SECONDS)
        with answering():
            await pipeline.execute()
        return bool(is_new) and words <= WORDS_KEPT_MAX

    async def unknown_words(self, provider: str) -> list[UnknownWord]:
        """What is kept, the last seen first; a sample belongs to a tenant, so only operators may see what is in it."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in _keys(provider):
            pipeline.hgetall(key)
        with answering():
            samples, counts, moments = await pipeline.execute()
        words = [
            UnknownWord(word, int(counts.get(word, 1)), int(moments.get(word, 0)), json.loads(text))
            for word, text in samples.items()
        ]
        return sorted(words, key=lambda one: (-one.last_seen_ms, one.word))


def _keys(provider: str) -> tuple[str, str, str]:
    """Hashes by word: a sample, how often it was seen, and when last."""
    return f"relay:unknown:{provider}", f"relay:unknown:{provider}:counts", f"relay:unknown:{provider}:moments"
