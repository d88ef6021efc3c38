"""A place in a list that is newest first: beside or at a thing that was shown, on its older or its newer side."""

from dataclasses import dataclass

from relay.domain.ids import Prefix, is_id

NEWER = "+"
AT = "="


@dataclass(frozen=True, slots=True)
class Place:
    """
    Right behind the thing of that id, or right before it; with `is_at` the thing itself is on that side, too. Ids sort
    by time, so things made later move no place.
    """

    id: str
    is_newer: bool = False
    is_at: bool = False

    def dump(self) -> str:
        """As a cursor remembers it."""
        return f"{NEWER * self.is_newer}{AT * self.is_at}{self.id}"

    @classmethod
    def parse(cls, text: str, prefix: Prefix) -> "Place | None":
        """What a cursor remembered; None for a place in another list."""
        is_newer, rest = text.startswith(NEWER), text.removeprefix(NEWER)
        place = cls(rest.removeprefix(AT), is_newer, rest.startswith(AT))
        return place if is_id(prefix, place.id) else None
