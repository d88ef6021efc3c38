"""A place in a list that is newest first: beside a thing that was shown, on its older or its newer side."""

from dataclasses import dataclass

from relay.domain.ids import Prefix, is_id

NEWER = "+"


@dataclass(frozen=True, slots=True)
class Place:
    """Right behind the thing of that id, or right before it. Ids sort by time, so things made later move no place."""

    id: str
    is_newer: bool = False

    def dump(self) -> str:
        """As a cursor remembers it."""
        return NEWER + self.id if self.is_newer else self.id

    @classmethod
    def parse(cls, text: str, prefix: Prefix) -> "Place | None":
        """What a cursor remembered; None for a place in another list."""
        place = cls(text.removeprefix(NEWER), text.startswith(NEWER))
        return place if is_id(prefix, place.id) else None
