"""The data of the events that are not about a job, for the reference."""

from typing import Literal

from pydantic import ConfigDict

from relay.domain.credential import CredentialStatus
from relay.domain.delivery import DeliveryStatus
from relay.web.reference.shapes import CredentialId, DeliveryId, EventId, JobId, Moment, Shape, SubscriptionId
from relay.web.reference.words import EventName


class TestNotice(Shape):
    """The data of `webhook.test`. `probe` says what kind of call it is in a probe, and is null in all others."""

    subscription: SubscriptionId
    message: str
    probe: Literal["good", "forged", "stale", "unknown_key"] | None


class CredentialNotice(Shape):
    """
    The data of `credential.paused` and `credential.resumed`. Where a job ended for want of money `polling` continues:
    its credential is looked at further, only new jobs will fare no better. No `credential.resumed` follows upon that.
    """

    credential: CredentialId
    name: str
    provider: str
    status: CredentialStatus
    reason: str | None
    polling: Literal["paused", "continues"]
    at: Moment


class SubscriptionNotice(Shape):
    """The data of `subscription.disabled`."""

    subscription: SubscriptionId
    url: str
    reason: str


class ExhaustedDelivery(Shape):
    """The data of `delivery.exhausted`."""

    model_config = ConfigDict(extra="allow")

    id: DeliveryId
    object: Literal["delivery"]
    event: EventId
    event_type: EventName
    job: JobId | None
    subscription: SubscriptionId
    url: str
    status: DeliveryStatus
    attempts_made: int
