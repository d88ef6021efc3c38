"""Templates made into pages that run nothing but the relay's own files, and load nothing from anywhere else."""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from relay.bootstrap import Relay
from relay.web.dashboard import phrases
from relay.web.dashboard.assets import address

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # with none at all, browsers would send our own forms from the origin `null`
    "x-frame-options": "DENY",
}


def page(
    request: Request, template: str, status_code: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> Response:
    """The template as a page; moments in it are seen from now."""
    relay: Relay = request.app.state.relay
    now = relay.clock.now()
    key = getattr(request.state, "key", None)  # of whoever has signed in
    always = {"key": key, "notice": None, "path": request.url.path, "ago": partial(phrases.distance, now=now)}
    text = _environment().get_template(template).render(now=now, **{**always, **context})
    return HTMLResponse(text, status_code, {**HEADERS, **(headers or {})})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("relay.web", "templates/dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = address
    environment.filters.update(
        length=phrases.length, clock_time=phrases.clock_time, short=phrases.short, phases=phrases.phases
    )
    return environment
