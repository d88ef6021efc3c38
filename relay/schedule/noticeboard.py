"""What workers tell each other so that a thing is said once and not by each of them; lost without harm."""

import json
from typing import Any

from redis.asyncio import Redis

from relay.schedule.connection import answering

WORDS_KEPT_MAX = 20  # of one provider
WORDS_KEPT_SECONDS = 30 * 86_400


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

    async def note_word(self, provider: str, word: str, sample: dict[str, Any]) -> bool:
        """Keeps the sample of an answer whose state word nobody knows, one for each word; True when it is new."""
        key = f"relay:unknown:{provider}"
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hsetnx(key, word, json.dumps(sample))
        pipeline.hlen(key)
        pipeline.expire(key, WORDS_KEPT_SECONDS)
        with answering():
            is_new, count, _ = await pipeline.execute()
        if is_new and count > WORDS_KEPT_MAX:
            pipeline.hdel(key, word)
            with answering():
                await pipeline.execute()
        return bool(is_new) and count <= WORDS_KEPT_MAX

    async def unknown_words(self, provider: str) -> dict[str, dict[str, Any]]:
        """The samples by word; an answer belongs to a tenant, so only operators may see what is in them."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(f"relay:unknown:{provider}")
        with answering():
            told: dict[str, str] = (await pipeline.execute())[0]
        return {word: json.loads(text) for word, text in sorted(told.items())}
