"""JMESPath's traps are faults when a definition is loaded, and harmless when it is used."""

import re

import pytest
from structlog.testing import capture_logs

from relay.providers.expression import Expression, over_answer, over_item

DOCUMENT = {
    "status": 200,
    "headers": {"x-state": "done"},
    "body": {"state": "ok", "count": 0, "none": None, "list": [{"a": 1}, {"a": 2}], "flag": False, "empty": ""},
    "word": "ok",
    "meaning": None,
}


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("body.[", "not JMESPath"),
        ("", "a text in JMESPath"),
        ("frobnicate(body)", "no function frobnicate()"),
        ("contains(body)", "takes 2 argument(s), not 1"),
        ("length(body, word)", "takes 1 argument(s), not 2"),
        ("word == `ok`", "single quotes"),
        ('word == "ok"', "there is no 'ok'"),
        ("state == 'ok'", "there is no 'state'"),
        ("body.x && sort_by(things, &a)", "there is no 'things'"),
        ("!body.state", "write !(a.b)"),
        ("word && !body.list[0]", "write !(a.b)"),
    ],
)
def test_a_trap_is_a_fault_at_load(source: str, part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        over_answer(source)


def test_what_is_not_a_text_is_a_fault() -> None:
    with pytest.raises(ValueError, match="a text in JMESPath"):
        over_answer(7)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("body.state", "ok"),
        ("not_null(body.none, body.state)", "ok"),
        ("body.list[?a == `2`].a | [0]", 2),
        ("body.list[*].a", [1, 2]),
        ("headers.\"x-state\" == 'done'", True),
        ("sort_by(body.list, &a)[0].a", 1),
        ("!(body.none)", True),
        ("max_by(body.list, &a).a", 2),
        ("body.{state: state, n: count}", {"state": "ok", "n": 0}),
        ("meaning || word", "ok"),
    ],
)
def test_what_is_sound_is_found(source: str, found: object) -> None:
    assert over_answer(source).search(DOCUMENT) == found


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("body.count", True),
        ("body.none", False),
        ("body.flag", False),
        ("body.empty", False),
        ("body.list", True),
        ("body.list[?a == `9`]", False),
        ("body.nowhere", False),
        ("status >= `200`", True),
    ],
)
def test_truth_is_jmespaths_own(source: str, holds: bool) -> None:
    assert over_answer(source).holds(DOCUMENT) is holds


def test_an_expression_that_raises_is_no_match_and_one_warning() -> None:
    expression = over_answer("contains(body.none, 'a')")
    with capture_logs() as logs:
        assert expression.search(DOCUMENT) is None
        assert not expression.holds(DOCUMENT)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("expression_raised", "warning")]


def test_an_expression_over_an_item_may_name_anything() -> None:
    assert over_item("job_id").search({"job_id": "x"}) == "x"
    assert repr(Expression("job_id")) == "Expression('job_id')"
