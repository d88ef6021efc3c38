"""Whether this process lives, and whether the relay as a whole gets on with its work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.bootstrap import Relay
from relay.domain.errors import Unreachable

CHECK_SECONDS_MAX = 3.0
RETRY_AFTER_SECONDS = 5

Check = Callable[[Relay], Awaitable[dict[str, Any]]]

log = structlog.get_logger(__name__)


async def alive(_request: Request) -> Response:
    """200 while the process answers at all; restarting it would help nobody otherwise."""
    return JSONResponse({"status": "alive"})


async def ready(request: Request) -> Response:
    """200 when database and Redis answer, the migrations are done and nothing due lies idle; else 503, saying which."""
    relay: Relay = request.app.state.relay
    told = await asyncio.gather(*(_checked(relay, name, check) for name, check in CHECKS.items()))
    checks = dict(zip(CHECKS, told, strict=True))
    is_ready = all(one["ok"] for one in told)
    view = {"status": "ready" if is_ready else "not_ready", "checks": checks}
    if is_ready:
        return JSONResponse(view)
    return JSONResponse(view, 503, {"retry-after": str(RETRY_AFTER_SECONDS)})


async def _checked(relay: Relay, name: str, check: Check) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return await check(relay)
    except (Unreachable, RedisError, OSError, TimeoutError) as error:
        log.warning("not_ready", check=name, reason=str(error))
        return {"ok": False, "detail": "no answer"}


async def _database(relay: Relay) -> dict[str, Any]:
    await relay.store.ping()
    return {"ok": True}


async def _redis(relay: Relay) -> dict[str, Any]:
    await relay.redis.ping()
    return {"ok": True}


async def _migrations(relay: Relay) -> dict[str, Any]:
    current, head = await relay.store.revision()
    is_done = current is not None and current >= head
    return {"ok": is_done, "revision": current, "head": head}


async def _progress(relay: Relay) -> dict[str, Any]:
    """What could be worked on and is not for so long: nobody is working, or too few are."""
    bound_seconds = relay.settings.relay_ready_overdue_seconds
    due_polls, poll_seconds = await relay.polls.overdue()
    due_deliveries, delivery_seconds = await relay.deliveries.overdue()
    late = {"polls": poll_seconds, "deliveries": delivery_seconds}
    overdue = [name for name, seconds in late.items() if seconds >= bound_seconds]
    return {
        "ok": not overdue,
        "overdue": overdue,
        "bound_seconds": bound_seconds,
        "polls": {"due": due_polls, "oldest_overdue_seconds": round(poll_seconds, 3)},
        "deliveries": {"due": due_deliveries, "oldest_overdue_seconds": round(delivery_seconds, 3)},
    }


CHECKS: dict[str, Check] = {
    "database": _database,
    "redis": _redis,
    "migrations": _migrations,
    "progress": _progress,
}
