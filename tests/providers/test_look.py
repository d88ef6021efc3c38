"""One look over a real wire: what comes back is a value, whatever happens on the way."""

import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from relay.clock import Clock
from relay.domain.observation import Observation, Outcome
from relay.egress import Egress, Guard
from relay.providers.catalog import Catalog
from relay.providers.look import look
from relay.providers.request import Target
from tests.provider_stub import CREDENTIALS
from tests.providers.swift_clock import SwiftClock
from tests.receivers import (
    Behaviour,
    Receiver,
    answering,
    closed_port,
    endless,
    hanging_up,
    in_turn,
    redirecting,
    resetting,
)

LINK = "https://files.example/a.flac"
ENDED = {"status": "SUCCESS", "run_id": 123}


def saying(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Behaviour:
    return answering(status, {"content-type": "application/json", **(headers or {})}, json.dumps(body).encode())


def target(catalog: Catalog, url: str, name: str = "camb", **params: str) -> Target:
    definition = catalog.get(name)
    assert definition is not None
    credential: dict[str, Any] = CREDENTIALS[name]
    return Target(definition, url, credential["secrets"], {**credential.get("params", {}), **params}, "j1")


async def looked(
    egress: Egress, catalog: Catalog, *behaviours: Behaviour, clock: Clock | None = None, **params: str
) -> tuple[Observation, Receiver]:
    async with Receiver(in_turn(*behaviours)) as server:
        return await look(egress, target(catalog, server.url(""), **params), clock or SwiftClock()), server


async def test_a_look_is_one_request_that_says_who_asks_and_wants_json(egress: Egress, catalog: Catalog) -> None:
    observation, server = await looked(egress, catalog, saying({"status": "PENDING"}))
    assert observation.outcome is Outcome.PENDING
    [call] = server.calls
    assert (call.method, call.target) == ("GET", "/apis/tts/j1")
    assert call.header("accept") == "application/json"
    assert call.header("user-agent") == "relay/test (tests)"


async def test_a_completed_job_is_fetched_in_a_second_step(egress: Egress, catalog: Catalog) -> None:
    observation, server = await looked(egress, catalog, saying(ENDED), saying({"output_url": LINK}))
    assert [call.target for call in server.calls] == ["/apis/tts/j1", "/apis/tts-result/123?output_type=file_url"]
    assert server.calls[1].header("x-api-key") == CREDENTIALS["camb"]["secrets"]["api_key"]
    assert observation.result is not None
    assert [file.url for file in observation.result.files] == [LINK]
    assert observation.result.result_id == "123"
    assert observation.result.raw == {**ENDED, "fetch": {"output_url": LINK}}


async def test_the_second_step_is_of_the_jobs_kind(egress: Egress, catalog: Catalog) -> None:
    dubbed = {"audio_url": LINK, "video_url": "https://files.example/a.mp4", "transcript": []}
    observation, server = await looked(egress, catalog, saying(ENDED), saying(dubbed), kind="dub")
    assert [call.target for call in server.calls] == ["/apis/dub/j1", "/apis/dub-result/123?output_type=file_url"]
    assert observation.result is not None
    assert [file.kind for file in observation.result.files] == ["audio", "other"]


async def test_a_second_step_that_fails_is_tried_again_a_little(egress: Egress, catalog: Catalog) -> None:
    clock = SwiftClock()
    observation, server = await looked(
        egress,
        catalog,
        saying(ENDED),
        saying({}, 500),
        saying({}, 429, {"Retry-After": "2"}),
        saying({"output_url": LINK}),
        clock=clock,
    )
    assert clock.slept == [0.5, 2.0]
    assert len(server.calls) == 4
    assert observation.result is not None
    assert [file.url for file in observation.result.files] == [LINK]


@pytest.mark.parametrize(
    ("behaviour", "pauses"),
    [
        (saying({}, 500), 2),
        (resetting(), 2),
        (hanging_up(), 2),
        (saying({}, 429, {"Retry-After": "600"}), 0),
        (saying({}, 404), 0),
        (saying({}, 401), 0),
        (saying({}, 402), 0),
        (answering(200, {"content-type": "audio/flac"}, b"fLaC\x00\x01"), 0),
        (endless({"content-type": "audio/flac"}), 0),
    ],
    ids=["5xx", "reset", "hang-up", "long-wait", "404", "401", "402", "audio", "endless"],
)
async def test_a_second_step_that_never_succeeds_fails_nothing(
    egress: Egress, catalog: Catalog, behaviour: Behaviour, pauses: int
) -> None:
    clock = SwiftClock()
    observation, _ = await looked(egress, catalog, saying(ENDED), *[behaviour] * 6, clock=clock)
    assert len(clock.slept) == pauses
    assert observation.outcome is Outcome.COMPLETED
    assert observation.error is None
    assert observation.pauses is None
    assert "could not be fetched" in observation.detail
    assert observation.result is not None
    assert (observation.result.files, observation.result.result_id) == ((), "123")
    assert observation.result.raw == ENDED


@pytest.mark.parametrize(("status", "is_partial"), [(404, False), (410, False), (401, True), (500, True), (429, True)])
async def test_a_second_step_without_files_is_partial_unless_the_provider_has_them_no_more(
    egress: Egress, catalog: Catalog, status: int, is_partial: bool
) -> None:
    observation, _ = await looked(egress, catalog, saying(ENDED), *[saying({}, status)] * 3)
    assert (observation.is_partial, observation.is_lost) == (is_partial, not is_partial)
    whole, _ = await looked(egress, catalog, saying(ENDED), saying({"output_url": LINK}))
    assert not whole.is_partial
    assert not whole.is_lost


async def test_what_of_a_second_step_cannot_be_followed_is_warned_of(egress: Egress, catalog: Catalog) -> None:
    observation, _ = await looked(egress, catalog, saying(ENDED), saying({"output_url": "/a.flac"}))
    assert observation.result is not None
    assert observation.result.files == ()
    assert [warning.rpartition(": ")[2] for warning in observation.result.warnings] == ["/a.flac"]


async def test_a_success_without_a_result_id_has_nothing_to_fetch(egress: Egress, catalog: Catalog) -> None:
    observation, server = await looked(egress, catalog, saying({"status": "SUCCESS", "run_id": None}))
    assert observation.outcome is Outcome.COMPLETED
    assert len(server.calls) == 1


async def test_a_result_id_cannot_lead_elsewhere(egress: Egress, catalog: Catalog) -> None:
    observation, server = await looked(egress, catalog, saying({"status": "SUCCESS", "run_id": ".."}))
    assert observation.outcome is Outcome.COMPLETED
    assert "could not be fetched" in observation.detail
    assert len(server.calls) == 1


@pytest.mark.parametrize("behaviour", [resetting(), hanging_up(), hanging_up(b"HTTP/1.1 200 OK\r\n")])
async def test_a_broken_wire_is_transient(egress: Egress, catalog: Catalog, behaviour: Behaviour) -> None:
    observation, _ = await looked(egress, catalog, behaviour, behaviour)
    assert observation.outcome is Outcome.TRANSIENT
    assert observation.error is None
    assert observation.detail


async def test_nobody_at_home_is_transient(egress: Egress, catalog: Catalog) -> None:
    with closed_port() as port:
        observation = await look(egress, target(catalog, f"http://127.0.0.1:{port}"), SwiftClock())
    assert observation.outcome is Outcome.TRANSIENT


async def test_a_name_that_does_not_resolve_is_transient_and_says_so(catalog: Catalog) -> None:
    async def nothing(host: str, port: int) -> list[str]:
        raise OSError(f"no {host}:{port}")

    async with Egress(Guard(resolver=nothing), "relay/test") as egress:
        observation = await look(egress, target(catalog, "https://gone.example"), SwiftClock())
    assert observation.outcome is Outcome.TRANSIENT
    assert "resolve" in observation.detail


async def test_an_answer_without_end_is_cut_and_transient(egress: Egress, catalog: Catalog) -> None:
    observation, server = await looked(egress, catalog, endless())
    assert observation.outcome is Outcome.TRANSIENT
    assert server.bytes_written < 16 * 1_048_576


async def test_a_redirect_is_not_followed(egress: Egress, catalog: Catalog) -> None:
    observation, server = await looked(egress, catalog, redirecting(302, "/elsewhere"))
    assert observation.outcome is Outcome.TRANSIENT
    assert "redirects are not followed" in observation.detail
    assert len(server.calls) == 1


async def test_a_secret_that_the_provider_repeats_goes_no_further(egress: Egress, catalog: Catalog) -> None:
    secret = CREDENTIALS["vocu"]["secrets"]["api_key"]
    data = {"status": "generated", "metadata": {"audio": f"https://v1.vocu.ai/stream?token={secret}"}}
    async with Receiver(saying({"status": 200, "data": data, "echo": f"Bearer {secret}"})) as server:
        observation = await look(egress, target(catalog, server.url(""), "vocu"), SwiftClock())
    assert observation.result is not None
    assert secret not in json.dumps(observation.result.to_json())
    assert "[redacted]" in json.dumps(observation.result.raw)


async def test_a_secret_that_only_names_the_account_may_stand_in_a_link(egress: Egress, catalog: Catalog) -> None:
    user = CREDENTIALS["playai"]["secrets"]["user_id"]
    body = {"output": {"status": "COMPLETED", "url": f"https://files.example/{user}/a.mp3"}}
    async with Receiver(saying(body)) as server:
        observation = await look(egress, target(catalog, server.url(""), "playai"), SwiftClock())
    assert observation.result is not None
    assert observation.result.files[0].url == f"https://files.example/{user}/a.mp3"


async def test_a_success_without_its_link_is_taken_when_the_caller_has_waited_enough(
    egress: Egress, catalog: Catalog
) -> None:
    async with Receiver(saying({"state": "SUCCEED"})) as server:
        asked = target(catalog, server.url(""), "huawei_metastudio")
        assert (await look(egress, asked, SwiftClock())).outcome is Outcome.PENDING
        assert (await look(egress, asked, SwiftClock(), pending_again=3)).outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("fault", "is_unresolved"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
        (OSError("no network"), False),
    ],
)
async def test_a_name_without_an_address_is_told_from_a_lookup_that_failed(
    fault: OSError, is_unresolved: bool, catalog: Catalog
) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise fault

    egress = Egress(Guard(["127.0.0.0/8"], allow_http=True, resolver=resolve), user_agent="relay/test (tests)")
    observation = await look(egress, target(catalog, "http://gone.example"), SwiftClock())
    await egress.close()
    assert observation.outcome is Outcome.TRANSIENT
    assert observation.is_unresolved is is_unresolved
