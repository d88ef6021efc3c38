"""Answers whose state word nobody knows: counted each time, kept once as a sample, and warned about once."""

import structlog

from relay import metrics
from relay.domain.errors import Unreachable
from relay.domain.observation import Observation
from relay.looking.desk import Sight
from relay.schedule import Noticeboard

log = structlog.get_logger(__name__)

WORD_CHARACTERS_MAX = 100
WORDS_REMEMBERED_MAX = 1000  # by this process, so that a word that keeps coming back asks Redis nothing
NO_WORD = ""


class Curiosities:
    """The sample goes to the log and to Redis, for the operator who will add the word to the definition."""

    def __init__(self, noticeboard: Noticeboard) -> None:
        self._noticeboard = noticeboard
        self._known: set[tuple[str, str]] = set()

    async def note(self, sight: Sight, observation: Observation) -> None:
        """One more answer that said something unknown; the job stays pending."""
        provider = sight.job.provider
        word = (observation.provider_status or NO_WORD)[:WORD_CHARACTERS_MAX]
        metrics.UNKNOWN_WORDS.labels(provider).inc()
        if (provider, word) in self._known or len(self._known) >= WORDS_REMEMBERED_MAX:
            return
        self._known.add((provider, word))
        sample = {"job": sight.job.id, "detail": observation.detail, **(observation.sample or {})}
        try:
            is_new = await self._noticeboard.note_word(provider, word, sample)
        except Unreachable:
            is_new = True
        if is_new:
            log.warning("unknown_word", provider=provider, word=word, **sample)
