"""Jobs: registered one by one or in batches, listed, shown, looked at now, and let go."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from relay.domain.errors import Fault, Invalid, Refused
from relay.domain.ids import is_id
from relay.domain.job import Job, JobStatus
from relay.domain.observation import ErrorCode
from relay.register import JobRequest
from relay.submit import Asked, Declined
from relay.web import waiting
from relay.web.bodies import Unusable
from relay.web.calls import Call, answer, created
from relay.web.checks import Checked, bad_query, check, invalid, metadata_faults, name_faults, pointer
from relay.web.job_views import job_views
from relay.web.pages import open_page, page_of, page_view, whole_view
from relay.web.problems import Problem, not_found, refusal_view
from relay.web.schemas import JobQuery, JobsQuery, NewJob, NewJobs

CREDENTIALS_OF_ONE_NAME_MAX = 50
ITEMS_IN_ONE_GO = 20

# A refusal to make a job: its status, its problem's code, and what of the request it is about.
DECLINED: dict[ErrorCode, tuple[int, str, str]] = {
    "invalid_request": (422, "submission_refused", "/submit"),
    "content_rejected": (422, "submission_refused", "/submit"),
    "not_found": (422, "submission_refused", "/submit"),
    "authentication": (409, "credential_refused", "/credential"),
    "payment_required": (402, "payment_required", "/credential"),
    "rate_limited": (429, "rate_limited", "/credential"),
    "provider_error": (503, "provider_unavailable", "/provider"),
    "timeout": (503, "provider_unavailable", "/provider"),
    "expired": (502, "provider_refused", "/provider"),
    "unknown": (502, "provider_refused", "/provider"),
}


async def create(call: Call) -> Response:
    """201 with the new job, 200 with the one that the credential already tracks, 202 with one that is in doubt."""
    request = await _read(call, check(NewJob, call.document))
    if request.submit is not None:
        return await _submit(call, request)
    (told,) = await call.relay.register.jobs(call.tenant, [request], lambda _: call.new_id)
    if isinstance(told, Refused):
        raise told
    job, is_new = told
    (view,) = await job_views(call.relay, [job], with_deliveries=True)
    view = {**view, "callback": (await _callbacks(call, {job.id: request})).get(job.id)}
    return created(view, "/v1/jobs") if is_new else answer(_known(view, job, request))


async def interrupted(call: Call) -> Response | None:
    """What became of a job that was to be made when the process died; None where nothing is known of it."""
    if call.document.get("submit") is None or call.mark is None:
        return None
    job = await call.relay.submit.interrupted(call.mark)
    return None if job is None else await _asked(call, Asked(job, is_new=True), _request(call, call.document))


async def create_batch(call: Call) -> Response:
    """200 with each item's own status, in order; pointers of an item's problem begin at the item."""
    documents = check(NewJobs, call.document).accepted().jobs
    requests = await _vetted(call, await _read_items(call, documents))
    told = await call.relay.register.jobs(call.tenant, requests, call.ids_of)
    jobs = {one[0].id: one[0] for one in told if not isinstance(one, Refused)}
    callbacks = await _callbacks(
        call,
        {
            one[0].id: asked
            for asked, one in zip(requests, told, strict=True)
            if isinstance(asked, JobRequest) and not isinstance(one, Refused)
        },
    )
    views = {
        view["id"]: {**view, "callback": callbacks.get(view["id"])}
        for view in await job_views(call.relay, list(jobs.values()))
    }
    data = [_item(call, views, asked, one) for asked, one in zip(requests, told, strict=True)]
    return answer({"data": data})


async def index(call: Call) -> Response:
    """A page of jobs."""
    query = call.asked(JobsQuery)
    asked = open_page(call.relay.tokens, query, "job")
    credential = await _credential_id(call, query) if query.credential else None
    if query.credential and credential is None:
        return answer(whole_view([]))
    rows = await call.relay.store.list_jobs(
        call.tenant,
        status=query.status,
        provider=query.provider,
        credential=credential,
        provider_job_id=query.provider_job_id,
        metadata=query.metadata,
        place=asked.place,
        limit=asked.want,
    )
    page = page_of(asked, rows)
    views = await job_views(call.relay, page.rows)
    return answer(page_view(call.relay.tokens, page, views))


async def show(call: Call) -> Response:
    """One job with the summary of its deliveries; with `wait`, as soon as it has ended."""
    job_id, wait_seconds = call.id("job"), call.asked(JobQuery).wait or 0

    async def look() -> Job | None:
        question = ("job", call.tenant, job_id)
        return await call.relay.news.ask_together(question, lambda: call.relay.store.find_job(call.tenant, job_id))

    def is_over(job: Job | None) -> bool:
        return job is None or job.has_ended

    job = await (waiting.until(call.relay, job_id, wait_seconds, look, is_over) if wait_seconds else look())
    if job is None:
        raise not_found()
    # Those who waited together are shown it together.
    (view,) = await call.relay.news.ask_together(
        ("job shown", job.id, job.status), lambda: job_views(call.relay, [job], with_deliveries=True)
    )
    return answer(view)


async def cancel(call: Call) -> Response:
    """The job as it is now: cancelled, or as it had ended before."""
    if "if-match" in call.request.headers:
        seen = await call.relay.store.find_job(call.tenant, call.id("job"))
        if seen is None:
            raise not_found()
        # An ending that comes in between stays; its link is taken back, as of any job that has ended.
        call.check_match((await job_views(call.relay, [seen]))[0])
    job = await call.relay.steer.cancel_job(call.tenant, call.id("job"))
    if job is None:
        raise not_found()
    (view,) = await job_views(call.relay, [job], with_deliveries=True)
    return answer(view)


async def refresh(call: Call) -> Response:
    """202: the look is due now, and a worker makes it."""
    job = await call.relay.steer.refresh_job(call.tenant, call.id("job"))
    if job is None:
        raise not_found()
    (view,) = await job_views(call.relay, [job], with_deliveries=True)
    return answer(view, 202)


async def _submit(call: Call, request: JobRequest) -> Response:
    answer = await call.relay.submit.job(call.tenant, request, call.mark)
    if isinstance(answer, Declined):
        raise _declined(answer)
    return await _asked(call, answer, request)


async def _asked(call: Call, asked: Asked, request: JobRequest) -> Response:
    (view,) = await job_views(call.relay, [asked.job], with_deliveries=True)
    view = {**view, "callback": (await _callbacks(call, {asked.job.id: request})).get(asked.job.id)}
    if asked.job.status is JobStatus.SUBMITTING:
        return answer(view, 202, {"location": f"/v1/jobs/{asked.job.id}"})
    return created(view, "/v1/jobs") if asked.is_new else answer(view)


def _declined(answer: Declined) -> Problem:
    status_code, code, where = DECLINED[answer.code]
    if status_code == 503 and answer.retry_after_seconds is None:
        status_code, code, where = DECLINED["unknown"]
    faults = [Fault(where, answer.detail, answer.provider_code or answer.code)]
    wait_seconds = answer.retry_after_seconds
    headers = None if wait_seconds is None else {"retry-after": str(math.ceil(wait_seconds))}
    return Problem(status_code, code, f"No job was made: {answer.detail}.".replace("..", "."), faults, headers=headers)


async def _callbacks(call: Call, asked: Mapping[str, JobRequest]) -> dict[str, dict[str, Any]]:
    """The one-off subscription of each job that asked for a callback, with its secret: only here is it shown."""
    with_url = {job_id: request.callback_url for job_id, request in asked.items() if request.callback_url}
    if not with_url:
        return {}
    listening = (await call.relay.store.listening({call.tenant}, list(with_url))).get(call.tenant, [])
    return {
        one.job_id: {"subscription": one.id, "url": one.url, "secret": one.secrets[0].secret}
        for one in listening
        if one.job_id is not None and one.url == with_url.get(one.job_id)
    }


async def _read(call: Call, checked: Checked[NewJob]) -> JobRequest:
    request = _request(call, checked.fields)
    faults = metadata_faults(checked.fields.get("metadata"), "/metadata") + _missing(call.document)
    faults += await call.relay.register.faults(call.tenant, request)
    checked.accepted(faults)
    if request.callback_url is not None and (blocked := await name_faults(call.relay, _callback(request))):
        raise invalid(blocked)
    return request


async def _read_items(call: Call, documents: Sequence[Any]) -> list[JobRequest | Refused]:
    """Each item for itself; others who are asking this process get a turn in between."""
    requests = []
    for place, document in enumerate(documents):
        requests.append(await _read_item(call, document))
        if place % ITEMS_IN_ONE_GO == 0:
            await call.relay.clock.sleep(0)
    return requests


async def _read_item(call: Call, document: Any) -> JobRequest | Refused:
    """The item, or everything that is wrong with its form; what a well-formed one asks for is judged all at once."""
    if isinstance(document, Unusable):
        return _refusal(list(document.faults))
    checked = check(NewJob, document)
    request = _request(call, checked.fields)
    faults = checked.faults + metadata_faults(checked.fields.get("metadata"), "/metadata")
    if isinstance(document, dict):
        faults += _missing(document)
    if request.submit is not None:
        faults.append(Fault("/submit", "have a job made by a call of its own: POST /v1/jobs", "not_in_batch"))
    if not faults:
        return request
    return _refusal(faults + await call.relay.register.faults(call.tenant, request))


async def _vetted(call: Call, requests: list[JobRequest | Refused]) -> list[JobRequest | Refused]:
    """The items, refused where a callback's name leads to an address that may not be called."""
    urls = {
        pointer((place,)): one.callback_url
        for place, one in enumerate(requests)
        if isinstance(one, JobRequest)
        and one.callback_url
        and not call.relay.register.check_callback_url(one.callback_url, "")
    }
    blocked = {fault.pointer: fault for fault in await name_faults(call.relay, urls)}
    return [
        _refusal([Fault("/callback/url", fault.detail, fault.code)])
        if (fault := blocked.get(pointer((place,))))
        else one
        for place, one in enumerate(requests)
    ]


