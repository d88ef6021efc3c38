"""Who calls, and what the key they show allows."""

import hmac
from datetime import timedelta

import structlog

from relay.bootstrap import Relay
from relay.domain.errors import Unreachable
from relay.domain.key import SCOPES, Key, digest, looks_like_key
from relay.domain.moments import EPOCH
from relay.web.problems import Problem

KEY_CHARACTERS_MAX = 512
USE_NOTED_EVERY = timedelta(minutes=1)
ENVIRONMENT_TENANT = "default"
ENVIRONMENT_KEY_ID = "key_environment"

log = structlog.get_logger(__name__)


async def admit(relay: Relay, authorization: str | None, scope: str) -> Key:
    """The caller's key; Problem 401 without a valid one, 403 when it lacks the scope."""
    key = await _identify(relay, authorization)
    if not key.may(scope):
        detail = f"This key lacks the scope `{scope}`; it has: {', '.join(key.scopes)}."
        raise Problem(403, "forbidden", detail)
    return key


async def recall(relay: Relay, key_id: str) -> Key | None:
    """The key of that id as it is now, for a session that was begun with it; None when it has been revoked."""
    if key_id == ENVIRONMENT_KEY_ID:
        return environment_key() if relay.settings.relay_api_key is not None else None
    key = await relay.store.recall_key(key_id)
    if key is not None:
        await _note_use(relay, key)
    return key


async def _identify(relay: Relay, authorization: str | None) -> Key:
    kind, _, text = (authorization or "").partition(" ")
    text = text.strip()
    if kind.lower() != "bearer" or not 0 < len(text) <= KEY_CHARACTERS_MAX:
        raise _unauthorized("Send an API key: `Authorization: Bearer <key>`.", 'Bearer realm="relay"')
    if _is_environments(relay, text):
        return environment_key()
    key = await relay.store.find_key(digest(text)) if looks_like_key(text) else None
    if key is None:
        detail = "The API key is not valid; it may have been mistyped or revoked."
        raise _unauthorized(detail, 'Bearer realm="relay", error="invalid_token"')
    await _note_use(relay, key)
    return key


def environment_key() -> Key:
    """The key of RELAY_API_KEY: in no table, with every scope."""
    return Key(ENVIRONMENT_KEY_ID, ENVIRONMENT_TENANT, "RELAY_API_KEY", SCOPES, "", EPOCH, None)


def _is_environments(relay: Relay, text: str) -> bool:
    own = relay.settings.relay_api_key
    # Digests are of one length: not even that of the key can be measured.
    return own is not None and hmac.compare_digest(digest(own.get_secret_value()), digest(text))


async def _note_use(relay: Relay, key: Key) -> None:
    now = relay.clock.now()
    if key.last_used_at is not None and now - key.last_used_at < USE_NOTED_EVERY:
        return
    try:
        await relay.store.note_key_use(key.id, now)
    except Unreachable as error:
        log.warning("key_use_not_noted", reason=str(error))


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"www-authenticate": challenge})
