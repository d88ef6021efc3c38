"""Lists in pages, newest first, held together by signed cursors that say nothing to whoever holds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from relay.domain.errors import Fault
from relay.domain.ids import Prefix
from relay.domain.place import Place
from relay.tokens import Tokens
from relay.web.checks import bad_query
from relay.web.schemas import PageQuery


class Listed(Protocol):
    """What a list holds: things with sortable ids."""

    @property
    def id(self) -> str:
        """Sorts by the moment of its making."""


ListedT = TypeVar("ListedT", bound=Listed)


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask the store for: `want` is one more than is shown, to know whether there are more."""

    limit: int
    place: Place | None

    @property
    def want(self) -> int:
        """How many rows to read."""
        return self.limit + 1


@dataclass(frozen=True, slots=True)
class Page(Generic[ListedT]):
    """What is shown, newest first, and the places of the pages beside it; None where nothing is known to be."""

    rows: Sequence[ListedT]
    newer: Place | None
    older: Place | None


def open_page(tokens: Tokens, query: PageQuery, prefix: Prefix) -> Asked:
    """The page that the query asks for; Problem 400 for a cursor that is not this list's."""
    if query.cursor is None:
        return Asked(query.limit, None)
    told = tokens.place_of(query.cursor)
    place = None if told is None else Place.parse(told, prefix)
    if place is None:
        detail = "not a cursor of this list; take `next_cursor` or `prev_cursor` as it was given"
        raise bad_query([Fault("?cursor", detail, "malformed")])
    return Asked(query.limit, place)


def page_of(asked: Asked, read: Sequence[ListedT]) -> Page[ListedT]:
    """Lays out the rows that were read, newest first, which are one more than are shown where there are more."""
    has_more = len(read) > asked.limit
    came_up = asked.place is not None and asked.place.is_newer
    rows = read[-asked.limit :] if came_up else read[: asked.limit]
    if not rows:
        # All that was on this side is gone; on the other there is what one came from.
        back = asked.place and Place(asked.place.id, is_newer=not came_up, is_at=True)
        return Page(rows, newer=None if came_up else back, older=back if came_up else None)
    # Whence one came there is something, or was a moment ago.
    has_newer = has_more if came_up else asked.place is not None
    has_older = came_up or has_more
    return Page(
        rows, Place(rows[0].id, is_newer=True) if has_newer else None, Place(rows[-1].id) if has_older else None
    )


def page_view(tokens: Tokens, page: Page[Any], views: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The page as the API shows it; `views` are those of its rows."""
    return {
        "data": list(views),
        "next_cursor": page.older and tokens.for_cursor(page.older.dump()),
        "prev_cursor": page.newer and tokens.for_cursor(page.newer.dump()),
    }


def whole_view(views: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A list that is short enough to have one page."""
    return {"data": list(views), "next_cursor": None, "prev_cursor": None}
