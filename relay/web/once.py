"""Makes a POST that is sent twice happen once: the second gets the first one's answer."""

import asyncio
import hashlib
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog
from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.errors import Refused, Unreachable
from relay.domain.ids import Prefix, make_id
from relay.domain.moments import to_ms
from relay.store import OpenCall, SavedCall
from relay.store.keys import LIFE_SECONDS, SIGN_SECONDS
from relay.web.problems import Problem

KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_HEADERS = ("content-type", "location")
LATE_SECONDS = 1.0  # a sign of life may be, on a busy machine, before one thinks the worse of it

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


def name(key_id: str, words: str) -> str:
    """What a call is kept under: the words of one API key are not those of another, nor are the secrets it was told."""
    return f"{key_id} {words}"


def mark(tenant: str, name: str, told: str) -> str:
    """What no other call of any tenant has; `told` is the call's fingerprint."""
    return hashlib.sha256(f"{tenant}\n{name}\n{told}".encode()).hexdigest()


def derived_id(prefix: Prefix, mark: str, opened_at: datetime) -> str:
    """The id of what the call of that mark makes, whoever makes it, and how often."""
    return make_id(prefix, to_ms(opened_at), hashlib.sha256(f"{mark}\n{prefix}".encode()).digest())


async def handled(
    relay: Relay,
    tenant: str,
    name: str,
    told: str,
    handler: Callable[[OpenCall], Awaitable[Response]],
    interrupted: Callable[[], Awaitable[Response | None]] | None = None,
) -> Response:
    """
    The handler's answer, or the saved one of the same call before it; `told` is its fingerprint.

    What was refused did nothing and is not saved, so the same key may try again. Raises Problem 422 when the key was
    used for another call, 409 while the first is still being handled. One whose process died is handled again, unless
    `interrupted` knows what came of it.
    """
    call = await relay.store.open_call(tenant, name, told, relay.clock.new_id("req"), relay.clock.now())
    if isinstance(call, SavedCall):
        return _replayed(call, told, relay.clock.now())
    keeping = asyncio.create_task(_keep(relay, call))
    try:
        response = await _made(relay, call, handler, None if call.is_first else interrupted)
        return await _closed(relay, call, told, response)
    finally:
        keeping.cancel()


async def _keep(relay: Relay, call: OpenCall) -> None:
    is_ours = True
    while is_ours:
        await relay.clock.sleep(SIGN_SECONDS)
        with suppress(Unreachable):
            is_ours = await relay.store.keep_call(call, relay.clock.now())


async def _made(
    relay: Relay,
    call: OpenCall,
    handler: Callable[[OpenCall], Awaitable[Response]],
    interrupted: Callable[[], Awaitable[Response | None]] | None,
) -> Response:
    try:
        known = await interrupted() if interrupted else None
        return await handler(call) if known is None else known
    except (Problem, Refused):
        # A call that died before may have done something, whose ids must stay the same.
        await asyncio.shield(_forget(relay, call) if call.is_first else _leave(relay, call))
        raise
    except BaseException:
        await asyncio.shield(_leave(relay, call))
        raise


async def _closed(relay: Relay, call: OpenCall, told: str, response: Response) -> Response:
    """The response, once it is saved; where another took the call over, what it has answered: there is one answer."""
    kept = {name: value for name, value in response.headers.items() if name in KEPT_HEADERS}
    try:
        if await relay.store.close_call(call, response.status_code, kept, bytes(response.body)):
            return response
        saved = await relay.store.recall_call(call)
    except Unreachable as error:
        # The work is done, which is what the caller must hear; a repetition is told to wait, then does it anew.
        log.warning("call_not_saved", reason=str(error))
        return response
    return response if saved is None else _replayed(saved, told, relay.clock.now())


async def _forget(relay: Relay, call: OpenCall) -> None:
    try:
        await relay.store.forget_call(call)
    except Unreachable as error:
        log.warning("call_not_forgotten", reason=str(error))


async def _leave(relay: Relay, call: OpenCall) -> None:
    try:
        await relay.store.leave_call(call, relay.clock.now())
    except Unreachable as error:
        log.warning("call_not_left", reason=str(error))


def _replayed(saved: SavedCall, told: str, now: datetime) -> Response:
    if saved.fingerprint != told:
        detail = "This Idempotency-Key was used for another request; take a new one."
        raise Problem(422, "idempotency_key_reused", detail)
    if saved.status_code is None:
        raise in_flight(saved.lives_until, now)
    return Response(saved.body, saved.status_code, {**saved.headers, "idempotent-replayed": "true"})


def in_flight(lives_until: datetime, now: datetime) -> Problem:
    """
    409, and when to ask again: at the next sign of life that is due, and after one that did not come when the call will
    be given up.
    """
    left_seconds = (lives_until - now).total_seconds()
    until_sign_seconds = left_seconds - (LIFE_SECONDS - SIGN_SECONDS - LATE_SECONDS)
    wait_seconds = math.ceil(until_sign_seconds if until_sign_seconds > 0 else left_seconds)
    detail = "The first request with this Idempotency-Key is still being handled."
    return Problem(409, "idempotency_in_flight", detail, headers={"retry-after": str(max(1, wait_seconds))})
