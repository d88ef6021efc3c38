"""Takes every secret in the database to the newest key while the relay runs, so that older keys can be dropped."""

from collections.abc import AsyncIterator

from relay.clock import Clock
from relay.store import SEALED, Store

BATCH_ROWS = 100  # one short transaction each
BETWEEN_BATCHES_SECONDS = 0.01  # others write, too
PROGRESS_ROWS = 1000  # between two lines about one table
UNOPENED_SHOWN_MAX = 20

DONE = "every secret in the database is under the newest key of RELAY_SECRET_KEY"
LINKS = (
    "result links in events that were sent before, and cursors, are signed with the key of their time:"
    " keep an older key for as long as those links shall work"
)
LOST = "no key of RELAY_SECRET_KEY opens these; bring back the key they were stored under, or set their secrets anew"


class Resealing:
    """One run over all tables; `unopened` names the rows that no key opens. It may be broken off and begun again."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.unopened: list[str] = []

    async def run(self) -> AsyncIterator[str]:
        """Does it, and says how far it has come, a line at a time."""
        for table in SEALED:
            async for line in self._table(table):
                yield line
        if not self.unopened:
            yield f"{DONE}; {LINKS}"
            return
        for name in self.unopened[:UNOPENED_SHOWN_MAX]:
            yield f"not opened: {name}"
        yield f"{len(self.unopened)} rows are left as they were: {LOST}"

    async def _table(self, table: str) -> AsyncIterator[str]:
        total = await self._store.count_sealed(table)
        place, seen, changed, told = None, 0, 0, 0
        while True:
            batch = await self._store.reseal(table, place, BATCH_ROWS)
            seen, changed, place = seen + batch.seen, changed + batch.changed, batch.place
            self.unopened += [f"{table} {' '.join(one)}" for one in batch.unopened]
            if place is None:
                break
            if seen - told >= PROGRESS_ROWS:
                told = seen
                yield f"{table}: {seen} of {max(total, seen)}"
            await self._clock.sleep(BETWEEN_BATCHES_SECONDS)
        yield f"{table}: all {seen}, of which {changed} were under an older key"
