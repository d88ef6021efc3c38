"""Ask for many jobs in one request a page, where their provider has a list, and leave the rest to single looks."""

# A round postpones the single looks of the jobs it sees; it does nothing else to the schedule. What it does not see,
# for whatever reason, comes due and is looked at singly, at the latest after OVERLOOKED_SECONDS:
# docs/decisions/0009-rounds-postpone-looks.md.

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from relay import metrics
from relay.clock import Clock
from relay.domain.errors import Unreachable
from relay.domain.job import Again
from relay.domain.moments import seconds_after, to_ms
from relay.domain.observation import Observation, Outcome
from relay.domain.round import (
    ABSENCES_MAX,
    FAULTS_BORNE,
    IDLE_PAGES_MAX,
    OVERLOOKED_SECONDS,
    WINDOWS_SECONDS,
    RoundMemo,
    fault_gap,
    is_left_alone,
    net_seconds,
    round_gap,
)
from relay.egress import Egress
from relay.looking.desk import Desk, Sight
from relay.looking.ledger import Found, Ledger
from relay.looking.looks import Looks
from relay.looking.meter import Meter
from relay.looking.standing import Standing
from relay.providers.definition import Definition
from relay.providers.listing import ListPage, list_page
from relay.providers.request import Target
from relay.schedule import Done, Item, Later, Lease, Schedule

log = structlog.get_logger(__name__)

JOBS_MAX = 20_000  # of one credential in one round; those due later have rounds of their own
KEPT_AWAY_SECONDS = 90.0  # no single look at what a round is about to see, unless its worker dies
ROUND_SECONDS_MAX = 60.0  # then the rest is left to the next round, which goes on there
NOTHING_SOUGHT_SECONDS = 900.0
AWAY_SECONDS = 2.0  # a round that lost Redis or the database is made again then
AHEAD_SHARE = 0.9  # a round comes a little before the look that it spares

TOLD = frozenset({Outcome.PENDING, Outcome.COMPLETED, Outcome.FAILED})
NOT_UNDERSTOOD = Observation(Outcome.UNKNOWN, detail="the list could not be asked for or read")


async def enrol(schedule: Schedule, items: Sequence[Item], definitions: Mapping[str, Definition | None]) -> None:
    """
    Puts jobs on the schedule that are not on it; `definitions` by credential.

    Where rounds are made, the next one comes soon enough; the jobs are looked at singly only should it not come.
    """
    singly: list[Item] = []
    by_group: dict[str, list[Item]] = {}
    for item in items:
        definition = definitions.get(item.group)
        has_list = definition is not None and definition.listing is not None
        (by_group.setdefault(item.group, []) if has_list else singly).append(item)
    for group, its_items in by_group.items():
        definition = definitions[group]
        [due_ms], [memo] = await schedule.due_in_ms(group, [group]), await schedule.memos(group, [group])
        if definition is None or RoundMemo.parse(memo).is_failing:
            singly += its_items
            continue
        interval_seconds = definition.pacing().interval_seconds
        net_ms = _ms(net_seconds(interval_seconds))
        await schedule.put([replace(item, delay_ms=item.delay_ms + net_ms) for item in its_items])
        # After them, for it takes what it finds.
        soonest_ms = min(item.delay_ms for item in its_items)
        await schedule.put([Item(group, group, soonest_ms + (0 if due_ms is None else _ms(interval_seconds)))])
    if singly:
        await schedule.put(singly)


@dataclass(slots=True)
class _Round:
    """One round under way: who is still sought, and what became of those that were seen."""

    sight: Sight  # any of its jobs, for what all of them have in common
    sought: dict[str, Sight]  # by the provider's id
    memo: RoundMemo
    pages_max: int  # beyond so many, single looks are cheaper
    answered_at: float  # monotonic: when the first page came, or the round began
    pages: int = 0
    shown: int = 0  # jobs that the list has told of
    following: list[tuple[Sight, Again]] = field(default_factory=list)
    undecided: list[Sight] = field(default_factory=list)  # seen, but only a look of their own can say what they are
    problem: Observation | None = None
    is_cut: bool = False

    @property
    def group(self) -> str:
        return self.sight.credential.id

    @property
    def is_refused(self) -> bool:
        """The provider has answered, and would not."""
        return self.problem is not None and self.problem.outcome not in (Outcome.THROTTLED, Outcome.TRANSIENT)

    @property
    def has_trouble(self) -> bool:
        return self.problem is not None or self.is_cut


