"""Tests of the credentials' routes."""

from typing import Any

import pytest

from relay.domain.credential import CredentialStatus
from tests.trips import TENANT
from tests.web.house import House, faults, refused, told

FIELDS = {
    "id",
    "object",
    "name",
    "provider",
    "secrets",
    "params",
    "base_url",
    "max_requests_per_second",
    "max_concurrency",
    "status",
    "status_reason",
    "throttled_until",
    "created_at",
    "updated_at",
}
SECRET_TEXT = "a-key-of-camb"


async def test_a_credential_is_made_shown_and_removed_and_its_secrets_never_come_out(house: House) -> None:
    body = {"name": "main", "provider": "camb", "secrets": {"api_key": SECRET_TEXT}, "max_requests_per_second": 2.5}
    response = await house.api.post("/v1/credentials", json=body)
    made = told(response, 201)
    assert response.headers["location"] == f"/v1/credentials/{made['id']}"
    assert set(made) == FIELDS
    assert (made["secrets"], made["status"], made["max_requests_per_second"]) == (["api_key"], "active", 2.5)
    shown = await house.api.get(f"/v1/credentials/{made['id']}")
    assert told(shown) == made
    listed = await house.api.get("/v1/credentials?provider=camb&name=main&status=active")
    assert told(listed)["data"] == [made]
    assert SECRET_TEXT not in response.text + shown.text + listed.text
    assert told(await house.api.get("/v1/credentials?provider=vocu"))["data"] == []
    assert (await house.api.delete(f"/v1/credentials/{made['id']}")).status_code == 204
    refused(await house.api.delete(f"/v1/credentials/{made['id']}"), 404, "not_found")
    refused(await house.api.get(f"/v1/credentials/{made['id']}"), 404, "not_found")


async def test_a_name_is_taken_once_for_each_provider(house: House) -> None:
    await house.add_credential()
    await house.add_credential(provider="vocu")
    body = {"name": "main", "provider": "camb", "secrets": {"api_key": "another"}}
    problem = refused(await house.api.post("/v1/credentials", json=body), 409, "name_taken")
    assert faults(problem) == {"/name": "name_taken"}
    second = await house.add_credential(name="second")
    response = await house.api.patch(f"/v1/credentials/{second['id']}", json={"name": "main"})
    refused(response, 409, "name_taken")
    renamed = told(await house.api.patch(f"/v1/credentials/{second['id']}", json={"name": "third"}))
    assert renamed["name"] == "third"


async def test_a_credential_that_pending_jobs_need_stays(house: House) -> None:
    credential = await house.add_credential()
    job = await house.add_job()
    refused(await house.api.delete(f"/v1/credentials/{credential['id']}"), 409, "in_use")
    await house.api.delete(f"/v1/jobs/{job['id']}")
    assert (await house.api.delete(f"/v1/credentials/{credential['id']}")).status_code == 204


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/name", "/provider", "/secrets"}),
        ({"name": "a", "provider": "nobody", "secrets": {}}, {"/provider"}),
        ({"name": "", "provider": "camb", "secrets": {"api_key": "k"}}, {"/name"}),
        ({"name": "a\n", "provider": "camb", "secrets": {"api_key": "k"}}, {"/name"}),
        ({"name": "a", "provider": "camb", "secrets": {}}, {"/secrets/api_key"}),
        ({"name": "a", "provider": "camb", "secrets": {"api_key": 1}}, {"/secrets/api_key"}),
        ({"name": "a", "provider": "camb", "secrets": {"api_key": "k", "more": "m"}}, {"/secrets/more"}),
        ({"name": "a", "provider": "huawei_metastudio", "secrets": {"auth_token": "t"}}, {"/params/project_id"}),
        ({"name": "a", "provider": "camb", "secrets": {"api_key": "k"}, "base_url": "http://10.0.0.1"}, {"/base_url"}),
        ({"name": "a", "provider": "camb", "secrets": {"api_key": "k"}, "max_concurrency": 0}, {"/max_concurrency"}),
        (
            {"name": "a", "provider": "camb", "secrets": {"api_key": "k"}, "max_requests_per_second": 0, "x": 1},
            {"/max_requests_per_second", "/x"},
        ),
        ({"name": "a", "provider": "camb", "secrets": {"api_key": "k"}, "status": "active"}, {"/status"}),
    ],
)
async def test_every_fault_of_a_credential_is_named(house: House, body: dict[str, Any], pointers: set[str]) -> None:
    problem = refused(await house.api.post("/v1/credentials", json=body), 422, "invalid_request")
    assert set(faults(problem)) == pointers


async def test_a_patch_merges_secrets_by_name_and_resets_limits(house: House) -> None:
    made = await house.add_credential(max_concurrency=3)
    path = f"/v1/credentials/{made['id']}"
    changed = told(await house.api.patch(path, json={"secrets": {"api_key": "newer"}, "max_concurrency": None}))
    assert (changed["secrets"], changed["max_concurrency"]) == (["api_key"], None)
    assert changed["updated_at"] > made["updated_at"]
    stored = await house.relay.store.find_credential(TENANT, made["id"])
    assert stored is not None
    assert stored.secrets == {"api_key": "newer"}
    assert told(await house.api.patch(path, json={}))["updated_at"] == changed["updated_at"]


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"secrets": {"api_key": None}}, "/secrets/api_key"),
        ({"secrets": None}, "/secrets"),
        ({"secrets": {"more": "m"}}, "/secrets/more"),
        ({"provider": "vocu"}, "/provider"),
        ({"status": "auth_failed"}, "/status"),
        ({"base_url": "http://10.0.0.1"}, "/base_url"),
        ({"id": "crd_1"}, "/id"),
        ({"max_requests_per_second": -1}, "/max_requests_per_second"),
    ],
)
async def test_faults_of_a_patch_are_named(house: House, patch: dict[str, Any], pointer: str) -> None:
    made = await house.add_credential()
    problem = refused(await house.api.patch(f"/v1/credentials/{made['id']}", json=patch), 422)
    assert set(faults(problem)) == {pointer}


@pytest.mark.parametrize("patch", [{"secrets": {"api_key": "newer"}}, {"status": "active"}, {"base_url": None}])
async def test_the_owners_word_makes_a_paused_credential_active_again(house: House, patch: dict[str, Any]) -> None:
    made = await house.add_credential()
    now = house.relay.clock.now()
    paused, active = CredentialStatus.AUTH_FAILED, CredentialStatus.ACTIVE
    await house.relay.store.mark_credential(made["id"], paused, "401", None, now, only_from=[active])
    path = f"/v1/credentials/{made['id']}"
    assert told(await house.api.patch(path, json={"max_concurrency": 2}))["status"] == "auth_failed"
    resumed = told(await house.api.patch(path, json=patch))
    assert (resumed["status"], resumed["status_reason"]) == ("active", None)
    (event,) = told(await house.api.get("/v1/events?type=credential.resumed"))["data"]
    assert event["data"]["credential"] == made["id"]
