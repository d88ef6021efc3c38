"""What happened becomes an event, with a delivery for each that wants it; committed ones are put on the schedule."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from relay.clock import Clock
from relay.domain.credential import Credential
from relay.domain.delivery import Delivery, DeliveryStatus, Trigger
from relay.domain.errors import Unreachable
from relay.domain.event import Event, event_body, job_event_data, job_view
from relay.domain.ids import NewId
from relay.domain.job import EVENT_OF_ENDING, Job, JobStatus, links_expire_at
from relay.domain.moments import parse_rfc3339, to_ms
from relay.domain.subscription import Filter, Subscription, SubscriptionStatus, hold_seconds_left, wants
from relay.schedule import Item, Limits, News, Schedule
from relay.store import Announcement, BusySubscription, Ending, Store
from relay.tokens import Tokens

log = structlog.get_logger(__name__)

FIRST_IN_FLIGHT = 4  # until a first success: so many of a receiver that nobody knows yet may turn out to hang
AFTER_HOLD_IN_FLIGHT = 1


@dataclass(frozen=True, slots=True)
class Announcer:
    """Makes announcements out of what happened, and puts their deliveries on the schedule once committed."""

    store: Store
    deliveries: Schedule
    news: News
    tokens: Tokens
    clock: Clock
    public_url: str

    def view(self, job: Job) -> dict[str, Any]:
        """The job as its event carries it."""
        return job_view(job, self.public_url, self.result_url(job))

    def result_url(self, job: Job) -> str | None:
        """The public link to the job's result, or None when there is none to have."""
        if job.status is not JobStatus.COMPLETED or job.link_revoked_at is not None:
            return None
        return f"{self.public_url}/r/{self.tokens.for_result(job.id)}"

    async def endings(self, jobs: Sequence[Job], credentials: Mapping[str, Credential]) -> list[Ending]:
        """For each ended job its event and one delivery for each subscription that wants it."""
        listening = await self.store.listening({job.tenant for job in jobs}, [job.id for job in jobs])
        return [self._ending(job, credentials.get(job.credential_id), listening.get(job.tenant, [])) for job in jobs]

    async def operational(self, tenant: str, event_type: str, data: Mapping[str, Any]) -> Announcement:
        """An event about the relay's own doings, for the tenant's subscriptions that asked for its type."""
        listening = (await self.store.listening({tenant}, [])).get(tenant, [])
        event = self._event(tenant, event_type, data)
        wanting = [one for one in listening if one.job_id is None and _wants_operational(one, event_type, data)]
        return self._announcement(event, wanting, None)

    def test(self, subscription: Subscription, new_id: NewId | None = None) -> Announcement:
        """A `webhook.test` event for one subscription, whatever types it asked for."""
        event = self._event(
            subscription.tenant,
            "webhook.test",
            {
                "subscription": subscription.id,
                "message": "A test event: nothing happened, and the signature is real.",
                "probe": None,
            },
            new_id=new_id,
        )
        return Announcement(event, (self._delivery(event, subscription, None, "test", new_id),))

    async def put(self, announcements: Iterable[Announcement]) -> None:
        """Makes committed deliveries due now. Should Redis be away, the sweep finds them instead."""
        told = list(announcements)
        await self.put_deliveries([one for announcement in told for one in announcement.deliveries])
        events = [announcement.event for announcement in told]
        await self.news.tell({topic for event in events for topic in (event.tenant, event.job_id) if topic})

    async def put_deliveries(self, deliveries: Iterable[Delivery], *, joins: bool = False) -> None:
        """
        The same for deliveries alone; a millisecond between them keeps their order. With `joins` one whose attempt
        is under way is left alone.
        """
        pending = [one for one in deliveries if one.status is DeliveryStatus.PENDING]
        items = [
            Item(one.subscription_id, one.id, index, deadline(one.expires_at)) for index, one in enumerate(pending)
        ]
        if not items:
            return
        try:
            await self.deliveries.put(items, joins=joins)
        except Unreachable as error:
            log.warning("deliveries_not_scheduled", count=len(items), reason=str(error))

    async def admit(self, subscription: Subscription | BusySubscription) -> None:
        """Tells the schedule how many calls the subscription takes, at once and a minute, and for how long none."""
        granted = subscription.requests_per_minute
        interval_ms = 60_000 / granted if granted else 0
        limits = Limits(interval_ms, concurrency=subscription.max_in_flight, first=FIRST_IN_FLIGHT)
        await self.deliveries.limit(subscription.id, limits, str(to_ms(subscription.updated_at)))
        left_seconds = hold_seconds_left(subscription.hold_until, self.clock.now())
        if left_seconds > 0:
            await self.deliveries.hold(subscription.id, round(left_seconds * 1000), then=AFTER_HOLD_IN_FLIGHT)

    def _ending(self, job: Job, credential: Credential | None, listening: Sequence[Subscription]) -> Ending:
        event_type = EVENT_OF_ENDING.get(job.status)
        if event_type is None:
            return Ending(job, None)
        event = self._event(job.tenant, event_type, job_event_data(self.view(job)), job)
        known_as = (job.credential_id, credential.name) if credential else (job.credential_id,)
        wanting = [
            one
            for one in listening
            if wants(
                one,
                event_type,
                job_id=job.id,
                provider=job.provider,
                credentials=known_as,
                metadata=job.metadata,
            )
        ]
        expires = links_expire_at(job)
        announcement = self._announcement(event, wanting, parse_rfc3339(expires) if expires else None)
        callbacks = frozenset(one.id for one in listening if one.job_id == job.id)
        return Ending(job, announcement, callbacks)

    def _event(
        self,
        tenant: str,
        event_type: str,
        data: Mapping[str, Any],
        ended: Job | None = None,
        new_id: NewId | None = None,
    ) -> Event:
        event_id, now = (new_id or self.clock.new_id)("evt"), self.clock.now()
        body = event_body(event_id, event_type, now, data)
        job_id, trace_id = (ended.id, ended.trace_id) if ended else (None, None)
        return Event(event_id, tenant, event_type, body, job_id, job_id, now, trace_id)

    def _announcement(
        self,
        event: Event,
        wanting: Sequence[Subscription],
        expires_at: datetime | None,
    ) -> Announcement:
        return Announcement(event, tuple(self._delivery(event, one, expires_at) for one in wanting))

    def _delivery(
        self,
        event: Event,
        subscription: Subscription,
        expires_at: datetime | None,
        trigger: Trigger = "schedule",
        new_id: NewId | None = None,
    ) -> Delivery:
        is_active = subscription.status is SubscriptionStatus.ACTIVE
        return Delivery(
            id=(new_id or self.clock.new_id)("dlv"),
            tenant=event.tenant,
            event_id=event.id,
            event_type=event.type,
            job_id=event.job_id,
            subscription_id=subscription.id,
            url=subscription.url,
            status=DeliveryStatus.PENDING if is_active else DeliveryStatus.HELD,
            attempts_made=0,
            steps=0,
            has_quick_retried=False,
            next_trigger=trigger,
            next_attempt_at=event.created_at if is_active else None,
            expires_at=expires_at,
            created_at=event.created_at,
            completed_at=None,
        )


def deadline(expires_at: datetime | None) -> str:
    """The memo of a delivery on the schedule: when its links die, which decides who goes first; "" for never."""
    return "" if expires_at is None else str(to_ms(expires_at))


def _wants_operational(subscription: Subscription, event_type: str, data: Mapping[str, Any]) -> bool:
    """What is said of a credential is filtered by it; for the rest there is no job that a filter could speak of."""
    wanted = subscription.filter
    named = Filter(wanted.providers, wanted.credentials) if "provider" in data else Filter()
    known_as = tuple(str(data[name]) for name in ("credential", "name") if name in data)
    return wants(replace(subscription, filter=named), event_type, provider=data.get("provider"), credentials=known_as)