def _missing(document: Mapping[str, Any]) -> list[Fault]:
    if document.get("provider_job_id") is not None or document.get("submit") is not None:
        return []
    return [Fault("/provider_job_id", "this field is required, or `submit` to have a job made", "missing")]


def _request(call: Call, fields: Mapping[str, Any]) -> JobRequest:
    callback = fields.get("callback") or {}
    return JobRequest(
        provider=fields.get("provider"),
        provider_job_id=fields.get("provider_job_id"),
        credential=fields.get("credential"),
        params=fields.get("params") or {},
        metadata=fields.get("metadata") or {},
        deadline_seconds=fields.get("deadline_seconds"),
        callback_url=callback.get("url"),
        callback_secret=callback.get("secret"),
        submit=fields.get("submit"),
        trace_id=call.trace_id,
    )


def _callback(request: JobRequest) -> dict[str, str]:
    return {"/callback/url": request.callback_url} if request.callback_url else {}


def _refusal(faults: list[Fault]) -> Invalid:
    return Invalid("invalid_request", "The request has faults; each is named.", faults)


def _item(
    call: Call, views: Mapping[str, dict[str, Any]], asked: JobRequest | Refused, told: tuple[Job, bool] | Refused
) -> dict[str, Any]:
    if isinstance(told, Refused):
        problem = refusal_view(call.request, told)
        return {"status": problem["status"], "problem": problem}
    job, is_new = told
    view = views[job.id]
    if is_new or not isinstance(asked, JobRequest):
        return {"status": 201, "job": view}
    return {"status": 200, "job": _known(view, job, asked)}


def _known(view: Mapping[str, Any], job: Job, request: JobRequest) -> dict[str, Any]:
    """The view of a job that was there before, with a warning for what of the request it has not taken on."""
    unheeded = [
        f"the job is known already, and its {name} stay as they were"
        for name, wanted, has in (
            ("params", request.params, job.params),
            ("metadata", request.metadata, job.metadata),
        )
        if wanted and wanted != has
    ]
    if request.callback_url and view["callback"] is None:
        unheeded.append("the job has ended already, so its callback is not called: what it came to is told here")
    return {**view, "warnings": [*view["warnings"], *unheeded]}


async def _credential_id(call: Call, query: JobsQuery) -> str | None:
    """The id that the filter means, by id or by name; None when there is none of that name."""
    told = query.credential or ""
    if is_id("crd", told):
        return told
    found = await call.relay.store.find_credentials(
        call.tenant, provider=query.provider, name=told, limit=CREDENTIALS_OF_ONE_NAME_MAX
    )
    if len(found) > 1:
        detail = "several providers have a credential of that name; add `provider`, or give the id"
        raise bad_query([Fault("?credential", detail, "ambiguous")])
    return found[0].id if found else None
