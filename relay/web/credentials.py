"""Credentials: accounts at providers, whose secrets go in and never come out."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, TypeVar

from starlette.responses import Response

from relay.domain.credential import Credential, CredentialStatus, credential_view
from relay.domain.errors import Fault
from relay.domain.moments import next_version
from relay.web.calls import Call, answer, created
from relay.web.checks import Checked, check, invalid, name_faults
from relay.web.pages import open_page, page_of, page_view
from relay.web.patches import merged, null_faults, tries
from relay.web.problems import Problem, changed_meanwhile, not_found
from relay.web.schemas import ChangedCredential, CredentialsQuery, NewCredential

RESUMING_FIELDS = ("secrets", "params", "base_url")

B = TypeVar("B", bound=NewCredential)


async def create(call: Call) -> Response:
    """201, without the secrets' values."""
    body = await _accepted(call, check(NewCredential, call.document), call.document)
    now = call.relay.clock.now()
    credential = Credential(
        id=call.new_id("crd"),
        tenant=call.tenant,
        name=body.name,
        provider=body.provider,
        secrets=body.secrets,
        params=body.params or {},
        base_url=body.base_url,
        max_requests_per_second=body.max_requests_per_second,
        max_concurrency=body.max_concurrency,
        status=CredentialStatus.ACTIVE,
        status_reason=None,
        throttled_until=None,
        created_at=now,
        updated_at=now,
    )
    made = await call.relay.steer.add_credential(credential)
    if made is None:
        fault = Fault("/name", "another credential of this provider has that name", "name_taken")
        raise Problem(409, "name_taken", "The credential's name is taken for this provider.", [fault])
    return created(credential_view(made), "/v1/credentials")


async def index(call: Call) -> Response:
    """A page of credentials."""
    query = call.asked(CredentialsQuery)
    asked = open_page(call.relay.tokens, query, "crd")
    rows = await call.relay.store.find_credentials(
        call.tenant,
        provider=query.provider,
        name=query.name,
        status=query.status,
        place=asked.place,
        limit=asked.want,
    )
    page = page_of(asked, rows)
    views = [credential_view(one) for one in page.rows]
    return answer(page_view(call.relay.tokens, page, views))


async def show(call: Call) -> Response:
    """One credential."""
    return answer(credential_view(await _found(call)))


async def change(call: Call) -> Response:
    """The credential after the merge patch; new secrets, params or address make it active again."""
    resumes = call.document.get("status") == "active" or any(name in call.document for name in RESUMING_FIELDS)
    async for _ in tries(call.relay.clock):
        before = await _found(call)
        call.check_match(credential_view(before))
        after = await _patched(call, before)
        if after == before and not resumes:
            return answer(credential_view(before))
        after = replace(after, updated_at=next_version(before.updated_at, call.relay.clock.now()))
        if await call.relay.steer.change_credential(before, after, resumes=resumes):
            return answer(credential_view(await _found(call)))
    raise changed_meanwhile()


async def remove(call: Call) -> Response:
    """204; 409 while pending jobs need it."""
    as_of = None
    if "if-match" in call.request.headers:
        seen = await _found(call)
        call.check_match(credential_view(seen))
        as_of = seen.updated_at
    match await call.relay.steer.remove_credential(call.tenant, call.id("crd"), as_of):
        case "absent":
            raise not_found()
        case "changed":
            call.check_match(credential_view(await _found(call)))
            raise changed_meanwhile()
        case "in_use":
            detail = "Pending jobs are watched with this credential; cancel them, or wait for their end."
            raise Problem(409, "in_use", detail)
        case "removed":
            return Response(status_code=204)


async def _found(call: Call) -> Credential:
    credential = await call.relay.store.find_credential(call.tenant, call.id("crd"))
    if credential is None:
        raise not_found()
    return credential


async def _patched(call: Call, before: Credential) -> Credential:
    checked = check(ChangedCredential, merged(_patchable(before), call.document))
    checked.faults.extend([*null_faults(ChangedCredential, call.document), *_provider_faults(call, before)])
    body = await _accepted(call, checked, call.document)
    return replace(
        before,
        name=body.name,
        secrets=body.secrets,
        params=body.params or {},
        base_url=body.base_url,
        max_requests_per_second=body.max_requests_per_second,
        max_concurrency=body.max_concurrency,
    )


def _provider_faults(call: Call, before: Credential) -> list[Fault]:
    if call.document.get("provider", before.provider) == before.provider:
        return []
    return [Fault("/provider", "this cannot be changed; make another credential", "not_changeable")]


def _patchable(credential: Credential) -> dict[str, Any]:
    return {
        "name": credential.name,
        "provider": credential.provider,
        "secrets": credential.secrets,
        "params": credential.params,
        "base_url": credential.base_url,
        "max_requests_per_second": credential.max_requests_per_second,
        "max_concurrency": credential.max_concurrency,
    }


async def _accepted(call: Call, checked: Checked[B], told: Collection[str]) -> B:
    """The body; Problem 422 with the faults of its shape, and with those of what was `told` as the provider sees it."""
    fields = checked.fields
    base_url = fields.get("base_url") if "base_url" in told else None
    faults: list[Fault] = []
    if "provider" in fields and "secrets" in fields and any(name in told for name in RESUMING_FIELDS):
        faults = call.relay.register.check_credential(
            fields["provider"], fields["secrets"], fields.get("params") or {}, base_url
        )
    body = checked.accepted(faults)
    if base_url is not None and (blocked := await name_faults(call.relay, {"/base_url": base_url})):
        raise invalid(blocked)
    return body
