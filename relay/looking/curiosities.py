"""Answers whose state word nobody knows: counted each time, kept once as a sample, and warned about once."""

import math
from dataclasses import dataclass

import structlog

from relay import metrics
from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.domain.moments import to_ms
from relay.domain.observation import Observation
from relay.looking.desk import Sight
from relay.schedule import Noticeboard

log = structlog.get_logger(__name__)

WORD_CHARACTERS_MAX = 100
WORDS_REMEMBERED_MAX = 1000  # by this process
TOLD_EVERY_SECONDS = 1.0  # of a word that keeps coming: nobody asks more exactly how often
NO_WORD = ""


@dataclass(slots=True)
class _Word:
    """What this process has seen of a word and told nobody yet."""

    untold: int = 0
    told_at: float = -math.inf  # monotonic


class Curiosities:
    """The sample goes to the log and to Redis, for the operator who will add the word to the definition."""

    def __init__(self, noticeboard: Noticeboard, clock: Clock) -> None:
        self._noticeboard = noticeboard
        self._clock = clock
        self._words: dict[tuple[str, str], _Word] = {}

    async def note(self, sight: Sight, observation: Observation) -> None:
        """One more answer that said something unknown; the job stays pending."""
        provider = sight.job.provider
        word = (observation.provider_status or NO_WORD)[:WORD_CHARACTERS_MAX]
        metrics.UNKNOWN_WORDS.labels(provider).inc()
        seen = self._words.get((provider, word))
        if seen is None:
            if len(self._words) >= WORDS_REMEMBERED_MAX:
                return
            seen = self._words[provider, word] = _Word()
        seen.untold += 1
        now = self._clock.monotonic()
        if now - seen.told_at < TOLD_EVERY_SECONDS:
            return
        is_first, seen.told_at = math.isinf(seen.told_at), now
        count, seen.untold = seen.untold, 0
        sample = {"job": sight.job.id, "detail": observation.detail, **(observation.sample or {})}
        try:
            is_new = await self._noticeboard.note_word(provider, word, sample, count, to_ms(self._clock.now()))
        except Unreachable:
            is_new = True
            seen.untold += count
        if is_new and is_first:
            # Under a name of its own: what is called a body may be anything, and the log hides it.
            log.warning("unknown_word", provider=provider, word=word, said=sample.pop("body", None), **sample)
