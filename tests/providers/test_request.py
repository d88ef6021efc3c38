"""Every provider is asked at the address that its page gives, with each value in its place."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from relay.providers.catalog import Catalog
from relay.providers.definition import Definition
from relay.providers.request import (
    LOOK_BYTES_MAX,
    LOOK_TIMEOUT_SECONDS,
    Target,
    fetch_request,
    list_request,
    look_request,
    submit_request,
)
from tests.providers.made_up import acme

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRETS = {
    "huawei_metastudio": {"auth_token": "tok"},
    "playai": {"api_key": "k", "user_id": "u"},
    "fishspeech": {"api_token": "t"},
    "camb": {"api_key": "k"},
    "vocu": {"api_key": "k"},
}


def target(catalog: Catalog, name: str, job: str = "j1", base_url: str | None = None, **params: str) -> Target:
    definition = catalog.get(name)
    assert definition is not None
    return Target(definition, base_url, SECRETS[name], params, job)


@pytest.mark.parametrize(
    ("name", "params", "url"),
    [
        (
            "huawei_metastudio",
            {"project_id": "p1"},
            "https://metastudio.cn-north-4.myhuaweicloud.com/v1/p1/ttsc/async-jobs/j1",
        ),
        ("playai", {}, "https://api.play.ai/api/v1/tts/j1"),
        ("fishspeech", {}, "https://fishaudio.org/api/open/v1/speech/tts/jobs/j1"),
        ("camb", {}, "https://client.camb.ai/apis/tts/j1"),
        ("camb", {"kind": "dub"}, "https://client.camb.ai/apis/dub/j1"),
        ("camb", {"kind": "transcribe"}, "https://client.camb.ai/apis/transcribe/j1"),
        ("vocu", {}, "https://v1.vocu.ai/api/tts/generate/j1"),
    ],
)
def test_a_look_goes_where_the_page_says(catalog: Catalog, name: str, params: dict[str, str], url: str) -> None:
    request = look_request(target(catalog, name, **params), NOW)
    assert (request.method, request.url, request.body) == ("GET", url, b"")
    assert request.timeout_seconds == LOOK_TIMEOUT_SECONDS == 10
    assert request.body_bytes_max == LOOK_BYTES_MAX == 1_048_576


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/apis/tts/j1"),
        ("https://proxy.example/camb/", "https://proxy.example/camb/apis/tts/j1"),
    ],
)
def test_a_base_url_replaces_scheme_and_host_and_keeps_its_path_in_front(
    catalog: Catalog, base_url: str, url: str
) -> None:
    assert look_request(target(catalog, "camb", base_url=base_url), NOW).url == url


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("tts", "tts-result"),
        ("translated-tts", "tts-result"),
        ("dub", "dub-result"),
        ("transcribe", "transcription-result"),
        ("translate", "translation-result"),
        ("text-to-sound", "text-to-sound-result"),
        ("text-to-voice", "text-to-voice-result"),
        ("story", "story-result"),
        ("audio-separation", "audio-separation-result"),
        ("project-setup", "project-setup-result"),
    ],
)
def test_the_second_step_goes_to_the_result_of_the_same_kind(catalog: Catalog, kind: str, path: str) -> None:
    asked = target(catalog, "camb", kind=kind)
    assert asked.definition.fetch is not None
    request = fetch_request(asked, asked.definition.fetch, "123", NOW)
    assert request.url == f"https://client.camb.ai/apis/{path}/123?output_type=file_url"


def test_a_list_says_how_many_from_where_and_since_when(catalog: Catalog) -> None:
    asked = target(catalog, "huawei_metastudio", project_id="p1")
    assert asked.definition.listing is not None
    since = datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    url = list_request(asked, asked.definition.listing, 200, since, NOW).url
    assert url == (
        "https://metastudio.cn-north-4.myhuaweicloud.com/v1/p1/ttsc/tts-jobs"
        "?limit=100&offset=200&create_since=2026-01-02T03%3A04%3A05Z&job_type=ASYNC_JOB"
    )
    assert "create_since" not in list_request(asked, asked.definition.listing, 0, None, NOW).url


@pytest.mark.parametrize(
    ("name", "params", "url"),
    [
        (
            "huawei_metastudio",
            {"project_id": "p1"},
            "https://metastudio.cn-north-4.myhuaweicloud.com/v1/p1/ttsc/async-jobs",
        ),
        ("playai", {}, "https://api.play.ai/api/v1/tts"),
        ("fishspeech", {}, "https://fishaudio.org/api/open/v1/speech/tts/jobs"),
        ("camb", {"kind": "dub"}, "https://client.camb.ai/apis/dub"),
        ("vocu", {}, "https://v1.vocu.ai/api/tts/generate"),
    ],
)
def test_a_job_is_created_with_the_providers_own_body(
    catalog: Catalog, name: str, params: dict[str, str], url: str
) -> None:
    asked = target(catalog, name, "", **params)
    assert asked.definition.submit is not None
    request = submit_request(asked, asked.definition.submit, {"text": "Grüße \ud800"}, NOW)
    assert (request.method, request.url) == ("POST", url)
    assert json.loads(request.body) == {"text": "Grüße \ud800"}
    assert request.headers["Content-Type"] == "application/json"


def test_an_id_cannot_leave_its_place(catalog: Catalog) -> None:
    assert look_request(target(catalog, "camb", "a/../../b?c#d"), NOW).url == (
        "https://client.camb.ai/apis/tts/a%2F..%2F..%2Fb%3Fc%23d"
    )
    with pytest.raises(ValueError, match="cannot stand in a path"):
        look_request(target(catalog, "camb", ".."), NOW)


def test_a_place_without_a_value_is_an_error_in_a_path_and_left_out_elsewhere(catalog: Catalog) -> None:
    with pytest.raises(LookupError, match="'project_id' has no value"):
        look_request(target(catalog, "huawei_metastudio"), NOW)
    text = '[params.tag]\nfrom = "job"\n[submit]\npath = "/jobs"\nid = "body.id"\n'
    definition: Definition = acme(text + 'query = { tag = "{tag}" }\nheaders = { X-Tag = "{tag}" }')
    assert definition.submit is not None
    without = submit_request(Target(definition, None, {"token": "t"}, {}), definition.submit, {}, NOW)
    assert without.url == "https://api.acme.example/jobs"
    assert "X-Tag" not in without.headers
    with_tag = submit_request(Target(definition, None, {"token": "t"}, {"tag": "a b"}), definition.submit, {}, NOW)
    assert with_tag.url == "https://api.acme.example/jobs?tag=a%20b"
    assert with_tag.headers["X-Tag"] == "a b"
