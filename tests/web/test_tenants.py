"""Tests that no tenant learns of another's things: on every route of the table."""

from collections.abc import Mapping
from typing import Any

import pytest

from relay.domain.key import SCOPES
from relay.web.calls import Operation
from relay.web.reference.shapes import Page
from relay.web.routes import OPERATIONS
from tests.web.house import House, refused, told

WITH_ID = [operation for operation in OPERATIONS if "{id}" in operation.path]
LISTS = [one for one in OPERATIONS if one not in WITH_ID and one.shows is not None and issubclass(one.shows, Page)]
SHARED = ("/v1/providers", "/v1/event-types", "/v1/providers/{name}")  # the same for every tenant
TESTED_ELSEWHERE = ("POST /v1/jobs", "POST /v1/jobs/batch", "GET /v1/stats")  # here below, and in test_stats.py
MAKING = ("POST /v1/subscriptions", "POST /v1/credentials", "POST /v1/keys")  # they name nothing that is there already
NOUNS = {
    "jobs": "job",
    "subscriptions": "sub",
    "events": "evt",
    "deliveries": "dlv",
    "credentials": "crd",
    "keys": "key",
}
BODIES: Mapping[str, Any] = {"PATCH": {"description": "mine"}}


def test_every_operation_is_probed_or_said_why_not() -> None:
    probed = [*WITH_ID, *LISTS]
    left = [one for one in OPERATIONS if one not in probed and one.path not in SHARED]
    assert {f"{one.method} {one.path}" for one in left} == {*TESTED_ELSEWHERE, *MAKING}


async def belongings(house: House) -> dict[str, str]:
    """One of each thing of the test's tenant, by the prefix of its id."""
    credential = await house.add_credential()
    job = await house.add_job()
    subscription = await house.add_subscription()
    delivery = told(await house.api.post(f"/v1/subscriptions/{subscription['id']}/test"), 202)
    key = told(await house.api.post("/v1/keys", json={"name": "a"}), 201)
    ids = (job, subscription, delivery, credential, key)
    return {one["id"].partition("_")[0]: one["id"] for one in ids} | {"evt": delivery["event"]}


@pytest.mark.parametrize("operation", WITH_ID, ids=lambda one: f"{one.method} {one.path}")
async def test_anothers_thing_is_as_absent_as_one_that_never_was(house: House, operation: Operation) -> None:
    ids = await belongings(house)
    prefix = NOUNS[operation.path.split("/")[2]]
    theirs = operation.path.format(id=ids[prefix])
    never = operation.path.format(id=f"{prefix}_{'0' * 26}")
    async with house.client(await house.new_key(*SCOPES, tenant="other")) as other:
        body = BODIES.get(operation.method)
        first = refused(await other.request(operation.method, theirs, json=body), 404, "not_found")
        second = refused(await other.request(operation.method, never, json=body), 404, "not_found")
        varying = ("instance", "request_id")
        assert {n: v for n, v in first.items() if n not in varying} == {
            n: v for n, v in second.items() if n not in varying
        }
    for noun, prefix in NOUNS.items():
        if noun != "keys":
            assert (await house.api.get(f"/v1/{noun}/{ids[prefix]}")).status_code == 200
    assert told(await house.api.get(f"/v1/jobs/{ids['job']}"))["status"] == "pending"


@pytest.mark.parametrize("operation", LISTS, ids=lambda one: one.path)
async def test_lists_hold_ones_own_things_alone(house: House, operation: Operation) -> None:
    await belongings(house)
    async with house.client(await house.new_key(*SCOPES, tenant="other")) as other:
        data = told(await other.get(operation.path))["data"]
        if operation.path == "/v1/keys":
            assert [key["tenant"] for key in data] == ["other"]
        elif operation.path not in SHARED:
            assert data == []
    assert told(await house.api.get(operation.path))["data"]


async def test_filters_by_anothers_ids_find_nothing(house: House) -> None:
    ids = await belongings(house)
    async with house.client(await house.new_key(*SCOPES, tenant="other")) as other:
        for query in (f"subscription={ids['sub']}", f"event={ids['evt']}", f"job={ids['job']}"):
            assert told(await other.get(f"/v1/deliveries?{query}"))["data"] == []
        assert told(await other.get(f"/v1/jobs?credential={ids['crd']}"))["data"] == []
        assert told(await other.get("/v1/jobs?credential=main"))["data"] == []
        assert told(await other.get(f"/v1/events?job={ids['job']}"))["data"] == []


async def test_anothers_credential_cannot_be_used(house: House) -> None:
    ids = await belongings(house)
    async with house.client(await house.new_key(*SCOPES, tenant="other")) as other:
        body = {"provider": "camb", "provider_job_id": "a", "credential": ids["crd"]}
        theirs = refused(await other.post("/v1/jobs", json=body), 422)
        body["credential"] = f"crd_{'0' * 26}"
        never = refused(await other.post("/v1/jobs", json=body), 422)
        assert theirs["errors"] == never["errors"]
        body["credential"] = ids["crd"]
        (item,) = told(await other.post("/v1/jobs/batch", json={"jobs": [body]}))["data"]
        assert (item["status"], item["problem"]["errors"][0]["code"]) == (422, theirs["errors"][0]["code"])


async def test_two_tenants_may_watch_the_same_job_and_take_the_same_names(house: House) -> None:
    await belongings(house)
    async with house.client(await house.new_key(*SCOPES, tenant="other")) as other:
        body = {"name": "main", "provider": "camb", "secrets": {"api_key": "theirs"}}
        told(await other.post("/v1/credentials", json=body), 201)
        told(await other.post("/v1/jobs", json={"provider": "camb", "provider_job_id": "job-1"}), 201)
