"""Lists in pages, newest first, held together by signed cursors that say nothing to whoever holds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from relay.domain.errors import Fault
from relay.domain.ids import Prefix, is_id
from relay.tokens import Tokens
from relay.web.checks import bad_query
from relay.web.schemas import PageQuery


class Listed(Protocol):
    """What a list holds: things with sortable ids."""

    @property
    def id(self) -> str:
        """Sorts by the moment of its making."""


@dataclass(frozen=True, slots=True)
class Page:
    """What to ask the store for: `want` is one more than is shown, to know whether there are more."""

    limit: int
    before: str | None

    @property
    def want(self) -> int:
        """How many rows to read."""
        return self.limit + 1


def open_page(tokens: Tokens, query: PageQuery, prefix: Prefix) -> Page:
    """The page that the query asks for; Problem 400 for a cursor that is not this list's."""
    if query.cursor is None:
        return Page(query.limit, None)
    place = tokens.place_of(query.cursor)
    if place is None or not is_id(prefix, place):
        fault = Fault("?cursor", "not a cursor of this list; take `next_cursor` as it was given", "malformed")
        raise bad_query([fault])
    return Page(query.limit, place)


def shown(page: Page, rows: Sequence[Listed]) -> int:
    """How many of the rows the page shows."""
    return min(page.limit, len(rows))


def page_view(tokens: Tokens, page: Page, rows: Sequence[Listed], views: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The page as the API shows it; `views` are those of the rows that it shows."""
    has_more = len(rows) > page.limit
    return {
        "data": list(views),
        "next_cursor": tokens.for_cursor(rows[page.limit - 1].id) if has_more else None,
    }
