"""Find what was never woken, whose worker died or whose time has passed, and put it right."""

import math
from collections.abc import Sequence

import structlog

from relay import metrics
from relay.announce import Announcer, deadline
from relay.clock import Clock
from relay.domain.credential import CredentialStatus
from relay.domain.job import Memo, expire
from relay.domain.moments import seconds_after, to_ms
from relay.looking.rounds import enrol
from relay.looking.standing import budget
from relay.providers.catalog import Catalog
from relay.schedule import Epoch, Item, Schedule
from relay.store import PendingDelivery, Store

log = structlog.get_logger(__name__)

PAGE = 1000  # ids that one query brings and one pipeline asks for
RECENT_SECONDS = 30.0  # what is younger was perhaps committed by a process that died before it scheduled it
SETTLING_SECONDS = 1.0  # what is younger still is being scheduled right now
RECENT_EVERY_SECONDS = 4.0
OVERDUE_EVERY_SECONDS = 10.0
OVERDUE_GRACE_SECONDS = 30.0  # the poll takes its last look first; this is for jobs whose credential is held
PRUNE_EVERY_SECONDS = 60.0
PRUNE_ROWS = 500
PRUNE_BATCHES = 20
PRUNE_PAUSE_SECONDS = 0.1  # between batches: back to back they keep SQLite's one writer from the trip (bench/prune.py)
RECOVERIES_PER_TICK = 20
RECOVERY_ROWS = 500
RECOVERY_BATCHES = 10
SPREAD_SECONDS_MAX = 10.0
SPREAD_PER_SECOND = 200.0  # how much overdue work comes back each second after a flush


