"""Subscriptions: made, shown, changed, paused and released, their secrets shown and rotated, a test sent."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from relay.domain.delivery import delivery_view
from relay.domain.errors import Fault
from relay.domain.moments import next_version, rfc3339
from relay.domain.subscription import (
    JOB_EVENTS,
    MAX_IN_FLIGHT_DEFAULT,
    OVERLAP_SECONDS_DEFAULT,
    Filter,
    SigningKey,
    SigningSecret,
    Subscription,
    SubscriptionStatus,
    subscription_view,
)
from relay.web.calls import Call, answer, created
from relay.web.checks import (
    check,
    event_type_faults,
    header_faults,
    invalid,
    metadata_faults,
    provider_faults,
    secret_faults,
    url_faults,
)
from relay.web.pages import open_page, page_of, page_view
from relay.web.patches import merged, null_faults, tries
from relay.web.problems import changed_meanwhile, not_found
from relay.web.schemas import (
    ChangedSubscription,
    NewSubscription,
    Rotation,
    SubscriptionBody,
    SubscriptionsQuery,
)
from relay.webhooks.handshake import Denied
from relay.webhooks.signing import new_secret

SECRET_BYTES = 32
DISABLED_BY_HAND = "disabled by its owner"


async def create(call: Call) -> Response:
    """201, with the secret."""
    checked = check(NewSubscription, call.document)
    faults = await _faults(call, checked.fields, checked.fields)
    body = checked.accepted(faults + secret_faults(checked.fields.get("secret"), "/secret"))
    now = call.relay.clock.now()
    secret = body.secret or new_secret(call.relay.clock.entropy(SECRET_BYTES))
    subscription = Subscription(
        id=call.new_id("sub"),
        tenant=call.tenant,
        **_decided(body),
        secrets=(SigningSecret(secret, now, None),),
        signing_keys=_keys(call, body, ()),
        status=SubscriptionStatus.ACTIVE,
        disabled_reason=None,
        job_id=None,
        failing_since=None,
        last_success_at=None,
        hold_until=None,
        created_at=now,
        updated_at=now,
    )
    subscription = await _agreed(call, subscription, None)
    subscription = await call.relay.steer.add_subscription(subscription)
    return created(subscription_view(subscription, subscription.secrets[0].secret), "/v1/subscriptions")


async def index(call: Call) -> Response:
    """A page of subscriptions; the one-off ones of single jobs are not among them."""
    query = call.asked(SubscriptionsQuery)
    asked = open_page(call.relay.tokens, query, "sub")
    rows = await call.relay.store.list_subscriptions(
        call.tenant, status=query.status, place=asked.place, limit=asked.want
    )
    page = page_of(asked, rows)
    views = [subscription_view(one) for one in page.rows]
    return answer(page_view(call.relay.tokens, page, views))


async def show(call: Call) -> Response:
    """One subscription, without its secret."""
    return answer(subscription_view(await _found(call)))


async def change(call: Call) -> Response:
    """The subscription after the merge patch."""
    async for _ in tries(call.relay.clock):
        before = await _found(call)
        call.check_match(subscription_view(before))
        after = await _patched(call, before)
        if after == before:
            return answer(subscription_view(before))
        after = replace(after, updated_at=next_version(before.updated_at, call.relay.clock.now()))
        if await call.relay.steer.change_subscription(before, after):
            return answer(subscription_view(await _found(call)))
    raise changed_meanwhile()


async def remove(call: Call) -> Response:
    """204; what waited for it is cancelled."""
    as_of = None
    if "if-match" in call.request.headers:
        seen = await _found(call)
        call.check_match(subscription_view(seen))
        as_of = seen.updated_at
    if await call.relay.steer.remove_subscription(call.tenant, call.id("sub"), as_of):
        return Response(status_code=204)
    call.check_match(subscription_view(await _found(call)))
    raise not_found()


async def show_secret(call: Call) -> Response:
    """Every secret that signs at present, newest first."""
    return answer(_secrets_view(await _found(call), call))


async def rotate_secret(call: Call) -> Response:
    """201: the new secret, and those that sign on beside it."""
    checked = check(Rotation, call.document)
    body = checked.accepted(secret_faults(checked.fields.get("secret"), "/secret"))
    overlap = OVERLAP_SECONDS_DEFAULT if body.overlap_seconds is None else body.overlap_seconds
    rotated = await call.relay.steer.rotate(await _found(call), body.secret, overlap)
    return answer(_secrets_view(rotated, call), 201)


async def send_test(call: Call) -> Response:
    """202: a signed `webhook.test` is on its way; the delivery tells how it went."""
    delivery = await call.relay.steer.send_test(await _found(call), call.new_id)
    return answer(delivery_view(delivery), 202, {"location": f"/v1/deliveries/{delivery.id}"})


async def activate(call: Call) -> Response:
    """The subscription, active again; what was held for it is released."""
    subscription = await call.relay.steer.activate(call.tenant, call.id("sub"))
    if subscription is None:
        raise not_found()
    return answer(subscription_view(subscription))


async def _found(call: Call) -> Subscription:
    subscription = await call.relay.store.find_subscription(call.tenant, call.id("sub"))
    if subscription is None:
        raise not_found()
    return subscription


async def _patched(call: Call, before: Subscription) -> Subscription:
    checked = check(ChangedSubscription, merged(_patchable(before), call.document))
    faults = [*null_faults(ChangedSubscription, call.document), *await _faults(call, checked.fields, call.document)]
    has_reason = bool(call.document.get("disabled_reason"))
    has_no_reason = "disabled_reason" in call.document and not has_reason
    if has_reason and checked.fields.get("status") not in (None, "disabled"):
        faults.append(Fault("/disabled_reason", "only a disabled subscription has one", "invalid_value"))
    body = checked.accepted(faults)
    status = SubscriptionStatus(body.status)
    after = replace(
        before,
        **_decided(body),
        signing_keys=_keys(call, body, before.signing_keys),
        status=status,
        disabled_reason=_reason(None if has_no_reason else before, body, status),
    )
    return await _agreed(call, after, before)


def _keys(call: Call, body: SubscriptionBody, present: tuple[SigningKey, ...]) -> tuple[SigningKey, ...]:
    """Those that are there already, a first one, or none any more."""
    if "v1a" not in (body.signatures or ()):
        return ()
    return present or (call.relay.steer.new_key(),)


async def _agreed(call: Call, subscription: Subscription, before: Subscription | None) -> Subscription:
    """With what the receiver grants, who is asked once for each URL; Problem 422 when it does not want the calls."""
    if not subscription.wants_handshake:
        return replace(subscription, requests_per_minute=None)
    if before is not None and before.wants_handshake and before.url == subscription.url:
        return subscription
    said = await call.relay.handshake.ask(subscription.url, subscription.headers)
    if isinstance(said, Denied):
        raise invalid([Fault("/url", said.reason, "handshake_refused")])
    return replace(subscription, requests_per_minute=said.requests_per_minute)


def _reason(before: Subscription | None, body: ChangedSubscription, status: SubscriptionStatus) -> str | None:
    if status is not SubscriptionStatus.DISABLED:
        return None
    kept = before.disabled_reason if before is not None and before.status is status else None
    return body.disabled_reason or kept or DISABLED_BY_HAND


def _patchable(subscription: Subscription) -> dict[str, Any]:
    return {
        "url": subscription.url,
        "event_types": list(subscription.event_types),
        "filter": subscription.filter.to_json(),
        "description": subscription.description,
        "metadata": subscription.metadata,
        "headers": subscription.headers,
        "payload": subscription.payload,
        "signatures": list(subscription.signatures),
        "handshake": subscription.wants_handshake,
        "max_in_flight": subscription.max_in_flight,
        "status": str(subscription.status),
        "disabled_reason": subscription.disabled_reason,
    }


async def _faults(call: Call, fields: Mapping[str, Any], told: Mapping[str, Any]) -> list[Fault]:
    """The faults of `fields` beyond their shape, of those only that the caller has `told`."""
    wanted = fields.get("filter") or {}
    checks: dict[str, Callable[[], list[Fault]]] = {
        "event_types": lambda: event_type_faults(fields.get("event_types"), "/event_types"),
        "filter": lambda: [
            *provider_faults(call.relay, wanted.get("providers"), "/filter/providers"),
            *metadata_faults(wanted.get("metadata"), "/filter/metadata"),
        ],
        "metadata": lambda: metadata_faults(fields.get("metadata"), "/metadata"),
        "headers": lambda: header_faults(fields.get("headers"), "/headers"),
    }
    faults = await url_faults(call.relay, fields.get("url"), "/url") if "url" in told else []
    return faults + [fault for name, find in checks.items() if name in told for fault in find()]


def _decided(body: SubscriptionBody) -> dict[str, Any]:
    """The part of a subscription that its owner decides; null is the default."""
    return {
        "url": body.url,
        "event_types": tuple(dict.fromkeys(JOB_EVENTS if body.event_types is None else body.event_types)),
        "filter": Filter.parse(body.filter.model_dump() if body.filter else None),
        "description": body.description,
        "metadata": body.metadata or {},
        "headers": body.headers or {},
        "payload": body.payload or "full",
        "wants_handshake": bool(body.handshake),
        "max_in_flight": body.max_in_flight or MAX_IN_FLIGHT_DEFAULT,
    }


def _secrets_view(subscription: Subscription, call: Call) -> dict[str, Any]:
    now = call.relay.clock.now()
    living = [one for one in subscription.secrets if one.expires_at is None or one.expires_at > now]
    return {
        "object": "secret",
        "subscription": subscription.id,
        "secret": living[0].secret if living else None,
        "secrets": [
            {
                "secret": one.secret,
                "created_at": rfc3339(one.created_at),
                "expires_at": rfc3339(one.expires_at),
            }
            for one in living
        ],
    }
