"""Every error as RFC 9457 problem details, so that a client needs to understand one shape alone."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from relay.domain.errors import Conflict, Fault, Forbidden, NotFound, Refused, Unreachable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
FAULTS_MAX = 200  # whoever has more of them has misunderstood more than a list could mend

# Each has a page, which a problem's `type` names.
TITLES: dict[str, str] = {
    "invalid_request": "The request has faults",
    "malformed_body": "The body is not usable JSON",
    "body_too_large": "The body is too large",
    "body_too_slow": "The body did not arrive in time",
    "unsupported_media_type": "The body is in a form that is not accepted here",
    "unauthorized": "A valid API key is needed",
    "forbidden": "The API key lacks a scope",
    "not_found": "There is no such thing",
    "method_not_allowed": "This address does not take that method",
    "precondition_failed": "The object is in another state than If-Match names",
    "changed_meanwhile": "Somebody else changed it at the same time",
    "name_taken": "The name is taken",
    "too_many_secrets": "Too many secrets are alive",
    "subscription_not_active": "The subscription would not be called",
    "subscription_held": "The receiver has asked for no calls for a while",
    "probe_running": "A probe of the subscription is under way",
    "delivery_cancelled": "The delivery was cancelled",
    "in_use": "It is still in use",
    "result_not_ready": "The job has not ended",
    "no_result": "The job has no result",
    "link_not_ready": "The result has no link yet",
    "result_gone": "The result is no more",
    "link_revoked": "The link was taken back",
    "submission_refused": "The provider does not make this job",
    "payment_required": "The provider wants to be paid first",
    "credential_refused": "The provider does not take the credential",
    "rate_limited": "The provider has been asked too often",
    "provider_refused": "The provider gave an answer that is of no use",
    "provider_unavailable": "The provider cannot be asked now",
    "idempotency_key_malformed": "The Idempotency-Key is not usable",
    "idempotency_key_reused": "The Idempotency-Key was used for another request",
    "idempotency_in_flight": "The first request with this Idempotency-Key has not ended",
    "too_many_requests": "The API key calls too often",
    "unavailable": "A part of the relay does not answer",
    "internal_error": "The relay made a mistake",
}

log = structlog.get_logger(__name__)


class Problem(HTTPException):
    """An answer that is an error of the request's form or rights; what the stations refuse is a `Refused`."""

    def __init__(
        self,
        status_code: int,
        code: str,
        detail: str,
        faults: Sequence[Fault] = (),
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status_code, detail, headers)
        self.code = code
        self.faults = tuple(faults)


def not_found() -> Problem:
    """The same for what never was, what is gone, and what is another tenant's."""
    return Problem(404, "not_found", "There is no such object.")


def changed_meanwhile() -> Problem:
    """For a compare-and-set that lost every try."""
    detail = "The object was changed by another request; read it again and retry."
    return Problem(409, "changed_meanwhile", detail, headers={"retry-after": "1"})


def status_of(refusal: Refused) -> int:
    """The status code of a station's refusal."""
    match refusal:
        case NotFound():
            return 404
        case Conflict():
            return 409
        case Forbidden():
            return 403
        case _:
            return 422


def problem_view(request: Request, status_code: int, code: str, detail: str, faults: Sequence[Fault]) -> dict[str, Any]:
    """The problem as the API shows it; `errors` is always there, empty when there is but the one thing."""
    if (more := len(faults) - FAULTS_MAX) > 0:
        faults = [*faults[:FAULTS_MAX], Fault("", f"and {more} more", "more_faults")]
    base = request.app.state.public_url
    return {
        "type": f"{base}/problems/{code}",
        "title": TITLES.get(code) or HTTPStatus(status_code).phrase,
        "status": status_code,
        "detail": detail,
        "instance": request.scope["path"],
        "code": code,
        "request_id": request.state.request_id,
        "errors": [{"pointer": fault.pointer, "detail": fault.detail, "code": fault.code} for fault in faults],
    }


def refusal_view(request: Request, refusal: Refused) -> dict[str, Any]:
    """A station's refusal as a problem, for the places that show one inside a larger answer."""
    return problem_view(request, status_of(refusal), refusal.code, refusal.detail, refusal.faults)


def problem_response(
    request: Request,
    status_code: int,
    code: str,
    detail: str,
    *,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem as a response."""
    view = problem_view(request, status_code, code, detail, faults)
    body = json.dumps(view, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, status_code, dict(headers or {}), MEDIA_TYPE)


async def on_problem(request: Request, error: Exception) -> Response:
    """The answer to a Problem."""
    if not isinstance(error, Problem):
        raise error
    return problem_response(
        request, error.status_code, error.code, error.detail, faults=error.faults, headers=error.headers
    )


async def on_refused(request: Request, error: Exception) -> Response:
    """The answer to a station's refusal."""
    if not isinstance(error, Refused):
        raise error
    return problem_response(request, status_of(error), error.code, error.detail, faults=error.faults)


async def on_unreachable(request: Request, error: Exception) -> Response:
    """503: a part of the relay is away; which one is said, why is not."""
    if not isinstance(error, Unreachable):
        raise error
    log.warning("unavailable", part=error.part, reason=error.reason)
    detail = f"The relay's {error.part} does not answer; nothing was changed that cannot be asked for again."
    return problem_response(request, 503, "unavailable", detail, headers={"retry-after": str(RETRY_AFTER_SECONDS)})


async def on_http_error(request: Request, error: Exception) -> Response:
    """The answer to what Starlette's router refuses: no such route, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    code = codes.get(error.status_code, "invalid_request")
    detail = {
        404: "There is nothing at this address.",
        405: "The address exists, but not for this method; the allow header lists those it takes.",
    }.get(error.status_code, error.detail)
    return problem_response(request, error.status_code, code, detail, headers=error.headers)


HANDLERS: Mapping[Any, Any] = {
    Problem: on_problem,
    Refused: on_refused,
    Unreachable: on_unreachable,
    HTTPException: on_http_error,
}
