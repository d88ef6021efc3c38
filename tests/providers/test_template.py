"""A value from outside can never change the shape of a URL."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.providers.template import WALKS, Template, as_it_is, in_path, in_query


def test_places_are_filled() -> None:
    template = Template("/v1/{project_id}/jobs/{provider_job_id}")
    assert template.names == {"project_id", "provider_job_id"}
    values = {"project_id": "p", "provider_job_id": "a/b?c#d%e"}
    assert template.fill(values, in_path) == "/v1/p/jobs/a%2Fb%3Fc%23d%25e"


def test_a_value_keeps_its_slashes_only_where_the_definition_says_so() -> None:
    assert Template("/v1/{+name}").fill({"name": "operations/a b"}, in_path) == "/v1/operations/a%20b"
    assert Template("/v1/{name}").fill({"name": "operations/a"}, in_path) == "/v1/operations%2Fa"


@pytest.mark.parametrize("value", ["", ".", "..", "a/../b", "a//b", "/a"])
def test_a_value_cannot_walk(value: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a path"):
        Template("/v1/{+name}").fill({"name": value}, in_path)


@pytest.mark.parametrize("source", ["/a/{", "/a/}", "/a/{A}", "/a/{a b}", "/a/{}", 7])
def test_braces_that_are_no_place_are_a_fault(source: object) -> None:
    with pytest.raises(ValueError, match=r"a place is written|a template is a text"):
        Template(source)


def test_a_header_takes_the_value_as_it_is() -> None:
    assert Template("Key {api_key}").fill({"api_key": "a:b/c="}, as_it_is) == "Key a:b/c="


@settings(deadline=None)
@given(st.text(min_size=1).filter(lambda value: value not in WALKS and value.isprintable()))
def test_a_value_stays_one_segment_and_comes_back_whole(value: str) -> None:
    parts = urlsplit(
        "https://h.example" + Template("/a/{b}/c").fill({"b": value}, in_path) + "?d=" + in_query(value, False)
    )
    assert [unquote(segment) for segment in parts.path.split("/")] == ["", "a", value, "c"]
    assert unquote(parts.query) == f"d={value}"
