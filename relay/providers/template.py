"""Texts with named places, filled so that a value from outside can never change the shape of a URL."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

PLACE = re.compile(r"\{(\+?)([a-z][a-z0-9_]*)\}")
WALKS = frozenset({"", ".", ".."})  # segments that would climb out of the path


class Template:
    """
    `/v1/{project_id}/jobs/{provider_job_id}`; `{+name}` lets the value keep its slashes (RFC 6570, 2.4.2).

    ValueError for braces that are not a place.
    """

    __slots__ = ("_pieces", "names", "source")

    def __init__(self, source: object) -> None:
        if not isinstance(source, str):
            raise ValueError("a template is a text")  # noqa: TRY004 - pydantic collects ValueErrors only
        if set("{}") & set(PLACE.sub("", source)):
            raise ValueError("a place is written {name} or {+name}, in lower case")
        self.source = source
        self._pieces = re.split(r"(\{\+?[a-z][a-z0-9_]*\})", source)
        self.names = frozenset(found[2] for found in PLACE.finditer(source))

    def __repr__(self) -> str:
        return f"Template({self.source!r})"

    def fill(self, values: Mapping[str, str], encode: Callable[[str, bool], str]) -> str:
        """The text with every place filled by `encode(value, keeps_slashes)`; KeyError for a name without a value."""
        filled = []
        for piece in self._pieces:
            place = PLACE.fullmatch(piece)
            filled.append(encode(values[place[2]], bool(place[1])) if place else piece)
        return "".join(filled)


def in_path(value: str, keeps_slashes: bool) -> str:
    """`value` percent-encoded as one segment, or as several; ValueError for one that walks."""
    segments = value.split("/") if keeps_slashes else [value]
    if WALKS & set(segments):
        raise ValueError("an empty segment, '.' or '..' cannot stand in a path")
    return "/".join(quote(segment, safe="") for segment in segments)


def in_query(value: str, _keeps_slashes: bool) -> str:
    """`value` percent-encoded for a query."""
    return quote(value, safe="")


def as_it_is(value: str, _keeps_slashes: bool) -> str:
    """`value` itself, for a header; that it has no control characters was checked when it came in."""
    return value
