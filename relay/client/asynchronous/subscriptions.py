"""Who is told of events, and what became of the telling."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from relay.client import calls
from relay.client.asynchronous.caller import Caller
from relay.client.calls import Ask, at, given
from relay.client.shapes import (
    CreatedSubscription,
    Delivery,
    DeliveryStatus,
    PayloadForm,
    Probe,
    Recovery,
    Secrets,
    SignatureForm,
    Subscription,
    SubscriptionStatus,
)


class Subscriptions:
    """`/v1/subscriptions`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def create(
        self,
        url: str,
        *,
        event_types: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  the API's word
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        payload: PayloadForm | None = None,
        signatures: Sequence[SignatureForm] | None = None,
        handshake: bool | None = None,
        secret: str | None = None,
        max_in_flight: int | None = None,
        idempotency_key: str | None = None,
    ) -> CreatedSubscription:
        """The subscription with its signing secret."""
        fields = {
            "url": url,
            "event_types": event_types,
            "filter": filter,
            "description": description,
            "metadata": metadata,
            "headers": headers,
            "payload": payload,
            "signatures": signatures,
            "handshake": handshake,
            "secret": secret,
            "max_in_flight": max_in_flight,
        }
        made: CreatedSubscription = await self._caller.document(
            Ask("POST", "/v1/subscriptions", body=given(fields), idempotency_key=idempotency_key)
        )
        return made

    def list(
        self, *, status: SubscriptionStatus | None = None, page_size: int = calls.PAGE_LIMIT
    ) -> AsyncIterator[Subscription]:
        """All subscriptions, newest first."""
        return self._caller.items("/v1/subscriptions", {"status": status}, page_size)

    async def get(self, subscription_id: str) -> Subscription:
        """The subscription."""
        shown: Subscription = await self._caller.document(Ask("GET", at("subscriptions", subscription_id)))
        return shown

    async def change(self, subscription_id: str, changes: Mapping[str, Any]) -> Subscription:
        """The subscription after the merge patch (RFC 7396): None takes a value back to its default."""
        changed: Subscription = await self._caller.document(
            Ask("PATCH", at("subscriptions", subscription_id), body=changes)
        )
        return changed

    async def remove(self, subscription_id: str) -> None:
        """Ends the subscription."""
        await self._caller.call(Ask("DELETE", at("subscriptions", subscription_id), is_removal=True))

    async def secret(self, subscription_id: str) -> Secrets:
        """The secrets that sign at present."""
        shown: Secrets = await self._caller.document(Ask("GET", at("subscriptions", subscription_id, "secret")))
        return shown

    async def rotate_secret(
        self, subscription_id: str, *, secret: str | None = None, overlap_seconds: int | None = None
    ) -> Secrets:
        """The new secret, and those that sign on beside it for `overlap_seconds` (a day)."""
        path = at("subscriptions", subscription_id, "secret/rotation")
        body = given({"secret": secret, "overlap_seconds": overlap_seconds})
        rotated: Secrets = await self._caller.document(Ask("POST", path, body=body))
        return rotated

    async def test(self, subscription_id: str) -> Delivery:
        """The delivery of a signed `webhook.test`."""
        sent: Delivery = await self._caller.document(Ask("POST", at("subscriptions", subscription_id, "test")))
        return sent

    async def activate(self, subscription_id: str) -> Subscription:
        """The subscription, active; its held deliveries are released."""
        shown: Subscription = await self._caller.document(
            Ask("POST", at("subscriptions", subscription_id, "activation"))
        )
        return shown

    async def probe(self, subscription_id: str) -> Probe:
        """What the receiver made of a good call, a duplicate, a forged, a stale and a stranger's one."""
        found: Probe = await self._caller.document(Ask("POST", at("subscriptions", subscription_id, "probe")))
        return found

    async def recover(self, subscription_id: str, since: str, *, until: str | None = None) -> Recovery:
        """Has everything sent again that never succeeded since then (RFC 3339); the workers take it up."""
        path, body = at("subscriptions", subscription_id, "recovery"), given({"since": since, "until": until})
        begun: Recovery = await self._caller.document(Ask("POST", path, body=body))
        return begun

    def recoveries(self, subscription_id: str, *, page_size: int = calls.PAGE_LIMIT) -> AsyncIterator[Recovery]:
        """All recoveries of the subscription, newest first."""
        return self._caller.items(at("subscriptions", subscription_id, "recovery"), {}, page_size)


class Deliveries:
    """`/v1/deliveries`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def list(
        self,
        *,
        status: DeliveryStatus | None = None,
        subscription: str | None = None,
        event: str | None = None,
        job: str | None = None,
        page_size: int = calls.PAGE_LIMIT,
    ) -> AsyncIterator[Delivery]:
        """All deliveries of that kind, newest first."""
        query = {"status": status, "subscription": subscription, "event": event, "job": job}
        return self._caller.items("/v1/deliveries", query, page_size)

    async def get(self, delivery_id: str) -> Delivery:
        """The delivery with every attempt."""
        delivery: Delivery = await self._caller.document(Ask("GET", at("deliveries", delivery_id)))
        return delivery

    async def redeliver(self, delivery_id: str) -> Delivery:
        """Has the delivery attempted anew, now; the attempt follows."""
        delivery: Delivery = await self._caller.document(Ask("POST", at("deliveries", delivery_id, "redelivery")))
        return delivery