class Rounds:
    """Makes rounds; a credential's next one is an id on the schedule like any other, the credential's own."""

    def __init__(
        self,
        schedule: Schedule,
        desk: Desk,
        looks: Looks,
        standing: Standing,
        ledger: Ledger,
        egress: Egress,
        clock: Clock,
        round_seconds_max: float = ROUND_SECONDS_MAX,
    ) -> None:
        self._schedule = schedule
        self._desk = desk
        self._looks = looks
        self._standing = standing
        self._ledger = ledger
        self._egress = egress
        self._clock = clock
        self._round_seconds_max = round_seconds_max

    async def include(self, looked: Sequence[tuple[Sight, Again]]) -> None:
        """Sees to it that jobs that were looked at singly and go on have a round, where their provider has a list."""
        soonest: dict[str, float] = {}
        for sight, again in looked:
            if sight.definition is not None and sight.definition.listing is not None:
                group = sight.credential.id
                soonest[group] = min(again.delay_seconds, soonest.get(group, again.delay_seconds))
        if soonest:
            missing = await self._schedule.missing([(group, group) for group in soonest])
            await self._schedule.put([Item(group, group, _ms(soonest[group] * AHEAD_SHARE)) for group, _ in missing])

    async def ask(self, lease: Lease) -> Done | Later:
        """One round, or a single look where that is cheaper; when to make the next."""
        try:
            return await self._ask(lease)
        except Unreachable as error:
            log.warning("round_cut_short", credential=lease.group, reason=str(error))
            return Later(lease, _ms(AWAY_SECONDS))

    async def _ask(self, lease: Lease) -> Done | Later:
        group, memo = lease.group, RoundMemo.parse(lease.memo)
        definition = self._desk.definition_of(group)
        if definition is None or definition.listing is None:
            return Done(lease)
        ids = await self._schedule.waiting(group, JOBS_MAX)
        sights = await self._desk.sights(dict(zip(ids, await self._schedule.memos(group, ids), strict=True)))
        ended = set(ids) - {sight.job.id for sight in sights}
        if ended:
            await self._schedule.drop(group, list(ended))
        if not sights:
            return Done(lease)
        sought = [sight for sight in sights if sight.memo.absences < ABSENCES_MAX and not sight.memo.pending_again]
        if not sought:
            return Later(lease, _ms(NOTHING_SOUGHT_SECONDS))
        if sights[0].credential.is_paused or len(sought) < max(2, memo.pages):
            return await self._look_at(lease, sought[0])
        wait_seconds = self._standing.wait_seconds(sought[0])
        if wait_seconds > 0:
            return Later(lease, _ms(wait_seconds))
        return await self._ask_for_list(lease, memo, definition, sought)

    async def _look_at(self, lease: Lease, sight: Sight) -> Later:
        """A round of one."""
        interval_seconds = _interval_seconds(sight)
        item = Item(lease.group, sight.job.id, _ms(KEPT_AWAY_SECONDS))
        if await self._schedule.shift([item], only_later=True):  # somebody else looks at it just now
            return Later(lease, _ms(interval_seconds))
        look = await self._looks.at(sight)
        if look.observation is None:
            await self._schedule.shift([replace(item, delay_ms=_ms(net_seconds(look.wait_seconds)))])
            return Later(lease, _ms(look.wait_seconds))
        await self._standing.learn([(sight, look.observation)])
        [again] = await self._ledger.enter([Found(sight, look.observation, self._clock.dice())])
        if again is None:
            await self._schedule.drop(lease.group, [sight.job.id])
            return Later(lease, _ms(interval_seconds))
        await self._schedule.shift([self._caught(sight, again, again.delay_seconds, 0.0)])
        return Later(lease, _ms(again.delay_seconds))

    async def _ask_for_list(
        self, lease: Lease, memo: RoundMemo, definition: Definition, sights: Sequence[Sight]
    ) -> Later:
        began = self._clock.monotonic()
        if not memo.is_failing:
            waiting = [sight for sight in sights if not self._is_overlooked(sight)]
            kept_away = [Item(lease.group, sight.job.id, _ms(KEPT_AWAY_SECONDS)) for sight in waiting]
            busy = {item.id for item in await self._schedule.shift(kept_away, only_later=True)}
            sights = [sight for sight in sights if sight.job.id not in busy]
        if not sights:
            return Later(lease, _ms(definition.pacing().interval_seconds))
        sought = {sight.job.provider_job_id or "": sight for sight in sights}
        this = _Round(sights[0], sought, memo, len(sought), began)
        try:
            await self._read(this, definition, began + self._round_seconds_max)
        except Unreachable:
            raise
        except Exception:
            # Poison rule: it costs the credential its rounds, never its looks.
            log.exception("list_not_understood", credential=this.group)
            this.problem = NOT_UNDERSTOOD
        gap_seconds = await self._conclude(this)
        await self._catch(this, gap_seconds, was_failing=memo.is_failing)
        # From the first answer, not from the question: however slow the way, the provider sees the gap whole.
        left_seconds = gap_seconds - (self._clock.monotonic() - this.answered_at)
        return Later(lease, _ms(max(left_seconds, definition.pacing().min_seconds)), this.memo.dump())

    async def _read(self, this: _Round, definition: Definition, ends_at: float) -> None:
        """Pages, in a window that is opened wider while jobs are missing and it may be the window that hides them."""
        meter = Meter(self._egress, self._schedule, self._clock, this.group, definition.name, "list")
        widest = len(WINDOWS_SECONDS) - 1
        reach = min(this.memo.reach, widest) if _has_window(definition) else widest
        start, this.memo = this.memo.offset, replace(this.memo, offset=0)
        while True:
            sought, pages = len(this.sought), this.pages
            await self._read_window(this, meter, self._since(this, reach), ends_at, start)
            start = 0
            if len(this.sought) < sought:
                this.memo = replace(this.memo, reach=reach, pages=this.pages - pages)
            if reach == widest or this.is_cut or len(this.sought) <= 1 or this.pages >= this.pages_max:
                return
            if this.is_refused:  # perhaps for the form of the window, which no page of documentation may tell
                this.problem, reach = None, widest
            elif this.problem is not None:
                return
            else:
                reach += 1

    def _since(self, this: _Round, reach: int) -> datetime | None:
        slack_seconds = WINDOWS_SECONDS[reach]
        if slack_seconds is None:
            return None
        return seconds_after(min(sight.job.created_at for sight in this.sought.values()), -slack_seconds)

    async def _read_window(
        self, this: _Round, meter: Meter, since: datetime | None, ends_at: float, start: int
    ) -> None:
        """From `start` to the end of the list, and on from its beginning until there again."""
        credential = this.sight.credential
        target = replace(_target(this.sight), params=credential.params, provider_job_id="")  # nobody's in particular
        offset, idle_pages, is_tail = start, 0, start > 0
        while True:
            if this.pages and (self._clock.monotonic() >= ends_at or not await meter.pay()):
                this.is_cut = True
                this.memo = replace(this.memo, offset=offset)
                return
            page = await list_page(meter, target, self._clock, offset=offset, since=since)
            if not this.pages:
                this.answered_at = self._clock.monotonic()
            this.pages += 1
            if page.problem is not None:
                this.problem = page.problem
                this.memo = replace(this.memo, offset=offset)
                return
            offset = page.next_offset
            idle_pages = 0 if await self._take(this, page) else idle_pages + 1
            is_at_end = page.is_last or idle_pages >= IDLE_PAGES_MAX
            if not this.sought or this.pages >= this.pages_max:
                return
            if is_at_end and is_tail:
                offset, idle_pages, is_tail = 0, 0, False
            elif is_at_end or (not is_tail and 0 < start <= offset):
                return

    async def _take(self, this: _Round, page: ListPage) -> int:
        """What the page says of those that are sought; how many it has shown."""
        shown = [(this.sought.pop(told), seen) for told, seen in page.observations.items() if told in this.sought]
        found = []
        for sight, seen in shown:
            if self._can_tell(sight, seen):
                found.append(Found(replace(sight, memo=replace(sight.memo, absences=0)), seen))
            else:
                this.undecided.append(sight)
        this.shown += len(shown)
        learned = [(sight, seen) for sight, seen in shown if seen.outcome in TOLD or seen.outcome is Outcome.UNKNOWN]
        if learned:
            await self._standing.learn(learned)
        for one in found:
            metrics.LOOKS.labels(one.sight.job.provider, str(one.observation.outcome)).inc()
        if found:
            following = list(zip(found, await self._ledger.enter(found), strict=True))
            await self._schedule.drop(this.group, [one.sight.job.id for one, again in following if again is None])
            this.following += [(one.sight, again) for one, again in following if again is not None]
        return len(shown)

    def _can_tell(self, sight: Sight, seen: Observation) -> bool:
        """
        False for what takes a look of its own: refusals, unknown words, the second step of a result, the last look of
        all.
        """
        if seen.outcome not in TOLD:
            return False
        if seen.outcome is Outcome.COMPLETED:
            return sight.definition is None or sight.definition.fetch is None
        return seen.outcome is Outcome.FAILED or self._clock.now() < sight.job.deadline_at

    async def _conclude(self, this: _Round) -> float:
        """Seconds to the next round."""
        interval_seconds = _interval_seconds(this.sight)
        gap_seconds = round_gap([again.delay_seconds for _, again in this.following], this.memo.pages, interval_seconds)
        if this.problem is None:
            this.memo = replace(this.memo, faults=0)
            return gap_seconds
        faults = this.memo.faults + 1
        if this.problem.outcome is Outcome.THROTTLED:
            await self._standing.hold(this.sight, this.problem)
            await self._standing.learn([(this.sight, this.problem)])
            gap_seconds = max(gap_seconds, self._standing.hold_seconds(this.sight.credential))
            if this.shown:  # it gets on, page by page: looks would ask for more, and tell less
                this.memo = replace(this.memo, faults=0)
                return gap_seconds
        elif this.is_refused:
            # A list may be forbidden where a look is not, so this says nothing of the credential: single looks do.
            faults = max(faults, FAULTS_BORNE + 1)
            log.warning("list_refused", credential=this.group, reason=this.problem.detail, in_a_row=faults)
        else:
            await self._standing.learn([(this.sight, this.problem)])
        this.memo = replace(this.memo, faults=faults)
        pause_seconds = fault_gap(faults, interval_seconds, self._clock.dice())
        return max(gap_seconds, pause_seconds, this.problem.retry_after_seconds or 0.0)

    async def _catch(self, this: _Round, gap_seconds: float, *, was_failing: bool) -> None:
        """Gives every job the moment at which it is looked at singly, unless the next round sees it first."""
        # A gap that trouble has made longer is no reason to look at anything singly, unless all is looked at so.
        alone_seconds = math.inf if this.memo.is_failing else 0.0 if this.has_trouble else gap_seconds
        items = [self._caught(sight, again, gap_seconds, alone_seconds) for sight, again in this.following]
        items += [_absent(sight) for sight in this.undecided]
        for sight in this.sought.values():
            if not this.has_trouble:
                items.append(_absent(sight))
            elif self._is_overlooked(sight):
                continue  # when its own look is due was not touched
            elif not this.memo.is_failing:
                sought = replace(sight.memo, sought_ms=sight.memo.sought_ms or to_ms(self._clock.now()))
                items.append(Item(this.group, sight.job.id, self._net_ms(sight, gap_seconds), sought.dump()))
            elif not was_failing:
                items.append(Item(this.group, sight.job.id))
        await self._schedule.shift(items)

    def _is_overlooked(self, sight: Sight) -> bool:
        """True for a job that rounds have kept waiting for so long that only a look of its own will do."""
        since_ms = sight.memo.sought_ms
        return since_ms is not None and to_ms(self._clock.now()) - since_ms > OVERLOOKED_SECONDS * 1000

    def _caught(self, sight: Sight, again: Again, gap_seconds: float, alone_seconds: float) -> Item:
        is_alone = is_left_alone(again.delay_seconds, alone_seconds) or again.memo.pending_again > 0
        delay_ms = _ms(again.delay_seconds) if is_alone else self._net_ms(sight, gap_seconds)
        return Item(sight.credential.id, sight.job.id, delay_ms, again.memo.dump())

    def _net_ms(self, sight: Sight, gap_seconds: float) -> int:
        life_seconds = (sight.job.deadline_at - self._clock.now()).total_seconds()
        return _ms(min(net_seconds(gap_seconds), max(0.0, life_seconds)))


def _absent(sight: Sight) -> Item:
    """Due for a look now; a job that a list does not show, or not understandably, is not sought there for ever."""
    absent = replace(sight.memo, absences=sight.memo.absences + 1)
    return Item(sight.credential.id, sight.job.id, memo=absent.dump())


def _has_window(definition: Definition) -> bool:
    return definition.listing is not None and any("since" in text.names for text in definition.listing.query.values())


def _target(sight: Sight) -> Target:
    if sight.target is None:
        raise LookupError(sight.job.provider)
    return sight.target


def _interval_seconds(sight: Sight) -> float:
    if sight.definition is None:
        raise LookupError(sight.job.provider)
    return sight.definition.pacing().interval_seconds


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
