"""A page for each problem, at the address that its `type` names."""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from relay.web.problems import TITLES, not_found
from relay.web.reference.docs import POLICY
from relay.web.reference.meanings import MEANINGS

HEADERS = {"cache-control": "public, max-age=300", "vary": "accept"}


async def show(request: Request) -> Response:
    """HTML for browsers, JSON for who asks for it, plain text for everybody else."""
    code = request.path_params["code"]
    if code not in TITLES:
        raise not_found()
    accepted = request.headers.get("accept", "")
    if "text/html" in accepted:
        return HTMLResponse(_page(code), headers={**HEADERS, "content-security-policy": POLICY})
    meaning = MEANINGS[code]
    if "json" in accepted:
        view = {
            "code": code,
            "title": TITLES[code],
            "statuses": meaning.statuses,
            "meaning": meaning.means,
            "remedy": meaning.remedy,
        }
        return JSONResponse(view, headers=HEADERS)
    return PlainTextResponse(f"{TITLES[code]} ({code})\n\n{meaning.means}\n\n{meaning.remedy}\n", headers=HEADERS)


@cache
def _page(code: str) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((files("relay.web") / "templates" / "problem.html").read_text("utf-8"))
    return template.render(code=code, title=TITLES[code], meaning=MEANINGS[code], titles=TITLES)
