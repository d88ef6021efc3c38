"""Tests of errors as problems, and of what every answer carries."""

from collections.abc import Awaitable
from dataclasses import replace

import httpx
import pytest
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.schedule import connect
from tests.web.house import House, refused, told


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/jobs/", "/v1/nothing", "/v1/jobs/a/b/c/d", "/v2/jobs", "/é"])
async def test_what_is_not_there_is_a_problem(house: House, path: str) -> None:
    problem = refused(await house.api.get(path), 404, "not_found")
    assert problem["instance"] == path


async def test_a_method_that_a_path_does_not_take_is_405_with_those_that_it_does(house: House) -> None:
    response = await house.api.put("/v1/jobs")
    refused(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    response = await house.api.post(f"/v1/jobs/job_{'0' * 26}")
    refused(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}


@pytest.mark.parametrize("wrong", ["1", "job_1", "job_" + "U" * 26, "sub_" + "0" * 26, "job_" + "0" * 27, "job_%00"])
async def test_an_id_that_cannot_be_one_is_404(house: House, wrong: str) -> None:
    refused(await house.api.get(f"/v1/jobs/{wrong}"), 404, "not_found")


async def test_our_own_faults_are_500_without_what_they_are(house: House) -> None:
    async def broken(_request: Request) -> Response:
        raise ZeroDivisionError("the secret of the house")

    house.app.router.routes.append(Route("/broken", broken))
    response = await house.api.get("/broken")
    refused(response, 500, "internal_error")
    assert "secret of the house" not in response.text
    assert "ZeroDivision" not in response.text


async def test_a_sane_request_id_comes_back_and_another_is_replaced(house: House) -> None:
    response = await house.api.get("/healthz", headers={"x-request-id": "trace-1.2:3_4"})
    assert response.headers["x-request-id"] == "trace-1.2:3_4"
    for told_id in ("", "a b", "x" * 129, "<script>", 'a"b'):
        response = await house.api.get("/healthz", headers={"x-request-id": told_id})
        assert response.headers["x-request-id"].startswith("req_")
    first, second = await house.api.get("/healthz"), await house.api.get("/healthz")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_a_traces_id_is_in_every_log_line_of_its_request(house: House) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"

    async def logged(traceparent: str) -> list[object]:
        with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
            await house.api.get("/v1/event-types", headers={"traceparent": traceparent})
        return [line.get("trace_id") for line in lines]

    assert await logged(f"00-{trace_id}-00f067aa0ba902b7-01") == [trace_id]
    assert await logged(f"01-{trace_id}-00f067aa0ba902b7-01-later") == [trace_id]
    for wrong in (
        "",
        trace_id,
        f"ff-{trace_id}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{trace_id}-{'0' * 16}-01",
        f"00-{trace_id.upper()}-00f067aa0ba902b7-01",
    ):
        assert await logged(wrong) == [None]


async def test_probes_leave_no_line_while_all_is_well(house: House) -> None:
    async def seen(path: str) -> list[tuple[str, int]]:
        with structlog.testing.capture_logs() as lines:
            await house.client(None).get(path)
        return [(line["route"], line["status"]) for line in lines if line["log_level"] != "debug" and "route" in line]

    for path in ("/healthz", "/readyz", "/metrics"):
        assert await seen(path) == []
    assert await seen("/v1/jobs") == [("/v1/jobs", 401)]
    await house.relay.redis.aclose()
    house.app.state.relay = replace(house.relay, redis=connect("redis://127.0.0.1:1/0"))
    assert await seen("/readyz") == [("/readyz", 503)]


async def test_a_requests_log_line_names_what_it_was_about_and_what_it_made(house: House) -> None:
    await house.add_credential()

    async def named(request: Awaitable[httpx.Response]) -> dict[str, object]:
        with structlog.testing.capture_logs() as lines:
            response = await request
        assert response.status_code < 300, response.text
        (line,) = [line for line in lines if line["event"] == "request"]
        usual = {"event", "log_level", "method", "route", "status", "duration_ms"}
        return {name: value for name, value in line.items() if name not in usual}

    asked = {"provider": "camb", "provider_job_id": "c-1"}
    made = await named(house.api.post("/v1/jobs", json=asked))
    (job,) = told(await house.api.get("/v1/jobs"))["data"]
    assert made == {"job": job["id"]}
    assert await named(house.api.get(f"/v1/jobs/{job['id']}")) == {"job": job["id"]}
    subscription = await house.add_subscription()
    tested = await named(house.api.post(f"/v1/subscriptions/{subscription['id']}/test"))
    (delivery,) = told(await house.api.get("/v1/deliveries"))["data"]
    assert tested == {"subscription": subscription["id"], "delivery": delivery["id"]}
    assert await named(house.api.get("/v1/jobs")) == {}


async def test_what_is_no_id_does_not_get_into_the_log(house: House) -> None:
    with structlog.testing.capture_logs() as lines:
        refused(await house.api.get("/v1/jobs/rl_a-key-in-the-wrong-place"), 404, "not_found")
    assert "wrong-place" not in str(lines)


async def test_no_answer_is_kept_by_a_cache(house: House) -> None:
    for path in ("/v1/jobs", "/healthz", "/nothing"):
        assert (await house.api.get(path)).headers["cache-control"] == "no-store"


async def test_a_head_is_a_get(house: House) -> None:
    response = await house.api.head("/v1/jobs")
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("limit=0", {"?limit"}),
        ("limit=201", {"?limit"}),
        ("limit=many", {"?limit"}),
        ("limit=1&limit=2", {"?limit"}),
        ("status=done&surprise=1&limit=-1", {"?status", "?surprise", "?limit"}),
        ("metadata=a", {"?metadata"}),
        ("provider_job_id=%00", {"?"}),
        ("metadata.a=1&metadata.a=2", {"?metadata.a"}),
        ("cursor=abc", {"?cursor"}),
    ],
)
async def test_every_fault_of_a_query_is_named(house: House, query: str, pointers: set[str]) -> None:
    problem = refused(await house.api.get(f"/v1/jobs?{query}"), 400, "invalid_request")
    assert {error["pointer"] for error in problem["errors"]} == pointers


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/v1/deliveries?status=open", "?status"),
        ("/v1/deliveries?job=1", "?job"),
        ("/v1/deliveries?event=job_00000000000000000000000000", "?event"),
        ("/v1/events?type=job.begun", "?type"),
        ("/v1/subscriptions?status=asleep", "?status"),
        ("/v1/credentials?status=bad", "?status"),
        ("/v1/keys?name=a", "?name"),
        ("/v1/providers?limit=1", "?limit"),
        ("/v1/event-types?a=b", "?a"),
    ],
)
async def test_bad_filters_of_every_list_are_named(house: House, path: str, pointer: str) -> None:
    problem = refused(await house.api.get(path), 400, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_a_post_takes_no_unknown_query_and_an_empty_action_no_body(house: House) -> None:
    refused(await house.api.post("/v1/keys?dry_run=1", json={"name": "a"}), 400)
    subscription = await house.add_subscription()
    path = f"/v1/subscriptions/{subscription['id']}/activation"
    refused(await house.api.post(path, json={"a": 1}), 422)
    told(await house.api.post(path, json={}))
    told(await house.api.post(path))
