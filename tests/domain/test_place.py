"""Tests of places in lists."""

import pytest

from relay.domain.place import Place

ID = "job_" + "0" * 26


@pytest.mark.parametrize("place", [Place(ID), Place(ID, is_newer=True), Place(ID, is_at=True), Place(ID, True, True)])
def test_a_place_comes_back_as_it_was_remembered(place: Place) -> None:
    assert Place.parse(place.dump(), "job") == place


@pytest.mark.parametrize(
    "text", ["", "+", "=", "job_", f"++{ID}", f"=+{ID}", f"-{ID}", ID + "0", f"evt{ID[3:]}", f"+evt{ID[3:]}"]
)
def test_what_is_no_place_of_this_list_is_none(text: str) -> None:
    assert Place.parse(text, "job") is None
