"""The OpenAPI document against a served relay: what it forbids is refused, and every answer is one it tells of."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from relay.domain.ids import is_id
from relay.embedded import EmbeddedRedis
from relay.store import migrate
from relay.web.reference.openapi import PREFIXES
from relay.web.schemas import WAIT_SECONDS_MAX
from tests.web.reference import DOCUMENT
from tests.web.test_serving import API_KEY, answering, environment, free_port, server

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))  # of each operation and mode; `make fuzz` asks for many
EXAMPLES_DEFAULT = 12
PATIENT, WAIT_SECONDS = range(2, WAIT_SECONDS_MAX + 1), 1
NAMES = {"problems": "not_found", "providers": "camb"}
SENSIBLE = {"provider": "camb", "url": "http://127.0.0.1:9/hook", "base_url": "http://127.0.0.1:9"}
ANSWERS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
OF_THE_PROVIDER = (502, 503)  # with a code that says so: an answer, and none of our mistakes
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {one.label: one for one in (result.ok() for result in SCHEMA.get_all_operations())}
# Without a key a route takes anything, so that there is nothing that it would not take.
MODES = [
    (label, mode)
    for label, one in OPERATIONS.items()
    for mode in schemathesis.GenerationMode
    if mode.is_positive or "x-scope" in one.definition.raw
]


@dataclass(frozen=True)
class Served:
    """A relay that nobody works for, so that what was made stays as it is; nothing leaves it."""

    url: str
    session: requests.Session

    def made(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What the POST made."""
        answer = self.session.post(f"{self.url}{path}", json=body, timeout=10)
        assert answer.ok or answer.status_code == 409, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def belongings(self) -> dict[str, str]:
        """One fresh id of each kind, by its prefix."""
        secrets = {"api_key": "a-key-of-camb"}
        name = f"c-{os.urandom(6).hex()}"
        credential = {"name": name, "provider": "camb", "secrets": secrets, "base_url": "http://127.0.0.1:9"}
        made = [self.made("/v1/credentials", credential)]
        job = {"provider": "camb", "provider_job_id": name, "credential": name}
        made += [self.made("/v1/jobs", job), self.made("/v1/subscriptions", {"url": "http://127.0.0.1:9/hook"})]
        delivery = self.made(f"/v1/subscriptions/{made[-1]['id']}/test", {})
        made += [delivery, self.made("/v1/keys", {"name": "a"})]
        return {one["id"].partition("_")[0]: one["id"] for one in made} | {"evt": delivery["event"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, embedded_redis: EmbeddedRedis) -> Iterator[Served]:
    database_url = f"sqlite:///{tmp_path_factory.mktemp('fuzz')}/relay.db"
    asyncio.run(migrate(database_url))
    variables = environment(
        database_url,
        embedded_redis.url,
        RELAY_ALLOW_HTTP="true",
        RELAY_EGRESS_ALLOW="127.0.0.0/8",
        RELAY_EGRESS_PROXY="http://127.0.0.1:9",
        RELAY_API_REQUESTS_PER_SECOND="0",
        RELAY_READY_OVERDUE_SECONDS="86400",
        LOG_LEVEL="error",
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    async def until_it_answers() -> None:
        async with httpx.AsyncClient(base_url=url) as client:
            await answering(client)

    with server(port, variables), requests.Session() as session:
        asyncio.run(until_it_answers())
        session.trust_env = False
        session.headers["authorization"] = f"Bearer {API_KEY}"
        yield Served(url, session)


def made_sensible(case: schemathesis.Case, ids: dict[str, str]) -> None:
    """Real ids, providers and URLs in place of made up ones: only so is anything behind the first check reached."""
    noun = case.path.strip("/").removeprefix("v1/").split("/")[0]
    if noun in NAMES:
        case.path_parameters = dict.fromkeys(case.path_parameters or {}, NAMES[noun])
    elif noun in PREFIXES and is_id(PREFIXES[noun], (case.path_parameters or {}).get("id", "")):
        case.path_parameters = {"id": ids[PREFIXES[noun]]}  # what is no id stays: it may be all that is wrong
    if isinstance(case.body, dict):
        case.body = case.body | {name: value for name, value in SENSIBLE.items() if name in case.body}


def has_refused_items(answer: schemathesis.Response) -> bool:
    """True for the answer to a batch of which one item was refused, or more."""
    told = answer.json() if answer.request.url.endswith("/v1/jobs/batch") else {}
    return any("problem" in one for one in told.get("data", ()))


@pytest.mark.parametrize(("label", "mode"), MODES)
def test_whatever_is_sent_the_answer_is_no_mistake_and_is_documented(
    served: Served, label: str, mode: schemathesis.GenerationMode
) -> None:
    operation = OPERATIONS[label]
    cases = operation.as_strategy(generation_mode=mode)
    ids = served.belongings()

    @settings(
        max_examples=EXAMPLES or EXAMPLES_DEFAULT,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, is_sensible=st.booleans())
    def probe(case: schemathesis.Case, is_sensible: bool) -> None:
        if is_sensible:
            made_sensible(case, ids)
        if (case.query or {}).get("wait") in PATIENT:
            case.query["wait"] = WAIT_SECONDS
        answer = case.call(base_url=served.url, session=served.session, timeout=40, allow_redirects=False)
        if answer.status_code >= 500:
            assert answer.status_code in OF_THE_PROVIDER, case.as_curl_command()
            assert answer.json()["code"].startswith("provider_"), case.as_curl_command()
        # Whether the object is in the state that If-Match names comes before what shall be made of it; and a batch
        # refuses its items one by one, in an answer that is itself a good one.
        is_early = answer.status_code == 412 or has_refused_items(answer)
        case.validate_response(answer, checks=ANSWERS if is_early else [*ANSWERS, checks.negative_data_rejection])

    probe()
