"""Tests of reading bodies."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from relay.web.bodies import DEPTH_MAX, DISCARDED_BYTES_MAX, NAMES_MAX, parse, read_document
from relay.web.problems import Problem
from tests.web.house import House, opened, refused

LIMIT_BYTES = 2048


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


UNUSABLE: dict[str, bytes] = {
    "not JSON": b"{",
    "nothing but space": b"   ",
    "two documents": b"{} {}",
    "a trailing comma": b'{"a": 1,}',
    "not a number": b'{"a": NaN}',
    "an infinite number": b'{"a": -Infinity}',
    "a number too large for a float": b'{"a": 1e999}',
    "an integer that readers differ on": b'{"a": 9007199254740993}',
    "an integer of many digits": b'{"a": ' + b"9" * 1000 + b"}",
    "a name twice": b'{"a": 1, "a": 2}',
    "a name twice, further in": b'{"a": {"b": 1, "b": 2}}',
    "half of a surrogate pair": b'{"a": "\\ud800"}',
    "half of a surrogate pair as a name": b'{"\\udfff": 1}',
    "half of a surrogate pair, further in": b'{"a": [["\\ud800"]]}',
    "a NUL": b'{"a": "\\u0000"}',
    "a control character": b'{"a": "\x01"}',
    "Latin-1": b'{"a": "\xe9"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "one level too deep": nested(DEPTH_MAX + 1),
    "more names than anybody has": json.dumps(dict.fromkeys(map(str, range(NAMES_MAX + 1)))).encode(),
    "far too deep": nested(400),
    "deeper than the parser goes": b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE)
def test_what_two_readers_could_understand_differently_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as told:
        parse(body)
    assert (told.value.status_code, told.value.code) == (400, "malformed_body")


def test_each_place_that_cannot_be_used_is_named() -> None:
    body = (
        b'{"a": 1e999, "b": [1, {"c/d": "\\u0000"}], "e": {"f": 1, "f": 2}, "g": {"\\ud800": 1}, "h": 9007199254740993}'
    )
    with pytest.raises(Problem) as told:
        parse(body)
    assert [fault.pointer for fault in told.value.faults] == ["/a", "/b/1/c~1d", "/e", "/g", "/h"]


def test_what_is_set_apart_harms_no_other() -> None:
    document = parse(b'{"jobs": [{"a": 1}, {"b": {"c": "\\u0000"}, "d": 1e999}, 9007199254740993, {"a": 2}]}', "jobs")
    good, text, number, last = document["jobs"]
    assert (good, last) == ({"a": 1}, {"a": 2})
    assert [fault.pointer for fault in text.faults] == ["/b/c", "/d"]
    assert [fault.pointer for fault in number.faults] == [""]
    with pytest.raises(Problem) as told:
        parse(b'{"jobs": [{"a": "\\u0000"}], "more": "\\u0000"}', "jobs")
    assert [fault.pointer for fault in told.value.faults] == ["/more"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        1,
        "a",
        None,
        {"a": [1, 2.5, -3, True, None, "ü€😀"]},
        {"a" * 100: 2**53 - 1},
        json.loads(nested(DEPTH_MAX)),
    ],
)
def test_plain_json_is_read_as_it_is(document: Any) -> None:
    assert parse(json.dumps(document).encode()) == document
    assert parse(json.dumps(document, ensure_ascii=False).encode()) == document


@pytest.mark.parametrize("body", [b"[]", b"1", b'"a"', b"null", b'[{"name": "a"}]'])
async def test_a_body_that_is_no_object_is_refused(house: House, body: bytes) -> None:
    response = await house.api.post("/v1/keys", content=body, headers={"content-type": "application/json"})
    refused(response, 400, "malformed_body")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/merge-patch+json"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_another_form_of_body_is_refused(house: House, headers: dict[str, str]) -> None:
    response = await house.api.post("/v1/keys", content=b'{"name": "a"}', headers=headers)
    refused(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "application/json"}, {"content-type": 'Application/JSON; charset="UTF-8"'}]
)
async def test_json_is_accepted_with_and_without_its_name(house: House, headers: dict[str, str]) -> None:
    response = await house.api.post("/v1/keys", content=b'{"name": "a"}', headers=headers)
    assert response.status_code == 201


async def test_a_body_over_the_limit_is_413(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url, RELAY_MAX_BODY_BYTES=str(LIMIT_BYTES)) as house:
        body = json.dumps({"name": "a", "scopes": ["read"]}).encode()
        fits = await house.api.post("/v1/keys", content=body.ljust(LIMIT_BYTES))
        assert fits.status_code == 201
        too_large = await house.api.post("/v1/keys", content=body.ljust(LIMIT_BYTES + 1))
        refused(too_large, 413, "body_too_large")
        assert too_large.headers["connection"] == "close"


async def test_an_endless_body_is_refused_after_what_is_thrown_away(database_url: str, redis_url: str) -> None:
    read_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read_bytes
        while True:
            read_bytes += 1000
            yield b" " * 1000

    async with opened(database_url, redis_url, RELAY_MAX_BODY_BYTES=str(LIMIT_BYTES)) as house:
        response = await house.api.post("/v1/keys", content=endless())
        refused(response, 413, "body_too_large")
    assert read_bytes <= DISCARDED_BYTES_MAX + 2000


async def test_a_body_that_drips_in_is_cut_at_its_deadline() -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(Problem) as refusal:
        await read_document(request, LIMIT_BYTES, body_seconds_max=0.1)
    assert (refusal.value.status_code, refusal.value.code) == (408, "body_too_slow")


async def test_the_limit_holds_for_whoever_lies_about_the_length(database_url: str, redis_url: str) -> None:
    async with opened(database_url, redis_url, RELAY_MAX_BODY_BYTES=str(LIMIT_BYTES)) as house:
        request = house.api.build_request("POST", "/v1/keys", content=b" " * (LIMIT_BYTES + 1))
        request.headers["content-length"] = "10"
        refused(await house.api.send(request), 413, "body_too_large")
        request = httpx.Request("POST", "http://relay.test/v1/keys", content=b"{}")
        request.headers["content-length"] = "1" * 30
        request.headers["authorization"] = house.api.headers["authorization"]
        refused(await house.api.send(request), 413, "body_too_large")
