"""The OpenAPI document and the reference page: valid, whole, fresh, and held against what the API really answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from relay.domain.subscription import EVENT_TYPES
from relay.web.problems import TITLES
from relay.web.reference.examples import JOB, REQUESTS, event
from relay.web.reference.meanings import MEANINGS
from relay.web.routes import OPEN_ROUTES, OPERATIONS
from tests.web.house import House
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


def test_every_schema_of_a_body_or_an_answer_has_an_example_that_fits() -> None:
    schemas, shown = DOCUMENT["components"]["schemas"], set()
    for operation in OPERATIONS:
        told = DOCUMENT["paths"][operation.path][operation.method.lower()]
        bodies = [told["requestBody"]] if "requestBody" in told else []
        for one in [*bodies, told["responses"][str(operation.status_code)]]:
            shown |= {content["schema"]["$ref"].rpartition("/")[2] for content in one.get("content", {}).values()}
    assert len(shown) > 30
    for name in shown:
        (example,) = schemas[name]["examples"]
        assert schema_faults(schemas[name], example) == [], name


@pytest.mark.parametrize("code", TITLES)
def test_every_problem_has_an_example_that_fits(code: str) -> None:
    examples = DOCUMENT["components"]["responses"]["Problem"]["content"]["application/problem+json"]["examples"]
    assert schema_faults({"$ref": "#/components/schemas/Problem"}, examples[code]["value"]) == []
    assert examples[code]["value"]["status"] in MEANINGS[code].statuses


def test_every_operation_names_the_scope_that_it_needs_and_no_query_takes_null() -> None:
    for operation in OPERATIONS:
        told = DOCUMENT["paths"][operation.path][operation.method.lower()]
        assert told["security"] == [{"key": [operation.scope]}]
        for parameter in told["parameters"]:
            assert {"type": "null"} not in parameter["schema"].get("anyOf", [])


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
