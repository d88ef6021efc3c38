"""One look at a provider, by hand: what it answered, what that means, and what the relay would do next."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from relay.clock import Clock
from relay.domain.credential import PROBE_SECONDS, CredentialStatus, judge
from relay.domain.errors import Invalid
from relay.domain.job import EVENT_OF_ENDING, Again, Job, JobStatus, Memo, deadline, step
from relay.domain.observation import Observation, Outcome
from relay.egress import Egress
from relay.providers.check import check_credential, check_job, warnings_of
from relay.providers.definition import Definition
from relay.providers.look import look
from relay.providers.request import Target, look_request

DEADLINE_SECONDS = 86_400.0
TOLD = (Outcome.PENDING, Outcome.COMPLETED, Outcome.FAILED)


def target_of(
    definition: Definition,
    provider_job_id: str,
    secrets: Mapping[str, str],
    params: Mapping[str, str],
    base_url: str | None,
) -> Target:
    """What to look at; `params` are the credential's and the job's together. Raises Invalid with every fault."""
    of_credential = {name: value for name, value in params.items() if name in definition.credential_param_names()}
    of_job = {name: value for name, value in params.items() if name not in of_credential}
    faults = [
        *check_credential(definition, secrets, of_credential, base_url),
        *check_job(definition, provider_job_id, of_job),
    ]
    if faults:
        raise Invalid("invalid_request", f"{definition.name} cannot be asked like this:", faults)
    return Target(definition, base_url, secrets, params, provider_job_id)


class Trial(NamedTuple):
    """What came of a look, in lines for a terminal without a secret in them; `is_told`: how the job is doing."""

    is_told: bool
    lines: list[str]


async def attempt(egress: Egress, target: Target, clock: Clock) -> Trial:
    """One look."""
    now = clock.now()
    request = look_request(target, now)
    observation = await look(egress, target, clock)
    lines = [f"warning: {warning}" for warning in warnings_of(target.definition)]
    lines += [f"asked     {request.method} {request.url}"]
    lines += _observed(observation)
    lines += [f"relay     {line}" for line in _consequences(target, observation, now)]
    return Trial(observation.outcome in TOLD, lines)


def _observed(observation: Observation) -> Iterator[str]:
    status = f" (HTTP {observation.status_code})" if observation.status_code else ""
    word = f", the provider says {observation.provider_status}" if observation.provider_status else ""
    yield f"outcome   {observation.outcome}{status}{word}"
    if observation.detail:
        yield f"detail    {observation.detail}"
    if observation.retry_after_seconds is not None:
        yield f"wait      {observation.retry_after_seconds:g} s, the provider asks"
    for file in observation.result.files if observation.result else ():
        yield f"file      {file.kind} {file.url}" + (
            f" until {file.expires_at:%Y-%m-%d %H:%M} UTC" if file.expires_at else ""
        )
    if observation.error:
        yield f"error     {json.dumps(observation.error.to_json(), ensure_ascii=False)}"
    if observation.sample:
        yield f"answer    {json.dumps(observation.sample, ensure_ascii=False)}"


def _consequences(target: Target, observation: Observation, now: datetime) -> Iterator[str]:
    """What the relay would do with such an answer to the first look at a job."""
    following = step(_job(target, now), Memo(), observation, now, target.definition.pacing())
    verdict = judge(observation, 0, 0.5)
    if isinstance(following, Again):
        if verdict is None:
            yield f"looks again after about {following.delay_seconds:.1f} s"
    else:
        event = EVENT_OF_ENDING[following.job.status]
        yield f"ends the job and sends {event}"
    if verdict is None:
        return
    if verdict.status is CredentialStatus.THROTTLED:
        yield f"asks nothing with this credential for {verdict.hold_seconds:.0f} s"
    else:
        yield f"marks the credential {verdict.status}: a probe every {PROBE_SECONDS:.0f} s until it works again"


def _job(target: Target, now: datetime) -> Job:
    return Job(
        id="job_trial",
        tenant="default",
        provider=target.definition.name,
        credential_id="crd_trial",
        provider_job_id=target.provider_job_id,
        params={},
        metadata={},
        status=JobStatus.PENDING,
        provider_status=None,
        created_at=now,
        started_at=None,
        completed_at=None,
        deadline_at=deadline(now, DEADLINE_SECONDS),
        polls=0,
        result=None,
        error=None,
    )
