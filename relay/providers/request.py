"""From a definition and a job to the requests that ask its provider, signed in and with every value in its place."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from relay.domain.credential import Credential
from relay.domain.job import Job
from relay.egress import Outgoing
from relay.providers.auth import filled, signed_in
from relay.providers.definition import Call, Definition, Fetch, ListCall, SubmitCall
from relay.providers.template import in_path, in_query

LOOK_TIMEOUT_SECONDS = 10.0
LOOK_BYTES_MAX = 1_048_576
LIST_TIMEOUT_SECONDS = 20.0
LIST_BYTES_MAX = 4_194_304  # a hundred looks in one answer
SUBMIT_TIMEOUT_SECONDS = 30.0
SUBMIT_BYTES_MAX = 1_048_576


@dataclass(frozen=True, slots=True)
class Target:
    """
    What to look at, and with what. `params` are the credential's and the job's together; `base_url` (None: the
    definition's own) replaces scheme and host, a path in it stays in front.
    """

    definition: Definition
    base_url: str | None
    secrets: Mapping[str, str] = field(repr=False)
    params: Mapping[str, str]
    provider_job_id: str = ""


def target_for(definition: Definition, credential: Credential, job: Job) -> Target:
    """The job as its credential sees it."""
    return Target(
        definition=definition,
        base_url=credential.base_url,
        secrets=credential.secrets,
        params={**credential.params, **job.params},
        provider_job_id=job.provider_job_id or "",
    )


def look_request(target: Target, now: datetime) -> Outgoing:
    """One look. Raises LookupError or ValueError for a target that `relay.providers.check` would have refused."""
    values = {"provider_job_id": target.provider_job_id}
    return _request(
        target, target.definition.look, values, now, timeout_seconds=LOOK_TIMEOUT_SECONDS, body_bytes_max=LOOK_BYTES_MAX
    )


def fetch_request(target: Target, call: Fetch, result_id: str, now: datetime) -> Outgoing:
    """The second step of a completed job."""
    values = {"provider_job_id": target.provider_job_id, "result_id": result_id}
    return _request(target, call, values, now, timeout_seconds=LOOK_TIMEOUT_SECONDS, body_bytes_max=LOOK_BYTES_MAX)


def list_request(target: Target, call: ListCall, offset: int, since: datetime | None, now: datetime) -> Outgoing:
    """A page of the credential's jobs from `offset` on; created at or after `since`, where the call can say so."""
    values = {"limit": str(call.page_size), "offset": str(offset)}
    if since is not None:
        values["since"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _request(target, call, values, now, timeout_seconds=LIST_TIMEOUT_SECONDS, body_bytes_max=LIST_BYTES_MAX)


def submit_request(target: Target, call: SubmitCall, content: Mapping[str, Any], now: datetime) -> Outgoing:
    """Creates a job from `content`, the provider's own create body; sent twice, it would create two."""
    return _request(
        target,
        call,
        {},
        now,
        timeout_seconds=SUBMIT_TIMEOUT_SECONDS,
        body_bytes_max=SUBMIT_BYTES_MAX,
        body=json.dumps(content, separators=(",", ":"), allow_nan=False).encode(),
        is_repeatable=False,
    )


def _request(
    target: Target,
    call: Call,
    known: Mapping[str, str],
    now: datetime,
    *,
    timeout_seconds: float,
    body_bytes_max: int,
    body: bytes = b"",
    is_repeatable: bool = True,
) -> Outgoing:
    definition = target.definition
    params = definition.complete_params(target.params)
    values = {**params, **known}
    headers = {"Accept": "application/json", **filled(call.headers, values)}
    if body:
        headers["Content-Type"] = "application/json"
    request = Outgoing(
        method=call.method,
        url=_url(target, call, values),
        headers=headers,
        body=body,
        timeout_seconds=timeout_seconds,
        body_bytes_max=body_bytes_max,
        is_repeatable=is_repeatable,
    )
    return signed_in(definition, target.secrets, params, request, now)


def _url(target: Target, call: Call, values: Mapping[str, str]) -> str:
    base = (target.base_url or target.definition.base_url).rstrip("/")
    try:
        path = call.path.fill(values, in_path)
    except KeyError as error:
        raise LookupError(f"{target.definition.name}: {error.args[0]!r} has no value") from None
    entries = [
        f"{quote(name, safe='')}={template.fill(values, in_query)}"
        for name, template in call.query.items()
        if all(values.get(place) for place in template.names)
    ]
    return f"{base}{path}" + (f"?{'&'.join(entries)}" if entries else "")
