"""One good body for each that the API takes or sends, for the reference; a test holds them against the schemas."""

import json
from importlib.resources import files
from typing import Any

from relay.web.problems import TITLES
from relay.web.reference.meanings import MEANINGS

_TOLD: dict[str, Any] = json.loads((files("relay.web.reference") / "examples.json").read_text("utf-8"))

REQUESTS: dict[str, dict[str, Any]] = _TOLD["requests"]
JOB: dict[str, Any] = _TOLD["job"]
DATA: dict[str, dict[str, Any]] = _TOLD["data"]
PARTS: dict[str, dict[str, Any]] = {
    **_TOLD["parts"],
    "JobError": DATA["job.failed"]["error"],
    "TestNotice": DATA["webhook.test"],
    "CredentialNotice": DATA["credential.paused"],
    "SubscriptionNotice": DATA["subscription.disabled"],
    "ExhaustedDelivery": DATA["delivery.exhausted"],
    "ProblemMeaning": {
        "code": "in_use",
        "title": TITLES["in_use"],
        "statuses": list(MEANINGS["in_use"].statuses),
        "meaning": MEANINGS["in_use"].means,
        "remedy": MEANINGS["in_use"].remedy,
    },
}


def event(event_type: str) -> dict[str, Any]:
    """A whole event of that type."""
    return {
        "id": _TOLD["event_id"],
        "type": event_type,
        "timestamp": JOB["completed_at"],
        "data": DATA[event_type],
    }


def problem(code: str, status: int | None = None) -> dict[str, Any]:
    """A problem of that code, with the status that it has most often or another of its own; some name a fault."""
    in_body = {"pointer": "/provider_job_id", "detail": "this field is required", "code": "missing"}
    in_query = {"pointer": "?limit", "detail": "input should be less than or equal to 200", "code": "out_of_range"}
    fault = in_query if status == 400 else in_body
    return {
        "type": f"https://relay.example/problems/{code}",
        "title": TITLES[code],
        "status": status or MEANINGS[code].statuses[0],
        "detail": MEANINGS[code].means,
        "instance": "/v1/jobs",
        "code": code,
        "request_id": _TOLD["request_id"],
        "errors": [fault] if code == "invalid_request" else [],
    }


def _answers() -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = dict(_TOLD["answers"])
    fresh = {**JOB, "status": "pending", "provider_status": None, "result": None, "result_url": None}
    fresh |= {"polls": 0, "started_at": None, "completed_at": None, "next_poll_at": JOB["created_at"]}
    created = {**fresh, "deliveries": None, "callback": None}
    told["Job"] = JOB
    told["EndedJob"] = DATA["job.completed"]
    told["CreatedJob"] = created
    told["Batch"] = {"data": [{"status": 201, "job": created}, {"status": 422, "problem": problem("invalid_request")}]}
    told["CreatedSubscription"] = {**told["Subscription"], "secret": _TOLD["secret"]}
    told["CreatedKey"] = {**told["Key"], "last_used_at": None, "key": _TOLD["key"]}
    told["Problem"] = problem("invalid_request")
    whole = event("job.completed")
    told["Event"] = {**whole, "object": "event", "job": JOB["id"]}
    return told


ANSWERS: dict[str, dict[str, Any]] = _answers()
