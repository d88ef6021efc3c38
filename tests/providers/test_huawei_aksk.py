"""The signature against the official SDK's own result for invented keys."""

from datetime import UTC, datetime

import pytest

from relay.providers.huawei_aksk import Key, canonical_request, host_header, sign

PROJECT = "3f0924078d1b471c884a5383d4dec9fa"
URL = f"https://metastudio.cn-north-4.myhuaweicloud.com/v1/{PROJECT}/ttsc/async-jobs/1742255d667f46b9816d3aed0174a3e1"
KEY = Key("AKEXAMPLE0000000000", "SKexampleSKexampleSKexampleSKexample0000")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_signature_is_that_of_the_official_sdk() -> None:
    assert sign(KEY, "GET", URL, {"Accept": "application/json", "X-Project-Id": PROJECT}, b"", now=NOW) == {
        "X-Sdk-Date": "20260102T030405Z",
        "Authorization": "SDK-HMAC-SHA256 Access=AKEXAMPLE0000000000, SignedHeaders=host;x-project-id;x-sdk-date, "
        "Signature=6f4ae1bd4a0055f9a72e72a0e98b8c5aa3ba7c5784b162bb1cdd38e635cc4a26",
    }


def test_the_canonical_request_is_that_of_the_official_sdk() -> None:
    signed = {
        "host": "metastudio.cn-north-4.myhuaweicloud.com",
        "x-project-id": PROJECT,
        "x-sdk-date": "20260102T030405Z",
    }
    assert canonical_request("GET", URL, signed, b"") == (
        f"GET\n/v1/{PROJECT}/ttsc/async-jobs/1742255d667f46b9816d3aed0174a3e1/\n\n"
        f"host:metastudio.cn-north-4.myhuaweicloud.com\nx-project-id:{PROJECT}\nx-sdk-date:20260102T030405Z\n\n"
        "host;x-project-id;x-sdk-date\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


def test_a_temporary_key_sends_and_signs_its_token() -> None:
    key = Key(KEY.access_key, KEY.secret_key, "temporary-token")
    headers = sign(key, "GET", URL, {"X-Project-Id": PROJECT}, b"", now=NOW)
    assert headers["X-Security-Token"] == "temporary-token"
    assert "SignedHeaders=host;x-project-id;x-sdk-date;x-security-token" in headers["Authorization"]


def test_a_query_is_sorted_and_the_body_is_part_of_it() -> None:
    request = canonical_request("POST", f"{URL}?offset=0&limit=100&create_since=2026-01-02T03%3A04%3A05Z&a=", {}, b"{}")
    assert request.split("\n")[2] == "a=&create_since=2026-01-02T03%3A04%3A05Z&limit=100&offset=0"
    assert request.endswith("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
    other = sign(KEY, "POST", URL, {}, b"[]", now=NOW)["Authorization"]
    assert sign(KEY, "POST", URL, {}, b"{}", now=NOW)["Authorization"] != other


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://h.example/a", "h.example"),
        ("https://H.example:443/a", "h.example"),
        ("http://h.example:80/", "h.example"),
        ("https://h.example:8443/a", "h.example:8443"),
        ("http://127.0.0.1:9000/a", "127.0.0.1:9000"),
        ("http://[::1]:9000/a", "[::1]:9000"),
    ],
)
def test_the_signed_host_is_the_one_that_is_sent(url: str, host: str) -> None:
    assert host_header(url) == host


def test_a_key_does_not_show_what_it_must_not() -> None:
    assert "SKexample" not in repr(KEY)
    assert "temporary" not in repr(Key("a", "b", "temporary-token"))
