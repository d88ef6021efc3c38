"""Takes events and attempts out as lines of JSON, page by page, so that they can be kept longer than the relay does."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, TextIO

import click

from relay.clock import Clock
from relay.domain.delivery import attempt_view
from relay.domain.event import compact, event_view
from relay.domain.ids import RANDOM_BYTES, Prefix, make_id
from relay.domain.moments import to_ms
from relay.store import Store

PAGE = 500


def stretch(since: str, until: str | None) -> tuple[datetime, datetime]:
    """The moments that an operator wrote; a time without an offset is UTC. Raises click.BadParameter."""
    begins = _moment("--since", since)
    ends = Clock().now() if until is None else _moment("--until", until)
    if ends < begins:
        raise click.BadParameter("it lies before --since", param_hint="--until")
    return begins, ends


class Export:
    """What one tenant was told from `since` on and before `until`, as far as it has not been pruned."""

    def __init__(self, store: Store, tenant: str, since: datetime, until: datetime) -> None:
        self._store = store
        self._tenant = tenant
        self._since = since
        self._until = until

    async def write(self, kind: str, out: TextIO) -> int:
        """Writes a line for each, oldest first, and gives their number."""
        pages = self.events() if kind == "events" else self.attempts()
        count = 0
        async for page in pages:
            out.writelines(f"{compact(view)}\n" for view in page)
            count += len(page)
        out.flush()
        return count

    async def events(self) -> AsyncIterator[list[dict[str, Any]]]:
        """The events in pages, each as the API shows it."""
        after, until = self._bounds("evt")
        while page := await self._store.events_between(self._tenant, after, until, PAGE):
            yield [event_view(one) for one in page]
            after = page[-1].id

    async def attempts(self) -> AsyncIterator[list[dict[str, Any]]]:
        """The attempts in pages, each as the API shows it, with the delivery it belongs to."""
        after, until = self._bounds("att")
        while page := await self._store.attempts_between(self._tenant, after, until, PAGE):
            yield [{**attempt_view(one), "delivery": one.delivery_id} for one in page]
            after = page[-1].id

    def _bounds(self, prefix: Prefix) -> tuple[str, str]:
        # An id begins with its moment: what was made at or after one sorts behind that moment's first id.
        first, last = (make_id(prefix, to_ms(moment), bytes(RANDOM_BYTES)) for moment in (self._since, self._until))
        return first, last


def _moment(option: str, text: str) -> datetime:
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time such as 2026-01-01T00:00:00Z", param_hint=option) from None
    return told if told.tzinfo else told.replace(tzinfo=UTC)
