"""Who has signed in: a cookie names the key, never holds it, and the key is read anew at every request."""

from datetime import timedelta
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.key import Key
from relay.domain.moments import from_ms, to_ms
from relay.web.access import ENVIRONMENT_KEY_ID, recall
from relay.web.problems import Problem

LASTS = timedelta(hours=12)
COOKIE = "relay_session"


def begin(relay: Relay, key: Key, response: Response) -> None:
    """The browser that gets this response has signed in with that key."""
    ends_ms = to_ms(relay.clock.now() + LASTS)
    cookie = relay.tokens.for_session(f"{key.id} {ends_ms} {_mark(relay, key)}")
    response.set_cookie(
        _name(relay),
        cookie,
        max_age=int(LASTS.total_seconds()),
        path="/",
        secure=_is_https(relay),
        httponly=True,
        samesite="lax",  # a link in somebody's chat opens the page; no form of another site comes with the cookie
    )


def end(relay: Relay, response: Response) -> None:
    """The browser that gets this response has signed out."""
    response.delete_cookie(_name(relay), path="/", secure=_is_https(relay), httponly=True, samesite="lax")


async def key_of(request: Request) -> Key | None:
    """The key that the request's session was begun with, as it is now; None without a session that holds."""
    relay: Relay = request.app.state.relay
    told = relay.tokens.told_by(request.cookies.get(_name(relay), ""))
    if told is None:
        return None
    key_id, ends_ms, mark = told.split(" ")
    if relay.clock.now() >= from_ms(int(ends_ms)):
        return None
    key = await recall(relay, key_id)
    return key if key is not None and key.may("read") and _mark(relay, key) == mark else None


def check_origin(request: Request) -> None:
    """Problem 403 for a form that was not sent from a page of this relay."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        is_own = site == "same-origin"
    else:  # over plain HTTP browsers say no more than where the form stood
        base = urlsplit(request.app.state.public_url).netloc
        origin = urlsplit(request.headers.get("origin", "")).netloc
        is_own = origin != "" and origin in (request.headers.get("host", ""), base)
    if not is_own:
        raise Problem(403, "forbidden", "This form was not sent from a page of this relay.")


def _name(relay: Relay) -> str:
    # With this prefix browsers take the cookie from this very host alone, and over TLS alone.
    return f"__Host-{COOKIE}" if _is_https(relay) else COOKIE


def _is_https(relay: Relay) -> bool:
    return relay.settings.public_url.startswith("https://")


def _mark(relay: Relay, key: Key) -> str:
    """Ends the sessions of the environment's key when it is replaced: unlike those in the table, its id stays."""
    own = relay.settings.relay_api_key
    return relay.tokens.mark(own.get_secret_value()) if own is not None and key.id == ENVIRONMENT_KEY_ID else ""
