"""Tests of the subscriptions' routes."""

import asyncio
import base64
from typing import Any

import pytest

from relay.domain.subscription import EVENT_TYPES, JOB_EVENTS, SECRETS_MAX
from tests.trips import SECRET, make_subscription
from tests.web.house import House, faults, opened, refused, told

URL = "http://127.0.0.1:9/hook"
FIELDS = {
    "id",
    "object",
    "url",
    "event_types",
    "filter",
    "description",
    "metadata",
    "headers",
    "payload",
    "signatures",
    "public_keys",
    "handshake",
    "max_in_flight",
    "requests_per_minute",
    "status",
    "disabled_reason",
    "job",
    "failing_since",
    "last_success_at",
    "created_at",
    "updated_at",
}
FULL: dict[str, Any] = {
    "url": URL,
    "event_types": ["job.completed", "webhook.test"],
    "filter": {"providers": ["camb"], "credentials": ["main"], "metadata": {"team": "red"}},
    "description": "the red team",
    "metadata": {"owner": "ann"},
    "headers": {"x-team": "red", "x-token": "hush"},
    "payload": "thin",
    "max_in_flight": 3,
}


async def patched(house: House, subscription: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    response = await house.api.patch(f"/v1/subscriptions/{subscription['id']}", json=patch)
    return told(response)


async def test_a_subscription_is_made_shown_and_removed(house: House) -> None:
    response = await house.api.post("/v1/subscriptions", json={"url": URL})
    made = told(response, 201)
    assert response.headers["location"] == f"/v1/subscriptions/{made['id']}"
    assert set(made) == FIELDS | {"secret"}
    assert made["event_types"] == list(JOB_EVENTS)
    assert (made["payload"], made["status"], made["max_in_flight"]) == ("full", "active", 16)
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    shown = told(await house.api.get(f"/v1/subscriptions/{made['id']}"))
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert told(await house.api.get("/v1/subscriptions"))["data"] == [shown]
    assert (await house.api.delete(f"/v1/subscriptions/{made['id']}")).status_code == 204
    refused(await house.api.get(f"/v1/subscriptions/{made['id']}"), 404, "not_found")
    refused(await house.api.delete(f"/v1/subscriptions/{made['id']}"), 404, "not_found")
    refused(await house.api.patch(f"/v1/subscriptions/{made['id']}", json={}), 404, "not_found")
    assert told(await house.api.get("/v1/subscriptions"))["data"] == []


async def test_everything_that_was_told_is_kept_and_headers_are_not_shown(house: House) -> None:
    made = await house.add_subscription(**{**FULL, "secret": SECRET})
    assert made["secret"] == SECRET
    assert {name: made[name] for name in FULL if name != "headers"} == {n: v for n, v in FULL.items() if n != "headers"}
    assert made["headers"] == {"x-team": "…", "x-token": "…"}
    stored = await house.relay.store.find_subscription("acme", made["id"])
    assert stored is not None
    assert stored.headers == FULL["headers"]


async def test_every_fault_of_a_subscription_is_named(house: House) -> None:
    body = {
        "url": "ftp://example.com/",
        "event_types": ["job.begun", "job.failed"],
        "filter": {"providers": ["nobody"], "metadata": {"a": {}}, "colour": "red"},
        "headers": {"webhook-id": "1", "x-a": "b\r\nc: d"},
        "metadata": {"a": [1]},
        "payload": "huge",
        "max_in_flight": 0,
        "secret": "hush",
        "status": "paused",
    }
    problem = refused(await house.api.post("/v1/subscriptions", json=body), 422, "invalid_request")
    assert set(faults(problem)) == {
        "/url",
        "/event_types/0",
        "/filter/providers/0",
        "/filter/metadata/a",
        "/filter/colour",
        "/headers/webhook-id",
        "/headers/x-a",
        "/metadata/a",
        "/payload",
        "/max_in_flight",
        "/secret",
        "/status",
    }
    assert "hush" not in str(problem)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_!!!!", "plain", "whsec_" + base64.b64encode(b"x" * 23).decode(), "whsec_" + "A" * 200],
)
async def test_bad_secrets_are_refused(house: House, secret: str) -> None:
    problem = refused(await house.api.post("/v1/subscriptions", json={"url": URL, "secret": secret}), 422)
    assert set(faults(problem)) == {"/secret"}


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://user:pass@example.com/",
        "http:///nohost",
        "http://example.com:0/",
        "http://example.com/a b",
        "file:///etc/passwd",
        "example.com/hook",
        "https://" + "a" * 2050,
    ],
)
async def test_urls_that_must_not_be_called_are_refused(house: House, url: str) -> None:
    problem = refused(await house.api.post("/v1/subscriptions", json={"url": url}), 422)
    assert set(faults(problem)) == {"/url"}
    assert "169.254" not in str(problem)