class Sweep:
    """The station beside the road; any one worker runs a tick, and a missed tick costs only time."""

    def __init__(
        self,
        store: Store,
        polls: Schedule,
        deliveries: Schedule,
        epoch: Epoch,
        announcer: Announcer,
        catalog: Catalog,
        clock: Clock,
        retention_days: float,
    ) -> None:
        self._store = store
        self._polls = polls
        self._deliveries = deliveries
        self._epoch = epoch
        self._announcer = announcer
        self._catalog = catalog
        self._clock = clock
        self._retention_seconds = retention_days * 86_400
        self._last: dict[str, float] = {}
        self._job_place: str | None = None
        self._delivery_place: str | None = None

    async def tick(self) -> None:
        """One round: everything if Redis forgot, else the recent, one page of the rest, deadlines, retention."""
        if await self._epoch.is_lost():
            await self.rebuild()
            return
        if self._is_time("recent", RECENT_EVERY_SECONDS):
            await self._recent()
        await self._rolling()
        await self._recover()
        if self._is_time("overdue", OVERDUE_EVERY_SECONDS):
            await self._expire_overdue()
            await self._mend_strays()
        if self._is_time("prune", PRUNE_EVERY_SECONDS):
            await self._prune()

    async def rebuild(self) -> None:
        """Puts every limit, hold and due time back from the facts; safe to run beside live workers."""
        log.info("schedule_absent", action="building due times from the database")
        await self._restore_limits()
        place: str | None
        jobs, place = 0, None
        while page := await self._store.pending_jobs(place, PAGE):
            jobs += await self._put_jobs([(group, job_id) for job_id, group, _ in page], jobs)
            place = page[-1][0]
        deliveries, place = 0, None
        while rows := await self._store.pending_deliveries(place, PAGE):
            deliveries += await self._put_deliveries(rows, deliveries)
            place = rows[-1][0]
        # Marked last: a worker that dies half way leaves the rest to the next tick.
        await self._epoch.mark()
        # A first start finds nothing to put back, and nothing is wrong.
        (log.warning if jobs or deliveries else log.info)("schedule_rebuilt", jobs=jobs, deliveries=deliveries)

    async def _restore_limits(self) -> None:
        now = self._clock.now()
        for credential in await self._store.credentials_with_pending():
            version = str(to_ms(credential.updated_at))
            await self._polls.limit(credential.id, budget(credential, self._catalog.get(credential.provider)), version)
            until = credential.throttled_until
            if credential.status is CredentialStatus.THROTTLED and until and until > now:
                await self._polls.hold(credential.id, to_ms(until) - to_ms(now))
        for subscription in await self._store.subscriptions_with_pending():
            await self._announcer.admit(subscription)

    async def _recent(self) -> None:
        now = self._clock.now()
        since, until = seconds_after(now, -RECENT_SECONDS), seconds_after(now, -SETTLING_SECONDS)
        jobs = await self._store.recent_pending_jobs(since, until, PAGE)
        await self._put_jobs([(group, job_id) for job_id, group, _ in jobs], 0)
        await self._put_deliveries(await self._store.recent_pending_deliveries(since, until, PAGE), 0)

    async def _rolling(self) -> None:
        jobs = await self._store.pending_jobs(self._job_place, PAGE)
        self._job_place = jobs[-1][0] if len(jobs) == PAGE else None
        await self._put_jobs([(group, job_id) for job_id, group, _ in jobs], 0)
        rows = await self._store.pending_deliveries(self._delivery_place, PAGE)
        self._delivery_place = rows[-1][0] if len(rows) == PAGE else None
        await self._put_deliveries(rows, 0)

    async def _put_jobs(self, pairs: Sequence[tuple[str, str]], already: int) -> int:
        missing = await self._polls.missing(pairs)
        if not missing:
            return 0
        credentials = await self._store.load_credentials({group for group, _ in missing})
        definitions = {group: self._catalog.get(one.provider) for group, one in credentials.items()}
        items = [Item(group, job_id, self._spread_ms(already + index)) for index, (group, job_id) in enumerate(missing)]
        await enrol(self._polls, items, definitions)
        self._note("poll", len(missing))
        return len(missing)

    async def _put_deliveries(self, rows: Sequence[PendingDelivery], already: int) -> int:
        now_ms = to_ms(self._clock.now())
        known = {(row.subscription_id, row.id): row for row in rows}
        # Those whose links die first go first, after an outage above all.
        missing = sorted((known[pair] for pair in await self._deliveries.missing(list(known))), key=_expiry_ms)
        items = []
        for index, row in enumerate(missing):
            due_ms = to_ms(row.next_attempt_at) - now_ms if row.next_attempt_at else 0
            delay_ms = max(due_ms, self._spread_ms(already + index))
            items.append(Item(row.subscription_id, row.id, delay_ms, deadline(row.expires_at)))
        if items:
            await self._deliveries.put(items)
            self._note("deliver", len(items))
        return len(items)

    def _note(self, station: str, count: int) -> None:
        metrics.SWEPT.labels(station).inc(count)
        log.info("swept", station=station, count=count)

    def _spread_ms(self, index: int) -> int:
        return round(min(SPREAD_SECONDS_MAX, index / SPREAD_PER_SECOND) * 1000)

    async def _expire_overdue(self) -> None:
        now = self._clock.now()
        jobs = await self._store.overdue_jobs(seconds_after(now, -OVERDUE_GRACE_SECONDS), PAGE)
        if not jobs:
            return
        ended = []
        for job in jobs:
            memo = (await self._polls.memos(job.credential_id, [job.id]))[0]
            ended.append(expire(job, Memo.parse(memo or ""), now))
        endings = await self._announcer.endings(
            ended, await self._store.load_credentials({one.credential_id for one in jobs})
        )
        won = await self._store.advance_jobs(endings)
        await self._announcer.put(one.announcement for one in endings if one.announcement and one.job.id in won)
        for job in ended:
            if job.id not in won:
                continue  # somebody else was first, or has changed it meanwhile: then the next round expires it
            await self._polls.drop(job.credential_id, [job.id])
            metrics.ENDINGS.labels(job.provider, str(job.status)).inc()
            log.info("job_ended", job=job.id, provider=job.provider, status=str(job.status), polls=job.polls)

    async def _mend_strays(self) -> None:
        """Subscriptions that were changed while deliveries to them were being written."""
        now = self._clock.now()
        for tenant, subscription_id, repair in await self._store.stray_subscriptions(PAGE):
            if repair == "suspend":
                await self._store.suspend_deliveries(tenant, subscription_id, now)
            elif repair == "cancel":
                await self._store.remove_subscription(tenant, subscription_id, now)
            else:
                released = await self._store.release_deliveries(tenant, subscription_id, now, PAGE)
                await self._announcer.put_deliveries(released)

    async def _recover(self) -> None:
        """What somebody asked to be sent again. Each step leaves its place on record for whoever takes the next."""
        for recovery_id in await self._store.running_recoveries(RECOVERIES_PER_TICK):
            for _ in range(RECOVERY_BATCHES):
                step = await self._store.advance_recovery(recovery_id, self._clock.now(), RECOVERY_ROWS)
                await self._announcer.put_deliveries(step.deliveries)
                if step.is_over:
                    break

    async def _prune(self) -> None:
        now = self._clock.now()
        before = seconds_after(now, -self._retention_seconds)
        for _ in range(PRUNE_BATCHES):
            removed = await self._store.prune(before, PRUNE_ROWS) + await self._store.forget_calls(now, PRUNE_ROWS)
            metrics.PRUNED.inc(removed)
            if removed < PRUNE_ROWS:
                return
            await self._clock.sleep(PRUNE_PAUSE_SECONDS)

    def _is_time(self, what: str, every_seconds: float) -> bool:
        now = self._clock.monotonic()
        if now - self._last.get(what, -every_seconds) < every_seconds:
            return False
        self._last[what] = now
        return True


def _expiry_ms(row: PendingDelivery) -> float:
    return math.inf if row.expires_at is None else to_ms(row.expires_at)
