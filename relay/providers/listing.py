"""Many jobs in one request, where a provider has a list: the answer taken apart into one Observation for each."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from relay.clock import Clock
from relay.domain.observation import Observation
from relay.egress import Sends, Unanswered
from relay.providers.answer import Answer, read_answer
from relay.providers.check import ID_CHARACTERS_MAX
from relay.providers.classify import judge
from relay.providers.definition import Definition, ListCall
from relay.providers.look import scrubbed, unanswered
from relay.providers.mapping import word_of
from relay.providers.request import Target, list_request

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ListPage:
    """
    One page: an Observation for each job on it, by the provider's id. A job that is not on it has not been looked
    at, which says nothing about it. `problem` is what was observed instead of a list.
    """

    observations: dict[str, Observation]
    is_last: bool
    next_offset: int
    problem: Observation | None = None


async def list_page(
    egress: Sends, target: Target, clock: Clock, *, offset: int = 0, since: datetime | None = None
) -> ListPage:
    """One page of the credential's jobs. Raises LookupError when the provider has no list."""
    definition = target.definition
    call = definition.listing
    if call is None:
        raise LookupError(f"{definition.name} has no list of jobs")
    answered = await egress.send(list_request(target, call, offset, since, clock.now()))
    if isinstance(answered, Unanswered):
        return ListPage({}, is_last=True, next_offset=offset, problem=unanswered(answered))
    body = scrubbed(answered.body, target)
    return classify_list(
        definition,
        answered.status_code,
        answered.headers,
        body,
        clock.now(),
        offset=offset,
        is_truncated=answered.is_truncated,
    )


def classify_list(
    definition: Definition,
    status_code: int,
    headers: Headers,
    body: bytes,
    now: datetime,
    *,
    offset: int = 0,
    is_truncated: bool = False,
) -> ListPage:
    """What a list's answer says of each job; pure. Raises LookupError when the provider has no list."""
    call = definition.listing
    if call is None:
        raise LookupError(f"{definition.name} has no list of jobs")
    answer = read_answer(status_code, headers, body, is_truncated=is_truncated)
    document = answer.document()
    items = call.items.search(document) if answer.is_json and 200 <= status_code < 300 else None
    if not isinstance(items, list):
        return ListPage({}, is_last=True, next_offset=offset, problem=judge(definition, answer, now))
    observations: dict[str, Observation] = {}
    for item in items:
        provider_job_id = word_of(call.id.search(item), ID_CHARACTERS_MAX)
        if provider_job_id is not None:
            observations.setdefault(provider_job_id, _observed(definition, call, answer, item, now))
    next_offset = offset + len(items)
    return ListPage(observations, _is_last(call, document, len(items), next_offset), next_offset)


def _observed(definition: Definition, call: ListCall, answer: Answer, item: Any, now: datetime) -> Observation:
    rewritten = call.answer.search(item)
    return judge(definition, replace(answer, body=rewritten, text=_written(item)), now)


def _written(item: Any) -> bytes:
    """The element as JSON, should nobody understand it."""
    try:
        return json.dumps(item, separators=(",", ":")).encode()
    except RecursionError:
        return b""


def _is_last(call: ListCall, document: dict[str, Any], items: int, next_offset: int) -> bool:
    """By the total where there is one; else an empty page: who was asked for more than it gives cuts every page."""
    total = call.total.search(document) if call.total else None
    return items == 0 or (isinstance(total, int) and next_offset >= total)
