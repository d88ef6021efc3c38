"""Where a job's files are now: a redirect for who holds a key, and for who holds the link that an event carried."""

import math
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.job import Job
from relay.result import NotLocated, Reason
from relay.web.calls import Call
from relay.web.checks import check_query
from relay.web.problems import Problem, not_found
from relay.web.schemas import ResultQuery

# A link is good for a moment and for whoever asked: nobody may keep it, nor tell the provider where it was found.
PRIVATE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}

PROBLEMS: dict[Reason, tuple[int, str]] = {
    "absent": (404, "not_found"),
    "not_ended": (409, "result_not_ready"),
    "without_result": (409, "no_result"),
    "not_yet": (503, "link_not_ready"),
    "gone": (410, "result_gone"),
    "refused": (502, "provider_refused"),
    "unavailable": (503, "provider_unavailable"),
}


async def show(call: Call) -> Response:
    """302 to where the file is at present."""
    job = await call.relay.store.find_job(call.tenant, call.id("job"))
    if job is None:
        raise not_found()
    return await _redirect(call.relay, job, call.asked(ResultQuery).file, has_key=True)


async def follow(request: Request) -> Response:
    """The same without a key, for the token in the path; what it says of the provider is less."""
    relay: Relay = request.app.state.relay
    # Links are passed on, and mail programs and the like add parameters of their own.
    ours = [(name, value) for name, value in request.query_params.multi_items() if name in ResultQuery.model_fields]
    query = check_query(ResultQuery, ours)
    job_id = relay.tokens.job_of(request.path_params["token"])
    job = (await relay.store.load_jobs([job_id])).get(job_id) if job_id else None
    if job is None:
        raise not_found()
    if job.link_revoked_at is not None:
        raise Problem(410, "link_revoked", "This link was taken back by whoever had the job watched.", headers=PRIVATE)
    return await _redirect(relay, job, query.file, has_key=False)


async def _redirect(relay: Relay, job: Job, place: int, *, has_key: bool) -> Response:
    found = await relay.results.locate(job, place)
    if isinstance(found, NotLocated):
        raise _problem(found, has_key=has_key)
    # Its bytes are signed, most likely: only what a header cannot hold is written otherwise.
    location = "".join(letter if letter.isascii() else quote(letter) for letter in found.url)
    return Response(status_code=302, headers={"location": location, **PRIVATE})


def _problem(refusal: NotLocated, *, has_key: bool) -> Problem:
    status_code, code = PROBLEMS[refusal.reason]
    headers = dict(PRIVATE)
    if refusal.retry_after_seconds is not None:
        headers["retry-after"] = str(math.ceil(refusal.retry_after_seconds))
    detail = f"{refusal.detail} ({refusal.cause})" if has_key and refusal.cause else refusal.detail
    return Problem(status_code, code, detail, headers=headers)