async def test_plain_http_is_refused_at_creation_and_at_update(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url, RELAY_ALLOW_HTTP="false") as house:
        problem = refused(await house.api.post("/v1/subscriptions", json={"url": URL}), 422)
        assert faults(problem) == {"/url": "url_refused"}
        made = await house.add_subscription("https://127.0.0.1:9/hook")
        path = f"/v1/subscriptions/{made['id']}"
        problem = refused(await house.api.patch(path, json={"url": URL}), 422)
        assert faults(problem) == {"/url": "url_refused"}
        assert told(await house.api.get(path))["url"] == "https://127.0.0.1:9/hook"


async def test_an_old_http_url_does_not_stand_in_the_way_of_other_changes(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url) as house:
        made = await house.add_subscription(URL)
    async with opened(database_url, redis_url, RELAY_ALLOW_HTTP="false") as house:
        assert (await patched(house, made, {"description": "old"}))["url"] == URL


async def test_a_patch_merges_replaces_and_removes(house: House) -> None:
    made = await house.add_subscription(**FULL)
    changed = await patched(house, made, {"metadata": {"owner": None, "floor": 3}, "headers": {"x-token": None}})
    assert (changed["metadata"], changed["headers"]) == ({"floor": 3}, {"x-team": "…"})
    changed = await patched(house, made, {"filter": {"providers": None, "metadata": {"size": 1}}})
    assert changed["filter"] == {"providers": None, "credentials": ["main"], "metadata": {"team": "red", "size": 1}}
    changed = await patched(house, made, {"event_types": ["job.failed", "job.failed"]})
    assert changed["event_types"] == ["job.failed"]
    nulls = ("event_types", "filter", "description", "metadata", "headers", "payload", "max_in_flight")
    changed = await patched(house, made, dict.fromkeys(nulls))
    assert changed["event_types"] == list(JOB_EVENTS)
    assert changed["filter"] == {"providers": None, "credentials": None, "metadata": None}
    assert (changed["description"], changed["metadata"], changed["headers"]) == (None, {}, {})
    assert (changed["payload"], changed["max_in_flight"]) == ("full", 16)
    assert changed["url"] == URL
    assert changed["updated_at"] > made["updated_at"]


async def test_a_patch_that_changes_nothing_writes_nothing(house: House) -> None:
    made = await house.add_subscription(**FULL)
    assert (await patched(house, made, {}))["updated_at"] == made["updated_at"]
    assert (await patched(house, made, {"description": FULL["description"]}))["updated_at"] == made["updated_at"]


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"url": None}, "/url"),
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"event_types": ["job.begun"]}, "/event_types/0"),
        ({"event_types": []}, "/event_types"),
        ({"headers": {"host": "evil.example"}}, "/headers/host"),
        ({"headers": {"x-a": "b\nc"}}, "/headers/x-a"),
        ({"headers": {"x-a": "Zoë"}}, "/headers/x-a"),
        ({"metadata": {"a": {"b": 1}}}, "/metadata/a"),
        ({"metadata": []}, "/metadata"),
        ({"filter": {"providers": ["nobody"]}}, "/filter/providers/0"),
        ({"status": None}, "/status"),
        ({"status": "asleep"}, "/status"),
        ({"secret": SECRET}, "/secret"),
        ({"id": "sub_1"}, "/id"),
        ({"disabled_reason": "because"}, "/disabled_reason"),
        ({"payload": "huge"}, "/payload"),
    ],
)
async def test_faults_of_a_patch_are_named(house: House, patch: dict[str, Any], pointer: str) -> None:
    made = await house.add_subscription(**FULL)
    problem = refused(await house.api.patch(f"/v1/subscriptions/{made['id']}", json=patch), 422)
    assert set(faults(problem)) == {pointer}
    assert told(await house.api.get(f"/v1/subscriptions/{made['id']}"))["updated_at"] == made["updated_at"]


async def test_a_merge_patch_may_be_sent_under_its_own_name(house: House) -> None:
    made = await house.add_subscription()
    response = await house.api.patch(
        f"/v1/subscriptions/{made['id']}",
        content=b'{"description": "a"}',
        headers={"content-type": "application/merge-patch+json"},
    )
    assert told(response)["description"] == "a"


async def test_a_subscription_is_paused_disabled_and_activated(house: House) -> None:
    made = await house.add_subscription()
    assert (await patched(house, made, {"status": "paused"}))["status"] == "paused"
    disabled = await patched(house, made, {"status": "disabled", "disabled_reason": "moving house"})
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "moving house")
    assert told(await house.api.get("/v1/subscriptions?status=disabled"))["data"] == [disabled]
    active = told(await house.api.post(f"/v1/subscriptions/{made['id']}/activation"))
    assert (active["status"], active["disabled_reason"]) == ("active", None)
    disabled = await patched(house, made, {"status": "disabled"})
    assert disabled["disabled_reason"] == "disabled by its owner"
    assert (await patched(house, made, {"status": "active"}))["disabled_reason"] is None


