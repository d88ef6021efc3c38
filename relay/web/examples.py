"""One good body for each that the API takes or sends, for the reference; a test holds them against the schemas."""

import json
from importlib.resources import files
from typing import Any

_TOLD: dict[str, Any] = json.loads((files("relay.web") / "examples.json").read_text("utf-8"))

REQUESTS: dict[str, dict[str, Any]] = _TOLD["requests"]
JOB: dict[str, Any] = _TOLD["job"]
DATA: dict[str, dict[str, Any]] = _TOLD["data"]


def event(event_type: str) -> dict[str, Any]:
    """A whole event of that type."""
    return {
        "id": _TOLD["event_id"],
        "type": event_type,
        "timestamp": JOB["completed_at"],
        "data": DATA[event_type],
    }
