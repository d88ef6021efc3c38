"""What is told of words that nobody knows, and how often."""

import json

from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.clock import Clock
from relay.domain.observation import Observation, Outcome
from relay.looking.curiosities import TOLD_EVERY_SECONDS, Curiosities
from relay.schedule import Noticeboard, connect
from tests.looking.test_ledger import a_sight
from tests.provider_stub import CREDENTIALS
from tests.trips import living, make_credential

STRANGE = Observation(
    Outcome.UNKNOWN, provider_status="marinating", sample={"status_code": 200, "body": json.dumps({"a": 1})}
)


class HandClock(Clock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


async def test_a_word_that_keeps_coming_is_counted_and_told_now_and_then(
    database_url: str, redis_url: str, redis: Redis
) -> None:
    clock, board = HandClock(), Noticeboard(redis)
    async with living(database_url, redis_url) as relay:
        made = make_credential(relay, "fishspeech", "http://127.0.0.1:1", **CREDENTIALS["fishspeech"])
        assert await relay.steer.add_credential(made)
        sight = await a_sight(relay)
    curiosities = Curiosities(board, clock)
    with capture_logs() as logs:
        for _ in range(5):
            await curiosities.note(sight, STRANGE)
        assert [one.count for one in await board.unknown_words("fishspeech")] == [1]
        clock.at += TOLD_EVERY_SECONDS
        await curiosities.note(sight, STRANGE)
        await Curiosities(board, clock).note(sight, STRANGE)  # of another worker
        (kept,) = await board.unknown_words("fishspeech")
        assert (kept.word, kept.count) == ("marinating", 7)
        await redis.flushdb()
        clock.at += TOLD_EVERY_SECONDS
        await curiosities.note(sight, STRANGE)
    (warned,) = logs
    assert (warned["event"], warned["job"], warned["said"]) == ("unknown_word", sight.job.id, '{"a": 1}')


async def test_without_redis_it_is_warned_about_once(database_url: str, redis_url: str) -> None:
    clock, nowhere = HandClock(), connect("unix:///nowhere/redis.sock")
    async with living(database_url, redis_url) as relay:
        made = make_credential(relay, "fishspeech", "http://127.0.0.1:1", **CREDENTIALS["fishspeech"])
        assert await relay.steer.add_credential(made)
        sight = await a_sight(relay)
    curiosities = Curiosities(Noticeboard(nowhere), clock)
    with capture_logs() as logs:
        for _ in range(3):
            await curiosities.note(sight, STRANGE)
            clock.at += TOLD_EVERY_SECONDS
    assert [entry["event"] for entry in logs] == ["unknown_word"]
    await nowhere.aclose()
