"""Tests that no body, however strange, makes the relay's own code break."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from tests.trips import SECRET
from tests.web.house import House

SEED = 20260102
CHANGES_PER_DOCUMENT = 120
STRANGE: list[Any] = [
    None,
    True,
    0,
    -1,
    2**53 - 1,
    1.5,
    1e308,
    "",
    " ",
    "\n",
    "a" * 3000,
    "é€😀",
    "\x7f",
    "\u2028",
    "%00",
    "../..",
    "https://example.com/\x01",
    "https://[::1",
    "https://例え.テスト/",
    "https://" + "a." * 200,
    "http://127.0.0.1:99999/",
    [],
    [None],
    [[]],
    {},
    {"": None},
    {"a": {"b": []}},
]
DOCUMENTS: dict[str, Any] = {
    "POST /v1/jobs": {
        "provider": "camb",
        "provider_job_id": "a",
        "credential": "main",
        "params": {"kind": "dub"},
        "metadata": {"a": 1},
        "deadline_seconds": 60,
        "callback": {"url": "http://127.0.0.1:9/", "secret": SECRET},
    },
    "POST /v1/jobs/batch": {"jobs": [{"provider": "camb", "provider_job_id": "b", "metadata": {"a": "b"}}, {}]},
    "POST /v1/subscriptions": {
        "url": "http://127.0.0.1:9/",
        "event_types": ["job.failed"],
        "filter": {"providers": ["camb"], "credentials": ["main"], "metadata": {"a": 1}},
        "headers": {"x-a": "b"},
        "metadata": {"a": "b"},
        "payload": "thin",
        "max_in_flight": 4,
        "secret": SECRET,
    },
    "POST /v1/credentials": {
        "name": "more",
        "provider": "huawei_metastudio",
        "secrets": {"auth_token": "t"},
        "params": {"project_id": "p"},
        "base_url": "http://127.0.0.1:9",
        "max_requests_per_second": 2.5,
        "max_concurrency": 2,
    },
    "POST /v1/keys": {"name": "a", "scopes": ["read"]},
    "PATCH /v1/subscriptions/{subscription}": {
        "url": "http://127.0.0.1:9/",
        "filter": {"providers": None, "metadata": {"a": None}},
        "headers": {"x-a": None, "x-b": "c"},
        "metadata": {"a": None},
        "status": "disabled",
        "disabled_reason": "a",
    },
    "PATCH /v1/credentials/{credential}": {
        "secrets": {"api_key": "k"},
        "params": {},
        "base_url": None,
        "status": "active",
    },
    "POST /v1/subscriptions/{subscription}/secret/rotation": {"secret": SECRET, "overlap_seconds": 0},
}


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for step, value in inner:
        yield from places(value, (*path, step))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = deepcopy(document)
    holder = copy
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return copy


@pytest.mark.parametrize("operation", DOCUMENTS)
async def test_a_strange_body_is_answered_and_never_with_500(house: House, operation: str) -> None:
    credential = await house.add_credential()
    subscription = await house.add_subscription(filter={"credentials": ["main"]}, headers={"x-a": "b"})
    method, _, path = operation.format(credential=credential["id"], subscription=subscription["id"]).partition(" ")
    document = DOCUMENTS[operation]
    dice = random.Random(SEED)
    everywhere = list(places(document))
    for _ in range(CHANGES_PER_DOCUMENT):
        body = document
        for place in dice.sample(everywhere, k=dice.choice([1, 1, 2])):
            try:
                body = changed(body, place, dice.choice(STRANGE))
            except (KeyError, IndexError, TypeError):
                continue  # the first change took away the place of the second
        response = await house.api.request(method, path, json=body)
        assert response.status_code < 500, json.dumps(body)
        assert response.status_code != 404, json.dumps(body)
