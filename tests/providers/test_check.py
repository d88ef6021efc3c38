"""What is wrong with a job or a credential is told before anything is asked of its provider, all of it at once."""

import pytest

from relay.providers.catalog import Catalog
from relay.providers.check import base_url_warning, check_credential, check_id, check_job, check_params, warnings_of
from relay.providers.definition import Definition
from tests.providers.made_up import acme

PROJECT = {"project_id": "3f0924078d1b471c884a5383d4dec9fa"}


def named(catalog: Catalog, name: str) -> Definition:
    definition = catalog.get(name)
    assert definition is not None
    return definition


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("huawei_metastudio", "1742255d667f46b9816d3aed0174a3e1"),
        ("playai", "3c90c3cc-0d44-4b50-8888-8dd25736052a"),
        ("fishspeech", "task_123"),
        ("camb", "abc123xyz"),
        ("vocu", "3b20ed32-73bc-421b-8077-62e03b6c5836"),
    ],
)
def test_an_id_from_the_page_is_fine(catalog: Catalog, name: str, job: str) -> None:
    assert check_job(named(catalog, name), job, {}) == []


@pytest.mark.parametrize("job", ["", ".", "..", "a/b", "a b", "a\n", "a?b", "ä", "x" * 129, 7, None])
def test_an_id_that_could_lead_elsewhere_is_refused(catalog: Catalog, job: object) -> None:
    faults = check_id(named(catalog, "camb"), job)
    assert [fault.pointer for fault in faults] == ["/provider_job_id"]


@pytest.mark.parametrize("job", ["operations/../x", "operations//x", "/x", "operations/x/"])
def test_an_id_with_slashes_cannot_walk_either(job: str) -> None:
    definition = acme('[provider_job_id]\npattern = "^[a-z0-9./]+$"\nexample = "operations/x1"')
    assert [fault.code for fault in check_id(definition, job)] == ["invalid_format"]
    assert check_id(definition, "operations/x1") == []


def test_all_faults_of_a_job_are_named_with_their_place(catalog: Catalog) -> None:
    faults = check_job(named(catalog, "camb"), "", {"kind": "song", "a/b~c": "x", "voice": 3})
    assert [(fault.pointer, fault.code) for fault in faults] == [
        ("/provider_job_id", "invalid_type"),
        ("/params/kind", "invalid_choice"),
        ("/params/a~1b~0c", "unknown_param"),
        ("/params/voice", "unknown_param"),
    ]
    assert "dub" in faults[1].detail
    assert "known: kind" in faults[2].detail


def test_a_param_of_the_credential_is_not_one_of_the_job(catalog: Catalog) -> None:
    faults = check_job(named(catalog, "huawei_metastudio"), "j1", PROJECT)
    assert [(fault.pointer, fault.detail) for fault in faults] == [
        ("/params/project_id", "is given with a credential, not with a job")
    ]


@pytest.mark.parametrize("value", ["a b", "", "..", "x" * 300, "a\n", 7, None])
def test_a_params_value_is_held_to_its_pattern(value: object) -> None:
    assert [fault.pointer for fault in check_params(acme(), {"flavour": value})] == ["/params/flavour"]


def test_a_param_that_is_needed_and_missing_is_named() -> None:
    definition = acme('[params.voice]\nfrom = "job"\nrequired = true\nabout = "which voice"')
    assert [(fault.pointer, fault.detail) for fault in check_params(definition, {})] == [
        ("/params/voice", "is missing: which voice")
    ]


@pytest.mark.parametrize(
    ("name", "secrets", "params"),
    [
        ("huawei_metastudio", {"auth_token": "tok"}, PROJECT),
        ("huawei_metastudio", {"access_key": "a", "secret_key": "b"}, PROJECT),
        ("huawei_metastudio", {"access_key": "a", "secret_key": "b", "security_token": "c"}, PROJECT),
        ("playai", {"api_key": "k", "user_id": "u"}, {}),
        ("fishspeech", {"api_token": "t"}, {}),
        ("camb", {"api_key": "k"}, {}),
        ("vocu", {"api_key": "sk-1"}, {}),
    ],
)
def test_the_contracts_secrets_are_fine(
    catalog: Catalog, name: str, secrets: dict[str, str], params: dict[str, str]
) -> None:
    assert check_credential(named(catalog, name), secrets, params, "http://127.0.0.1:9000/x") == []


def test_a_missing_secret_is_named_and_so_are_the_ways_to_choose_from(catalog: Catalog) -> None:
    huawei = named(catalog, "huawei_metastudio")
    nothing = check_credential(huawei, {}, {})
    assert [fault.pointer for fault in nothing] == ["/secrets", "/params/project_id"]
    assert nothing[0].detail.endswith("needs auth_token; or access_key and secret_key")
    begun = check_credential(huawei, {"access_key": "a"}, PROJECT)
    assert [(fault.pointer, fault.detail) for fault in begun] == [("/secrets/secret_key", "is missing: SK")]
    only = check_credential(named(catalog, "playai"), {"api_key": "k"}, {})
    assert [fault.pointer for fault in only] == ["/secrets/user_id"]


def test_all_faults_of_a_credential_are_named_and_no_value_is_repeated(catalog: Catalog) -> None:
    secrets = {"api_key": "very-secret\n", "apikey": "very-secret", "other": 7}
    faults = check_credential(named(catalog, "camb"), secrets, {"kind": "dub", "x": "y"}, "ftp://a.example")
    assert [(fault.pointer, fault.code) for fault in faults] == [
        ("/secrets/api_key", "invalid_format"),
        ("/secrets/apikey", "unknown_secret"),
        ("/secrets/other", "unknown_secret"),
        ("/params/kind", "unknown_param"),
        ("/params/x", "unknown_param"),
        ("/base_url", "invalid_url"),
    ]
    assert "very-secret" not in str(faults)
    assert "known: api_key" in faults[1].detail
    assert "it takes none" in faults[4].detail


@pytest.mark.parametrize("value", ["", None, 7, " k", "k ", "k\r\nX-Evil: 1", "kä", "x" * 40_000])
def test_a_secret_that_cannot_stand_in_a_header_is_refused(catalog: Catalog, value: object) -> None:
    faults = check_credential(named(catalog, "camb"), {"api_key": value}, {})
    assert {fault.pointer for fault in faults} == {"/secrets/api_key"}


@pytest.mark.parametrize(
    "base_url",
    [
        7,
        "",
        "a.example",
        "https://",
        "https://a.example:0",
        "https://a.example:99999",
        "https://[::1",
        "https://u:p@a.example",
        "https://a.example?x=1",
        "https://a.example#x",
        "https://a.example/a b",
        "https://a.example/../x",
        "https://ä.example",
        "https://a.example/" + "x" * 3000,
    ],
)
def test_a_base_url_is_whole_and_plain(catalog: Catalog, base_url: object) -> None:
    faults = check_credential(named(catalog, "camb"), {"api_key": "k"}, {}, base_url)
    assert [fault.pointer for fault in faults] == ["/base_url"]


def test_a_foreign_host_is_remarked_upon(catalog: Catalog) -> None:
    huawei = named(catalog, "huawei_metastudio")
    assert base_url_warning(huawei, "https://metastudio.ap-southeast-3.myhuaweicloud.com") is None
    assert "a.example is not a known host" in (base_url_warning(huawei, "https://a.example/x") or "")


def test_a_retired_provider_warns(catalog: Catalog) -> None:
    assert "2025-12-31" in warnings_of(named(catalog, "playai"))[0]
    assert warnings_of(named(catalog, "camb")) == []
