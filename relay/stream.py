"""A station's loop: leases work as fast as it is done, renews what takes long, hands on what came of it in batches."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.tasks import end

LeaseT = TypeVar("LeaseT")
OutcomeT = TypeVar("OutcomeT")

FLUSH_SECONDS = 0.05  # between flushes, unless one is full: the first outcome in a while goes at once, others share
FLUSH_COUNT = 100
BATCH_MAX = 1000
UNFLUSHED_MAX = 2000  # beyond this nothing new is begun: the database is behind, or away
RENEW_SECONDS = 2.0
REFILL_SECONDS = 0.02  # when all slots were taken: so long free ones gather, for a lease of many costs what one costs
BACKOFF_MIN_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 2.0
LAST_FLUSH_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Held(Generic[LeaseT]):
    lease: LeaseT
    renewed_at: float


class Stream(Generic[LeaseT, OutcomeT]):
    """
    `lease(want)` gives up to so many leases and the seconds until there may be more; `work(lease)` does one and gives
    its outcome; `flush(outcomes)` puts a batch on record and ends their leases (it may be repeated with the same
    outcomes); `renew(leases)` is called for those older than RENEW_SECONDS; `wait(seconds)` may return early when
    there is news.

    Unreachable from any of them is waited out. Any other exception is a bug of ours and is logged: from `work` it
    costs that one lease, which runs out; from `flush` it costs the one outcome that makes it raise, found by halving.
    """

    def __init__(
        self,
        *,
        in_flight_max: int,
        lease: Callable[[int], Awaitable[tuple[Sequence[LeaseT], float]]],
        work: Callable[[LeaseT], Awaitable[OutcomeT]],
        flush: Callable[[list[OutcomeT]], Awaitable[object]],
        renew: Callable[[list[LeaseT]], Awaitable[object]],
        wait: Callable[[float], Coroutine[Any, Any, object]],
        clock: Clock,
    ) -> None:
        self._in_flight_max = in_flight_max
        self._lease = lease
        self._work = work
        self._flush = flush
        self._renew = renew
        self._wait = wait
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[int, _Held[LeaseT]] = {}  # in work or not yet flushed, by number
        self._outcomes: list[tuple[int, OutcomeT]] = []
        self._begun = 0
        self._flushed = 0
        self._lease_failures = 0
        self._is_closing = False
        self._has_news = False
        self._pause: asyncio.Task[object] | None = None
        self._some_unflushed = asyncio.Event()
        self._batch_is_full = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Pieces of work under way."""
        return len(self._tasks)

    async def run(
        self,
        until_seconds: float,
        stopping: asyncio.Event,
        before_end: Callable[[], Awaitable[object]] | None = None,
    ) -> int:
        """
        Works for so long, or until `stopping` is set; then leases no more, calls `before_end`, and returns when all
        that was in flight has come back and is on record: the number of outcomes. When cancelled it drops what is in
        flight, and tries once to put on record what has come back.
        """
        until = self._clock.monotonic() + until_seconds
        self._is_closing = False
        flushed_before = self._flushed
        flushing = asyncio.create_task(self._flush_as_they_come(), name="stream flush")
        helpers = [
            flushing,
            asyncio.create_task(self._renew_what_takes_long(), name="stream renew"),
            asyncio.create_task(self._listen(stopping), name="stream stop"),
        ]
        try:
            while not stopping.is_set() and (left := until - self._clock.monotonic()) > 0:
                seconds = await self._refill()
                await self._rest(min(seconds, left), left)
            await self._end(flushing, before_end)
        finally:
            await end([*helpers, *self._tasks])
            await self._flush_the_rest()
            self._held.clear()
        return self._flushed - flushed_before

    async def _refill(self) -> float:
        """Leases for the free slots and begins; returns in how many seconds there may be more."""
        self._has_news = False
        room = self._room()
        if room <= 0:
            return 0.0
        try:
            leases, seconds = await self._lease(room)
        except Exception as error:  # noqa: BLE001 - the loop never stops
            self._lease_failures += 1
            _report("lease_failed", error)
            return max(self._backoff(self._lease_failures), REFILL_SECONDS)
        self._lease_failures = 0
        for lease in leases:
            self._begin(lease)
        return seconds

    def _room(self) -> int:
        return min(self._in_flight_max - len(self._tasks), UNFLUSHED_MAX - len(self._outcomes))

    async def _rest(self, seconds: float, left: float) -> None:
        """Until there may be more to lease and room for it, but not beyond what is left."""
        if self._room() <= 0:
            await self._pause_for(self._clock.sleep(left))
            await self._clock.sleep(REFILL_SECONDS)
        elif self._lease_failures:
            await self._pause_for(self._clock.sleep(seconds))
        elif seconds > 0:
            await self._pause_for(self._wait(seconds))
        else:
            await self._clock.sleep(0)  # there is more: take it, once others have had their turn

    async def _pause_for(self, waiting: Coroutine[Any, Any, object]) -> None:
        self._pause = asyncio.create_task(waiting)
        try:
            if self._has_news:
                self._pause.cancel()
            await asyncio.wait([self._pause])
            if not self._pause.cancelled() and (error := self._pause.exception()):
                _report("wait_failed", error)
                await self._clock.sleep(BACKOFF_MIN_SECONDS)
        finally:
            self._pause.cancel()
            self._pause = None

    def _tell_news(self) -> None:
        self._has_news = True
        if self._pause is not None:
            self._pause.cancel()

    async def _listen(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._tell_news()

    def _begin(self, lease: LeaseT) -> None:
        self._begun += 1
        self._held[self._begun] = _Held(lease, self._clock.monotonic())
        task = asyncio.create_task(self._do(self._begun, lease))
        self._tasks.add(task)
        task.add_done_callback(self._note_end)

    async def _do(self, number: int, lease: LeaseT) -> None:
        try:
            outcome = await self._work(lease)
        except Exception:
            log.exception("work_failed", lease=repr(lease))
            del self._held[number]  # not renewed any more, so that it runs out
        except BaseException:
            del self._held[number]
            raise
        else:
            self._outcomes.append((number, outcome))
            self._some_unflushed.set()
            if len(self._outcomes) >= FLUSH_COUNT:
                self._batch_is_full.set()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        was_full = self._room() <= 0
        self._tasks.discard(task)
        if was_full:
            self._tell_news()

    async def _flush_as_they_come(self) -> None:
        next_flush = self._clock.monotonic()
        while not (self._is_closing and not self._outcomes):
            await self._some_unflushed.wait()
            early_by = next_flush - self._clock.monotonic()
            if early_by > 0 and not self._is_closing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(early_by):
                        await self._batch_is_full.wait()
            next_flush = self._clock.monotonic() + FLUSH_SECONDS
            batch = self._outcomes[:BATCH_MAX]
            await self._flush_batch([outcome for _, outcome in batch])
            self._forget(batch)
            self._tell_news()  # what the flush set free or put may be leased at once

    def _forget(self, batch: list[tuple[int, OutcomeT]]) -> None:
        del self._outcomes[: len(batch)]
        for number, _ in batch:
            del self._held[number]
        if len(self._outcomes) < FLUSH_COUNT:
            self._batch_is_full.clear()
        if not self._outcomes and not self._is_closing:
            self._some_unflushed.clear()

    async def _flush_batch(self, outcomes: list[OutcomeT]) -> None:
        failures = 0
        while outcomes:
            try:
                await self._flush(outcomes)
            except Unreachable as error:
                failures += 1
                _report("flush_failed", error)
                await self._clock.sleep(self._backoff(failures))
            except Exception as error:  # noqa: BLE001 - one bad outcome must not cost the others
                if len(outcomes) == 1:
                    _report("outcome_lost", error, outcome=repr(outcomes[0]))
                    return
                _report("flush_failed", error, outcomes=len(outcomes))
                middle = len(outcomes) // 2
                await self._flush_batch(outcomes[:middle])
                outcomes = outcomes[middle:]
            else:
                self._flushed += len(outcomes)
                return

    async def _renew_what_takes_long(self) -> None:
        while True:
            await self._clock.sleep(RENEW_SECONDS / 2)
            now = self._clock.monotonic()
            due = [held for held in self._held.values() if now - held.renewed_at >= RENEW_SECONDS]
            if not due:
                continue
            try:
                await self._renew([held.lease for held in due])
            except Exception as error:  # noqa: BLE001 - the next round tries again
                _report("renew_failed", error)
            else:
                for held in due:
                    held.renewed_at = now

    async def _end(self, flushing: asyncio.Task[None], before_end: Callable[[], Awaitable[object]] | None) -> None:
        if before_end is not None:
            try:
                await before_end()
            except Exception as error:  # noqa: BLE001 - what is in flight must come back all the same
                _report("before_end_failed", error)
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._is_closing = True
        self._some_unflushed.set()
        self._batch_is_full.set()
        await flushing

    async def _flush_the_rest(self) -> None:
        """After a cancellation: once, and not for long."""
        batch = list(self._outcomes)
        if batch:
            try:
                async with asyncio.timeout(LAST_FLUSH_SECONDS):
                    await self._flush([outcome for _, outcome in batch])
                self._flushed += len(batch)
            except Exception as error:  # noqa: BLE001 - the cancellation is what matters now
                _report("last_flush_failed", error, outcomes=len(batch))
            self._forget(batch)

    def _backoff(self, failures: int) -> float:
        ceiling = min(BACKOFF_MIN_SECONDS * 2.0 ** min(failures, 10), BACKOFF_MAX_SECONDS)
        return ceiling / 2 * (1 + self._clock.dice())


def _report(event: str, error: BaseException, **details: object) -> None:
    if isinstance(error, Unreachable):
        log.warning(event, reason=str(error), **details)
    else:
        log.error(event, exc_info=error, **details)
