"""Requests are signed in the first way whose secrets are all there, and secrets stay where they belong."""

from datetime import UTC, datetime

import pytest

from relay.egress import Outgoing
from relay.providers.auth import signed_in, usable_way
from relay.providers.catalog import Catalog
from relay.providers.definition import Definition
from relay.providers.request import Target, look_request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PROJECT = "3f0924078d1b471c884a5383d4dec9fa"
JOB = "1742255d667f46b9816d3aed0174a3e1"
KEYS = {"access_key": "AKEXAMPLE0000000000", "secret_key": "SKexampleSKexampleSKexampleSKexample0000"}


def huawei(catalog: Catalog) -> Definition:
    definition = catalog.get("huawei_metastudio")
    assert definition is not None
    return definition


def look(definition: Definition, secrets: dict[str, str], params: dict[str, str] | None = None) -> Outgoing:
    return look_request(Target(definition, None, secrets, params or {}, JOB), NOW)


def test_a_token_goes_into_its_header(catalog: Catalog) -> None:
    request = look(huawei(catalog), {"auth_token": "tok"}, {"project_id": PROJECT})
    assert request.headers == {"Accept": "application/json", "X-Auth-Token": "tok"}


def test_a_key_pair_signs_as_the_official_sdk_does(catalog: Catalog) -> None:
    request = look(huawei(catalog), KEYS, {"project_id": PROJECT})
    assert request.headers["X-Project-Id"] == PROJECT
    assert request.headers["X-Sdk-Date"] == "20260102T030405Z"
    assert request.headers["Authorization"].endswith(
        "Signature=6f4ae1bd4a0055f9a72e72a0e98b8c5aa3ba7c5784b162bb1cdd38e635cc4a26"
    )
    assert "X-Security-Token" not in request.headers


def test_a_temporary_key_pair_brings_its_token(catalog: Catalog) -> None:
    request = look(huawei(catalog), {**KEYS, "security_token": "sts"}, {"project_id": PROJECT})
    assert request.headers["X-Security-Token"] == "sts"


def test_the_first_way_that_has_all_its_secrets_is_taken(catalog: Catalog) -> None:
    ways = huawei(catalog).auth
    assert usable_way(ways, {**KEYS, "auth_token": "tok"}) is ways[0]
    assert usable_way(ways, {**KEYS, "auth_token": ""}) is ways[1]
    assert usable_way(ways, {"access_key": "only"}) is None


@pytest.mark.parametrize(
    ("name", "secrets", "headers"),
    [
        ("playai", {"api_key": "k", "user_id": "u"}, {"Authorization": "Bearer k", "X-USER-ID": "u"}),
        ("fishspeech", {"api_token": "t"}, {"Authorization": "Bearer t"}),
        ("camb", {"api_key": "k"}, {"x-api-key": "k"}),
        ("vocu", {"api_key": "sk-1"}, {"Authorization": "Bearer sk-1"}),
    ],
)
def test_each_provider_is_asked_as_its_page_says(
    catalog: Catalog, name: str, secrets: dict[str, str], headers: dict[str, str]
) -> None:
    definition = catalog.get(name)
    assert definition is not None
    assert look(definition, secrets).headers == {"Accept": "application/json", **headers}


def test_without_its_secrets_no_request_is_made_and_none_is_named(catalog: Catalog) -> None:
    secrets = {"access_key": "AK-that-nobody-sees"}
    with pytest.raises(LookupError) as refusal:
        signed_in(huawei(catalog), secrets, {}, Outgoing("GET", "https://h.example/"), NOW)
    assert "nobody-sees" not in str(refusal.value)


def test_a_target_does_not_show_its_secrets(catalog: Catalog) -> None:
    target = Target(huawei(catalog), None, KEYS, {"project_id": PROJECT}, JOB)
    assert "SKexample" not in repr(target)
