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
from relay.web.progress import progress

CHECK_SECONDS_MAX = 3.0
RETRY_AFTER_SECONDS = 5
NOT_REBUILT = "Redis does not hold the whole schedule, and no worker has rebuilt it."

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
    told = await progress(relay)
    late = {"polls": told.polls, "deliveries": told.deliveries}
    overdue = [name for name, idle in late.items() if idle.oldest_seconds >= bound_seconds]
    return {
        "ok": not overdue,
        **({"detail": NOT_REBUILT} if overdue and told.is_lost else {}),
        "overdue": overdue,
        "bound_seconds": bound_seconds,
        **{
            name: {"due": idle.due, "oldest_overdue_seconds": round(idle.oldest_seconds, 3)}
            for name, idle in late.items()
        },
    }


CHECKS: dict[str, Check] = {
    "database": _database,
    "redis": _redis,
    "migrations": _migrations,
    "progress": _progress,
}
