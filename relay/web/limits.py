"""How often one API key may call, told in the headers of every answer."""

import math

from redis.asyncio import Redis
from starlette.requests import Request

from relay.schedule import Allowance
from relay.web.problems import Problem

BURST_SECONDS = 2  # of the rate may come at once


def make(redis: Redis, per_second: float) -> Allowance | None:
    """The allowance of each key; None where there is no limit."""
    return Allowance(redis, per_second, max(1, math.ceil(per_second * BURST_SECONDS))) if per_second else None


async def admit(request: Request, key_id: str) -> None:
    """Counts the request; Problem 429 when the key has called too often. `request.state.limits` gets the headers."""
    allowance: Allowance | None = request.app.state.allowance
    if allowance is None:
        return
    verdict = await allowance.take(key_id)
    reset_seconds = math.ceil(verdict.wait_ms / 1000)
    headers = {
        "ratelimit-limit": str(allowance.burst),
        "ratelimit-remaining": str(verdict.remaining),
        "ratelimit-reset": str(reset_seconds),
        "ratelimit-policy": f"{allowance.burst};w={BURST_SECONDS}",
    }
    request.state.limits = headers
    if not verdict.is_allowed:
        detail = f"This key may make {allowance.per_second:g} requests a second: wait, and spread them out."
        raise Problem(429, "too_many_requests", detail, headers={"retry-after": str(max(1, reset_seconds))})
