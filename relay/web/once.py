"""Makes a POST that is sent twice happen once: the second gets the first one's answer."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence

import structlog
from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.errors import Unreachable
from relay.store import SavedCall
from relay.web.problems import Problem

KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_HEADERS = ("content-type", "location")
RETRY_AFTER_SECONDS = 1

log = structlog.get_logger(__name__)


def read_key(values: Sequence[str]) -> str:
    """The value of `Idempotency-Key`; Problem 400 when it cannot be one."""
    if len(values) != 1 or not KEY.fullmatch(values[0]):
        detail = "Idempotency-Key is given once, as 1 to 255 visible ASCII characters."
        raise Problem(400, "idempotency_key_malformed", detail)
    return values[0]


def fingerprint(method: str, path: str, body: str) -> str:
    """What makes two calls the same one; `body` is its document with the names in order."""
    return hashlib.sha256(f"{method}\n{path}\n{body}".encode()).hexdigest()


def mark(tenant: str, key: str, told: str) -> str:
    """What no other call of any tenant has; `told` is the call's fingerprint."""
    return hashlib.sha256(f"{tenant}\n{key}\n{told}".encode()).hexdigest()


async def handled(
    relay: Relay,
    tenant: str,
    key: str,
    told: str,
    handler: Callable[[], Awaitable[Response]],
    interrupted: Callable[[], Awaitable[Response | None]] | None = None,
) -> Response:
    """
    The handler's answer, or the saved one of the same call before it; `told` is its fingerprint.

    What was refused did nothing and is not saved, so the same key may try again. Raises Problem 422 when
    the key was used for another call, 409 while the first is still being handled: unless `interrupted` knows that it
    died on the way, and what came of it.
    """
    saved = await relay.store.open_call(tenant, key, told, relay.clock.now())
    if saved is not None:
        is_same_in_flight = saved.fingerprint == told and saved.status_code is None
        known = await interrupted() if interrupted and is_same_in_flight else None
        if known is None:
            return _replayed(saved, told)
        await _close(relay, tenant, key, known)
        return known
    try:
        response = await handler()
    except BaseException:
        await asyncio.shield(_forget(relay, tenant, key))
        raise
    await _close(relay, tenant, key, response)
    return response


async def _close(relay: Relay, tenant: str, key: str, response: Response) -> None:
    kept = {name: value for name, value in response.headers.items() if name in KEPT_HEADERS}
    try:
        await relay.store.close_call(tenant, key, response.status_code, kept, bytes(response.body))
    except Unreachable as error:
        # The work is done, which is what the caller must hear; a repetition is told to wait, then does it anew.
        log.warning("call_not_saved", reason=str(error))


async def _forget(relay: Relay, tenant: str, key: str) -> None:
    try:
        await relay.store.forget_call(tenant, key)
    except Unreachable as error:
        log.warning("call_not_forgotten", reason=str(error))


def _replayed(saved: SavedCall, told: str) -> Response:
    if saved.fingerprint != told:
        detail = "This Idempotency-Key was used for another request; take a new one."
        raise Problem(422, "idempotency_key_reused", detail)
    if saved.status_code is None:
        detail = "The first request with this Idempotency-Key is still being handled."
        raise Problem(409, "idempotency_in_flight", detail, headers={"retry-after": str(RETRY_AFTER_SECONDS)})
    return Response(saved.body, saved.status_code, {**saved.headers, "idempotent-replayed": "true"})
