"""The OpenAPI document and the reference page: valid, whole, fresh, and held against what the API really answers."""

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from relay.domain.subscription import EVENT_TYPES
from relay.web.problems import TITLES
from relay.web.reference.answers import codes_told
from relay.web.reference.examples import JOB, REQUESTS, event
from relay.web.reference.fields import FIELDS
from relay.web.reference.meanings import MEANINGS
from relay.web.routes import OPEN_ROUTES, OPERATIONS
from tests.web.house import House, opened
from tests.web.reference import DOCUMENT

ROOT = Path(__file__).parents[2]


def schema_faults(schema: dict[str, Any], value: Any) -> list[str]:
    """What of the value the schema does not allow; references lead into the document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return [f"{list(fault.absolute_path)}: {fault.message}" for fault in Draft202012Validator(whole).iter_errors(value)]


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_the_committed_document_is_fresh() -> None:
    assert json.loads((ROOT / "openapi.json").read_text()) == DOCUMENT, "run `make docs`"


def test_every_operation_has_its_own_id_an_answer_and_the_problems_it_can_give() -> None:
    operations = [told for methods in DOCUMENT["paths"].values() for told in methods.values()]
    ids = [told["operationId"] for told in operations]
    assert len(ids) == len(set(ids)) == len(OPERATIONS) + len(OPEN_ROUTES)
    for operation in OPERATIONS:
        told = DOCUMENT["paths"][operation.path][operation.method.lower()]
        assert str(operation.status_code) in told["responses"]
        assert {"401", "403", "500", "503"} <= set(told["responses"])
        if operation.status_code in (200, 201, 202):
            assert "content" in told["responses"][str(operation.status_code)], operation.path


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_an_example_of_a_body_fits_its_schema(name: str) -> None:
    (operation,) = [one for one in OPERATIONS if one.body is not None and one.body.__name__ == name]
    body = DOCUMENT["paths"][operation.path][operation.method.lower()]["requestBody"]
    (told,) = body["content"].values()
    assert schema_faults(told["schema"], REQUESTS[name]) == []


def test_every_schema_of_an_object_has_an_example_that_fits() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    objects = [name for name, told in schemas.items() if "properties" in told]
    assert len(objects) > 60
    for name in objects:
        (example,) = schemas[name]["examples"]
        assert schema_faults(schemas[name], example) == [], name


@pytest.mark.parametrize("code", TITLES)
def test_every_problem_has_an_example_that_fits(code: str) -> None:
    responses = DOCUMENT["components"]["responses"]
    for status in MEANINGS[code].statuses:
        response = responses.get(f"Problem{status}", responses["Problem"])
        example = response["content"]["application/problem+json"]["examples"][code]["value"]
        assert schema_faults({"$ref": "#/components/schemas/Problem"}, example) == []
        assert (example["code"], example["status"]) == (code, status)


def test_every_code_of_a_problem_is_told_where_it_can_come_and_nowhere_else() -> None:
    told: dict[str, set[str]] = {code: set() for code in TITLES}
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                for code in codes_told(DOCUMENT, response):
                    assert status == "default" or int(status) in MEANINGS[code].statuses
                    told[code].add(operation["operationId"])
    assert [code for code, operations in told.items() if not operations] == []
    assert told["in_use"] == {"delete_credential"}
    assert told["name_taken"] == {"create_credential", "change_credential"}
    assert told["link_revoked"] == {"follow_result_link"}
    assert told["payment_required"] == told["rate_limited"] == {"create_job"}


def test_what_a_field_means_is_told_of_no_field_that_there_is_not() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    names = {f"{name}.{field}" for name, told in schemas.items() for field in told.get("properties", {})}
    names |= {f"{one.query.__name__}.{field}" for one in OPERATIONS for field in one.query.model_fields}
    names |= {name.partition(".")[2] for name in names}
    assert [name for name in FIELDS if name not in names] == []


def test_the_family_of_metadata_filters_is_a_parameter_whose_names_are_sent_as_they_are() -> None:
    parameters = {one.get("name"): one for one in DOCUMENT["paths"]["/v1/jobs"]["get"]["parameters"]}
    told = parameters["metadata"]
    assert (told["style"], told["explode"]) == ("form", True)
    assert schema_faults(told["schema"], {"metadata.order": "42"}) == []
    assert schema_faults(told["schema"], {"order": "42"}) != []


def test_every_operation_names_the_scope_that_it_needs_and_no_query_takes_null() -> None:
    for operation in OPERATIONS:
        told = DOCUMENT["paths"][operation.path][operation.method.lower()]
        assert told["security"] == [{"key": [operation.scope]}]
        for parameter in told["parameters"]:
            schema = parameter.get("schema", {})
            assert {"type": "null"} not in schema.get("anyOf", [])
            assert "null" not in schema.get("type", [])


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_example_of_an_event_fits_its_schema(event_type: str) -> None:
    content = DOCUMENT["webhooks"][event_type]["post"]["requestBody"]["content"]["application/json"]
    assert schema_faults(content["schema"], event(event_type)) == []
    assert schema_faults({"$ref": "#/components/schemas/Job"}, JOB) == []


async def test_the_page_shows_every_route_and_event_and_loads_nothing_from_elsewhere(house: House) -> None:
    page = await house.api.get("/docs")
    assert page.status_code == 200
    for operation in OPERATIONS:
        assert operation.summary.replace("'", "&#39;") in page.text
    for event_type in EVENT_TYPES:
        assert event_type in page.text
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_the_page_tells_the_fields_headers_and_errors_of_each_answer_and_links_to_what_is_on_it(
    house: House,
) -> None:
    page = (await house.api.get("/docs")).text
    for name, told in DOCUMENT["components"]["schemas"].items():
        assert f'id="shape-{name}"' in page
        assert all(f"<code>{field}</code>" in page for field in told.get("properties", {})), name
    assert all(f'id="header-{name}"' in page for name in DOCUMENT["components"]["headers"])
    assert {f"/problems/{code}" for code in TITLES} <= set(re.findall(r'href="([^"]+)"', page)) | {
        "/problems/method_not_allowed"  # of no operation: it is what an address answers that has none
    }
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


async def test_every_command_of_the_page_is_one_that_a_shell_takes(house: House) -> None:
    listings = re.findall(r"<pre>.*?<code>(.*?)</code>", (await house.api.get("/docs")).text, re.DOTALL)
    told = [html.unescape(one) for one in listings]
    (given,) = [one for one in told if one.startswith("RELAY=")]
    known = {line.partition("=")[0] for line in shlex.split(given)}
    commands = [one for one in told if one.startswith("curl ")]
    assert len(commands) == len(OPERATIONS) + len(OPEN_ROUTES)
    for command in commands:
        words = shlex.split(command.replace("\\\n", ""))
        (address,) = [word for word in words if word.startswith("$RELAY/")]
        assert not set("{}[]") & set(address)
        assert set(re.findall(r"\$(\w+)", " ".join(words))) <= known
        if "-d" in words:
            assert isinstance(json.loads(words[words.index("-d") + 1]), dict)


async def test_the_served_document_names_the_relays_own_url(house: House) -> None:
    served = (await house.api.get("/openapi.json")).json()
    assert served["servers"] != []
    assert served["paths"].keys() == DOCUMENT["paths"].keys()


async def test_a_provider_shows_what_was_learned_of_its_jobs(house: House) -> None:
    assert (await house.api.get("/v1/providers/camb")).json()["learned"] == []
    now = house.relay.clock.now()
    rows = [("camb", "", float(seconds), now, seconds) for seconds in range(1, 41)]
    await house.relay.store.note_durations(rows)
    (learned,) = (await house.api.get("/v1/providers/camb")).json()["learned"]
    assert learned["samples"] == 40
    assert learned["is_used"]
    assert learned["median_seconds"] == 20.5
    assert 38 <= learned["p95_seconds"] <= 40
    assert learned["looks_per_job"] == 20.5


async def test_a_provider_shows_the_words_that_nobody_knows_and_not_who_was_told_them(house: House) -> None:
    assert (await house.api.get("/v1/providers/camb")).json()["unknown_words"] == []
    sample = {"job": "job_of_somebody", "body": "of somebody"}
    await house.relay.noticeboard.note_word("camb", "RENDERING", sample, 3, 1_767_323_045_000)
    await house.relay.noticeboard.note_word("vocu", "other", {}, 1, 1_767_323_045_000)
    shown = await house.api.get("/v1/providers/camb")
    assert shown.json()["unknown_words"] == [
        {"word": "RENDERING", "count": 3, "last_seen_at": "2026-01-02T03:04:05.000Z"}
    ]
    assert "somebody" not in shown.text


async def test_a_provider_is_shown_without_redis(database_url: str) -> None:
    async with opened(database_url, "unix:///nowhere/redis.sock", RELAY_API_REQUESTS_PER_SECOND="0") as house:
        shown = (await house.api.get("/v1/providers/camb")).json()
    assert (shown["name"], shown["unknown_words"]) == ("camb", None)
