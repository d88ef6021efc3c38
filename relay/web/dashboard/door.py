"""Signing in with an API key, and out again."""

import re
from urllib.parse import parse_qs

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.bootstrap import Relay
from relay.domain.errors import Unreachable
from relay.web.access import admit
from relay.web.bodies import read_body
from relay.web.dashboard import session
from relay.web.dashboard.visit import refusal, sign_in_page
from relay.web.problems import Problem

FORM_BYTES_MAX = 4096
WAY = re.compile(r"/(dashboard/[a-z]+(/[a-z0-9_]+)?)?")

log = structlog.get_logger(__name__)


async def sign_in(request: Request) -> Response:
    """303 to the page that was wanted, with the cookie; 401 or 403, with the form, for a key that will not do."""
    relay: Relay = request.app.state.relay
    try:
        session.check_origin(request)
        form = _form(await read_body(request, FORM_BYTES_MAX))
    except Problem as error:
        return refusal(request, error)
    way = form.get("way", "")
    if not WAY.fullmatch(way):  # nobody is led elsewhere by a form that somebody else has filled in
        way = "/"
    try:
        key = await admit(relay, f"Bearer {form.get('key', '')}", "read")
    except Problem as error:
        wrong = "Enter an API key." if not form.get("key", "").strip() else error.detail
        return sign_in_page(request, error.status_code, way, wrong)
    except Unreachable as error:
        return refusal(request, error)
    log.info("signed_in", key_id=key.id, tenant=key.tenant)
    response = RedirectResponse(way, 303)
    session.begin(relay, key, response)
    return response


async def sign_out(request: Request) -> Response:
    """303 to the way in, without the cookie."""
    try:
        session.check_origin(request)
    except Problem as error:
        return refusal(request, error)
    response = RedirectResponse("/", 303)
    session.end(request.app.state.relay, response)
    return response


def _form(body: bytes) -> dict[str, str]:
    told = parse_qs(body.decode("utf-8", "replace"))
    return {name: values[-1] for name, values in told.items()}
