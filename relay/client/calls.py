"""What a call is, when it is worth another try, and what its answer means: all that needs no connection."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from relay import __version__
from relay.client.errors import NotUnderstood, ProblemError
from relay.clock import Clock
from relay.domain.backoff import after_faults
from relay.domain.retry_after import retry_after_seconds

TIMEOUT_SECONDS = 30.0
TRIES_MAX = 5
BACKOFF_SECONDS = 0.5
BACKOFF_SECONDS_MAX = 8.0
RETRY_AFTER_SECONDS_MAX = 60.0  # a longer wait is for the program to decide: it gets the problem at once
WAIT_SECONDS_MAX = 30  # the longest `?wait=` of the API
LOOK_SECONDS_MIN = 1.0  # between long polls of a relay, or of a proxy before it, that does not hold answers back
PAGE_LIMIT = 100
PORT_MAX = 65_535
LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=20)  # each long poll keeps one for its while
KEY_BYTES = 16

WORTH_ANOTHER_TRY = frozenset({429, 502, 503, 504})
IN_FLIGHT = "idempotency_in_flight"  # the first try of this very call is still being handled
OPEN_STATUSES = frozenset({"submitting", "pending"})

FIT_FOR_A_HEADER = re.compile(r"[!-~]([ -~]*[!-~])?")  # RFC 9110, 5.5, less what only old servers send
NEVER_SENT = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)  # and so never will be: no other try helps

REASONS: tuple[tuple[type[httpx.TransportError], str], ...] = (  # first match wins
    (httpx.LocalProtocolError, "the call cannot be sent as it is"),
    (httpx.UnsupportedProtocol, "the call cannot be sent as it is"),
    (httpx.ProxyError, "the proxy on the way makes no connection"),
    (httpx.ConnectError, "no connection could be made to the host"),
    (httpx.ConnectTimeout, "no connection could be made to the host"),
    (httpx.TimeoutException, "the answer did not come in time"),
    (httpx.TransportError, "the connection was lost before the answer was complete"),
)


@dataclass(frozen=True, slots=True)
class Ask:
    """
    One call; values of None are left out of the query. `wait_seconds` is how long the relay may hold it back. With
    `is_removal` nothing is left of what the path names, so that another try finds nothing.
    """

    method: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    wait_seconds: float = 0.0
    is_removal: bool = False


def at(collection: str, item_id: str, part: str = "") -> str:
    """The path of one item, or of a part of it; ValueError for an empty id, which would name the whole collection."""
    if not item_id:
        raise ValueError(f"an id is needed to name one of the {collection}")
    path = f"/v1/{collection}/{quote(item_id, safe='')}"
    return f"{path}/{part}" if part else path


def base_url_of(url: str) -> httpx.URL:
    """The relay's address, checked before anybody waits for it. Raises ValueError with what is wrong."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"the relay's URL {url!r} is none: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"the relay's URL {url!r} must begin with http:// or https:// and name a host")
    if parsed.port is not None and parsed.port > PORT_MAX:
        raise ValueError(f"the relay's URL {url!r} has a port above {PORT_MAX}")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError(
            "the relay's URL is its scheme, host, port and path alone: the API key is an argument of its own"
        )
    return parsed


def headers_for(api_key: str) -> dict[str, str]:
    """What every call says. Raises ValueError for a key that no call could carry."""
    return {
        "authorization": f"Bearer {_fit_for_a_header('the API key', api_key)}",
        "accept": "application/json",
        "user-agent": f"relay-client/{__version__}",
    }


def build(http: httpx.Client | httpx.AsyncClient, ask: Ask, timeout_seconds: float, clock: Clock) -> httpx.Request:
    """
    The request, the same at every try. A POST has an `Idempotency-Key`, so that a try whose answer was lost and the
    try after it make one thing. Raises ValueError for a key of the program's own that no call could carry.
    """
    headers = {}
    if ask.method == "POST":
        key = clock.entropy(KEY_BYTES).hex() if ask.idempotency_key is None else ask.idempotency_key
        headers["idempotency-key"] = _fit_for_a_header("the idempotency key", key)
    query = given(ask.query or {})
    if ask.wait_seconds:
        query["wait"] = int(ask.wait_seconds)
    timeout = httpx.Timeout(timeout_seconds, read=timeout_seconds + ask.wait_seconds)
    return http.build_request(ask.method, ask.path, params=query, json=ask.body, headers=headers, timeout=timeout)


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}


def pause_after_fault(tries: int, clock: Clock) -> float:
    """Seconds until the try after the n-th."""
    return after_faults(tries, BACKOFF_SECONDS, clock.dice(), BACKOFF_SECONDS_MAX)


def pause_after(response: httpx.Response, tries: int, clock: Clock) -> float | None:
    """Seconds until the next try, or None when this answer is the last word."""
    is_in_flight = response.status_code == 409 and _problem(response).get("code") == IN_FLIGHT
    if response.status_code not in WORTH_ANOTHER_TRY and not is_in_flight:
        return None
    asked = _retry_after(response, clock)
    if asked is None:
        return pause_after_fault(tries, clock)
    if asked > RETRY_AFTER_SECONDS_MAX:
        return None
    return asked + BACKOFF_SECONDS * clock.dice()  # those who were sent away together do not come back together


def may_pass(error: httpx.TransportError) -> bool:
    """True when the next try may find the connection better."""
    return not isinstance(error, NEVER_SENT)


def reason_of(error: httpx.TransportError) -> str:
    """What a person is told of it."""
    return next(reason for kind, reason in REASONS if isinstance(error, kind))


def check(ask: Ask, response: httpx.Response, tries: int, clock: Clock) -> None:
    """Raises the ProblemError of an answer that is one."""
    # An earlier try, whose answer was lost, may well be what has removed it.
    is_removed = ask.is_removal and response.status_code == 404 and tries > 1
    if response.status_code < 400 or is_removed:
        return
    told = _problem(response)
    errors = told.get("errors")
    raise ProblemError(
        response.status_code,
        str(told.get("code") or ""),
        str(told.get("detail") or response.reason_phrase or "an answer that does not say why"),
        errors if isinstance(errors, list) else (),
        request_id=response.headers.get("x-request-id"),
        retry_after_seconds=_retry_after(response, clock),
    )


def document_of(response: httpx.Response) -> Any:
    """The JSON object of a success. Raises NotUnderstood when it is none."""
    try:
        told = response.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise NotUnderstood(f"what {response.request.url.host} answers is not the relay's JSON")
    return told


def page_of(document: Any) -> Any:
    """The document, when it is a page of a list. Raises NotUnderstood when it is none."""
    if not isinstance(document.get("data"), list):
        raise NotUnderstood("a list was asked for, and something else came")
    return document


def long_poll_seconds(seconds_left: float) -> int:
    """What to ask for in `?wait=`, so as to be back in time; 0: nothing."""
    return max(0, min(WAIT_SECONDS_MAX, int(seconds_left)))


def _fit_for_a_header(name: str, value: str) -> str:
    """The value; ValueError, which does not show it, when a header cannot hold it."""
    if not value:
        raise ValueError(f"{name} is empty")
    if not FIT_FOR_A_HEADER.fullmatch(value):
        raise ValueError(f"{name} has spaces or a line end around it, or a character that is not printable ASCII")
    return value


def _retry_after(response: httpx.Response, clock: Clock) -> float | None:
    is_refused = response.status_code in (429, 503)
    return retry_after_seconds(response.headers.multi_items(), clock.now(), is_refused=is_refused)


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        told = response.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