async def test_secrets_are_shown_on_purpose_only_and_rotate(house: House) -> None:
    made = await house.add_subscription()
    path = f"/v1/subscriptions/{made['id']}/secret"
    shown = told(await house.api.get(path))
    assert shown["secret"] == made["secret"]
    assert [one["expires_at"] for one in shown["secrets"]] == [None]
    rotated = told(await house.api.post(f"{path}/rotation", json={"overlap_seconds": 60}), 201)
    assert rotated["secret"] != made["secret"]
    assert [one["secret"] for one in rotated["secrets"]] == [rotated["secret"], made["secret"]]
    assert rotated["secrets"][1]["expires_at"] is not None
    assert told(await house.api.get(path)) == rotated
    own = told(await house.api.post(f"{path}/rotation", json={"secret": SECRET, "overlap_seconds": 0}), 201)
    assert [one["secret"] for one in own["secrets"]] == [SECRET]
    for listing in ("/v1/subscriptions", f"/v1/subscriptions/{made['id']}"):
        assert "whsec_" not in (await house.api.get(listing)).text


async def test_the_eleventh_living_secret_is_refused(house: House) -> None:
    made = await house.add_subscription()
    path = f"/v1/subscriptions/{made['id']}/secret/rotation"
    for _ in range(SECRETS_MAX - 1):
        told(await house.api.post(path), 201)
    refused(await house.api.post(path), 409, "too_many_secrets")
    assert len(told(await house.api.post(path, json={"overlap_seconds": 0}), 201)["secrets"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"overlap_seconds": -1}, "/overlap_seconds"),
        ({"overlap_seconds": 604_801}, "/overlap_seconds"),
        ({"secret": "a"}, "/secret"),
    ],
)
async def test_faults_of_a_rotation_are_named(house: House, body: dict[str, Any], pointer: str) -> None:
    made = await house.add_subscription()
    problem = refused(await house.api.post(f"/v1/subscriptions/{made['id']}/secret/rotation", json=body), 422)
    assert set(faults(problem)) == {pointer}


async def test_one_off_subscriptions_are_not_listed(house: House) -> None:
    await house.add_credential()
    await house.add_job(callback={"url": URL})
    assert told(await house.api.get("/v1/subscriptions"))["data"] == []


async def test_of_changes_at_the_same_moment_none_is_lost_without_a_word(house: House) -> None:
    made = await house.add_subscription()
    path = f"/v1/subscriptions/{made['id']}"
    patches = [{"metadata": {f"k{number}": number}} for number in range(12)]
    responses = await asyncio.gather(*(house.api.patch(path, json=patch) for patch in patches))
    expected: dict[str, int] = {}
    for patch, response in zip(patches, responses, strict=True):
        if response.status_code == 200:
            expected |= patch["metadata"]
        else:
            refused(response, 409, "changed_meanwhile")
    assert expected
    assert told(await house.api.get(path))["metadata"] == expected


async def test_every_event_type_may_be_subscribed_to(house: House) -> None:
    made = await house.add_subscription(event_types=list(EVENT_TYPES))
    assert made["event_types"] == list(EVENT_TYPES)
    listed = told(await house.api.get("/v1/event-types"))["data"]
    assert [one["name"] for one in listed] == list(EVENT_TYPES)
    assert [one["name"] for one in listed if one["is_default"]] == list(JOB_EVENTS)


async def test_a_subscription_of_another_tenant_changes_nothing_here(house: House) -> None:
    theirs = make_subscription(house.relay, URL, tenant="other")
    await house.relay.store.add_subscription(theirs)
    refused(await house.api.patch(f"/v1/subscriptions/{theirs.id}", json={"description": "mine"}), 404)
    found = await house.relay.store.find_subscription("other", theirs.id)
    assert found == theirs


async def test_a_patch_removes_no_field_that_there_is_not(house: House) -> None:
    subscription = await house.add_subscription()
    path = f"/v1/subscriptions/{subscription['id']}"
    patch = {"foo": None, "created_at": None, "filter": {"zzz": None, "metadata": None}}
    problem = refused(await house.api.patch(path, json=patch), 422, "invalid_request")
    assert faults(problem) == {"/foo": "unknown_field", "/created_at": "unknown_field", "/filter/zzz": "unknown_field"}


async def test_a_reason_that_is_taken_away_becomes_the_relays_own(house: House) -> None:
    subscription = await house.add_subscription()
    path = f"/v1/subscriptions/{subscription['id']}"
    told(await house.api.patch(path, json={"status": "disabled", "disabled_reason": "moved"}))
    plain = told(await house.api.patch(path, json={"disabled_reason": None}))
    assert plain["disabled_reason"] not in (None, "moved")
