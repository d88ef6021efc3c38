"""Tests of the pages that problems lead to: one for each code that is used anywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import relay
from relay.web import jobs, results
from relay.web.problems import TITLES
from relay.web.reference.meanings import MEANINGS
from tests.web.house import House, refused

TOP = Path(relay.__file__).parent
SHOWN = ("web", "domain", "store")  # and the modules at the top; the rest speaks to people at a terminal
PLACE_OF_CODE = {
    "Problem": 1,
    "problem_response": 2,
    "Refused": 0,
    "Invalid": 0,
    "NotFound": 0,
    "Conflict": 0,
    "Forbidden": 0,
}
CODES_BY_REASON = {code for _, code, *_ in (*jobs.DECLINED.values(), *results.PROBLEMS.values())}


def codes_in(path: Path) -> Iterator[str]:
    """Every code that is written out where a problem or a refusal is made."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLACE_OF_CODE:
            place = PLACE_OF_CODE[node.func.id]
            code = node.args[place] if len(node.args) > place else None
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                yield code.value


def used() -> set[str]:
    paths = [*TOP.glob("*.py"), *(path for folder in SHOWN for path in (TOP / folder).rglob("*.py"))]
    return {code for path in paths for code in codes_in(path)} | CODES_BY_REASON


def test_every_code_in_use_has_a_title_and_every_title_a_meaning() -> None:
    assert len(used()) > 20
    assert used() <= set(TITLES)
    assert set(MEANINGS) == set(TITLES)


def test_no_code_is_explained_that_nothing_gives() -> None:
    mapped_by_status = {"not_found", "method_not_allowed", "body_too_large", "invalid_request"}
    assert set(TITLES) - used() - mapped_by_status == set()


@pytest.mark.parametrize("code", TITLES)
async def test_the_type_of_a_problem_leads_to_what_it_means_and_what_helps(house: House, code: str) -> None:
    path, meaning = f"/problems/{code}", MEANINGS[code]
    plain = await house.api.get(path)
    assert plain.headers["content-type"].startswith("text/plain")
    assert plain.text == f"{TITLES[code]} ({code})\n\n{meaning.means}\n\n{meaning.remedy}\n"
    told = await house.api.get(path, headers={"accept": "application/json"})
    assert told.json() == {
        "code": code,
        "title": TITLES[code],
        "statuses": list(meaning.statuses),
        "meaning": meaning.means,
        "remedy": meaning.remedy,
    }
    page = await house.api.get(path, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert f"<h1>{TITLES[code]}</h1>" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_a_problem_that_does_not_exist_has_no_page(house: House) -> None:
    async with house.client(None) as nobody:
        refused(await nobody.get("/problems/nothing"), 404, "not_found")
