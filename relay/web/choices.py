"""What there is to choose from: providers, and types of events."""

import structlog
from starlette.responses import Response

from relay.bootstrap import Relay
from relay.domain.errors import Unreachable
from relay.domain.moments import from_ms, rfc3339
from relay.domain.pacing import learned_view
from relay.domain.subscription import EVENT_TYPES, JOB_EVENTS
from relay.providers.definition import Definition
from relay.web.calls import Call, answer
from relay.web.pages import whole_view
from relay.web.problems import not_found

log = structlog.get_logger(__name__)

EVENT_DESCRIPTIONS = {
    "job.completed": "The provider finished the job; its result is in the event.",
    "job.failed": "The provider gave the job up, or does not know it.",
    "job.expired": "The relay's deadline passed without a terminal answer from the provider.",
    "webhook.test": "Sent on request to one subscription; nothing happened.",
    "credential.paused": "The provider no longer accepts a credential, and its jobs are looked at again once it is "
    "changed; or, where `polling` continues, it has ended a job for want of money.",
    "credential.resumed": "A paused credential works again.",
    "subscription.disabled": "A receiver failed for too long, or asked to be left alone.",
    "delivery.exhausted": "Every attempt of one delivery failed.",
}


async def list_providers(call: Call) -> Response:
    """All providers on one page: they are few."""
    return answer(whole_view([_provider_view(one) for one in call.relay.catalog]))


async def show_provider(call: Call) -> Response:
    """One provider, by name, with what was learned of how long its jobs take and which of its words nobody knows."""
    definition = call.relay.catalog.get(call.request.path_params["name"])
    if definition is None:
        raise not_found()
    durations = await call.relay.store.durations(definition.name)
    looks = await call.relay.store.looks_per_job(definition.name)
    learned = [learned_view(told, looks.get(kind, 1.0), kind) for (_, kind), told in sorted(durations.items())]
    words = await _unknown_words(call.relay, definition.name)
    return answer({**_provider_view(definition), "learned": learned, "unknown_words": words})


async def list_event_types(_call: Call) -> Response:
    """All types of events; `is_default` marks those that a subscription gets unless it says otherwise."""
    data = [
        {
            "object": "event_type",
            "name": name,
            "description": EVENT_DESCRIPTIONS[name],
            "is_default": name in JOB_EVENTS,
        }
        for name in EVENT_TYPES
    ]
    return answer(whole_view(data))


async def _unknown_words(relay: Relay, provider: str) -> list[dict[str, object]] | None:
    """Without the samples: what is in them belongs to the tenant whose job it was."""
    try:
        words = await relay.noticeboard.unknown_words(provider)
    except Unreachable as error:  # the rest is the definition's and the database's, and is good without Redis
        log.warning("unknown_words_not_known", reason=str(error))
        return None
    return [{"word": one.word, "count": one.count, "last_seen_at": rfc3339(from_ms(one.last_seen_ms))} for one in words]


def _provider_view(definition: Definition) -> dict[str, object]:
    return {"object": "provider", **definition.describe()}
