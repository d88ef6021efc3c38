"""What the owner does by hand: change, pause, resume, cancel, rotate, try and send again."""

from dataclasses import replace
from datetime import datetime
from typing import Literal

import structlog

from relay import metrics
from relay.announce import Announcer
from relay.clock import Clock
from relay.domain.credential import Credential, CredentialStatus
from relay.domain.delivery import Delivery, DeliveryStatus
from relay.domain.errors import Conflict, Unreachable
from relay.domain.ids import NewId
from relay.domain.job import Job, JobStatus, Memo, seen
from relay.domain.moments import next_version, seconds_after, to_ms
from relay.domain.recovery import Recovery, RecoveryStatus
from relay.domain.subscription import SigningKey, Subscription, SubscriptionStatus, rotate
from relay.looking.standing import budget, credential_data
from relay.providers.catalog import Catalog
from relay.schedule import Item, Schedule
from relay.store import Store
from relay.webhooks.signing import KEY_BYTES, jwk_of, new_secret, new_signing_key, public_key_of

log = structlog.get_logger(__name__)

SECRET_BYTES = 32
RELEASE_BATCH = 500


class Steer:
    """Every change is written first and scheduled second: what Redis misses, the sweep puts right."""

    def __init__(
        self,
        store: Store,
        polls: Schedule,
        deliveries: Schedule,
        announcer: Announcer,
        catalog: Catalog,
        clock: Clock,
    ) -> None:
        self._store = store
        self._polls = polls
        self._deliveries = deliveries
        self._announcer = announcer
        self._catalog = catalog
        self._clock = clock

    async def add_credential(self, credential: Credential) -> Credential | None:
        """The credential of that id, as it is stored; None when the name is taken for that provider."""
        return await self._store.add_credential(credential)

    async def change_credential(self, before: Credential, after: Credential, *, resumes: bool) -> bool:
        """
        False when somebody else changed it first. `resumes`: new secrets or the owner's word make it active
        again, and every job that waits for it is looked at now.
        """
        if resumes:
            after = replace(after, status=CredentialStatus.ACTIVE, status_reason=None, throttled_until=None)
        if not await self._store.change_credential(after, before.updated_at):
            return False
        if resumes and before.is_paused:
            data = credential_data(
                after, CredentialStatus.ACTIVE, "changed by its owner", "continues", self._clock.now()
            )
            announcement = await self._announcer.operational(after.tenant, "credential.resumed", data)
            await self._store.add_announcement(announcement)
            await self._announcer.put([announcement])
        try:
            limits = budget(after, self._catalog.get(after.provider))
            await self._polls.limit(after.id, limits, str(to_ms(after.updated_at)))
            if resumes:
                await self._polls.release(after.id)
        except Unreachable as error:
            log.warning("limits_not_scheduled", credential=after.id, reason=str(error))
        return True

    async def remove_credential(
        self, tenant: str, credential_id: str, as_of: datetime | None = None
    ) -> Literal["removed", "in_use", "absent", "changed"]:
        """`in_use` while pending jobs need it; `changed` when that was after `as_of`."""
        return await self._store.remove_credential(tenant, credential_id, as_of)

    async def cancel_job(self, tenant: str, job_id: str) -> Job | None:
        """Stops tracking; of a job that has ended, the public link is revoked. None: no such job."""
        seen_so_far, now = await self._seen(tenant, job_id), self._clock.now()
        job = await self._store.cancel_job(tenant, job_id, now, seen_so_far)
        if job is not None:
            if job.status is JobStatus.CANCELLED and job.completed_at == now:  # not cancelled before
                metrics.ENDINGS.labels(job.provider, str(job.status)).inc()
                log.info("job_ended", job=job.id, provider=job.provider, status=str(job.status), polls=job.polls)
            try:
                await self._polls.drop(job.credential_id, [job.id])
            except Unreachable as error:
                log.warning("job_not_unscheduled", job=job.id, reason=str(error))
            await self._announcer.news.tell([job.id])
        return job

    async def _seen(self, tenant: str, job_id: str) -> Job | None:
        """A pending job with what its looks have shown, which Redis alone knows."""
        job = await self._store.find_job(tenant, job_id)
        if job is None or job.status is not JobStatus.PENDING:
            return None
        try:
            [memo] = await self._polls.memos(job.credential_id, [job.id])
        except Unreachable as error:
            log.warning("job_cancelled_without_its_looks", job=job.id, reason=str(error))
            return None
        return seen(job, Memo.parse(memo))

    async def refresh_job(self, tenant: str, job_id: str) -> Job | None:
        """Makes a pending job due now, within its credential's budget. None: no such job."""
        job = await self._store.find_job(tenant, job_id)
        if job is not None and job.status is JobStatus.PENDING:
            await self._polls.put([Item(job.credential_id, job.id)])
        return job

    async def add_subscription(self, subscription: Subscription) -> Subscription:
        """The subscription of that id, as it is stored; its in-flight limit is set at once."""
        stored = await self._store.add_subscription(subscription)
        await self._limit(stored)
        return stored

    async def change_subscription(self, before: Subscription, after: Subscription) -> bool:
        """False when somebody else changed it first. Leaving `active` holds what waits, returning releases it."""
        returns = before.status is not SubscriptionStatus.ACTIVE and after.status is SubscriptionStatus.ACTIVE
        if returns:
            after = replace(after, disabled_reason=None, failing_since=None, hold_until=None)
        if not await self._store.change_subscription(after, before.updated_at):
            return False
        await self._limit(after)
        if returns:
            await self._release(after)
        elif after.status is not SubscriptionStatus.ACTIVE:
            await self._store.suspend_deliveries(after.tenant, after.id, self._clock.now())
        return True

    async def remove_subscription(self, tenant: str, subscription_id: str, as_of: datetime | None = None) -> bool:
        """False: no such subscription, or changed after `as_of`. What waited for it is cancelled."""
        return await self._store.remove_subscription(tenant, subscription_id, self._clock.now(), as_of)

    async def activate(self, tenant: str, subscription_id: str) -> Subscription | None:
        """Back to active, held deliveries released, those that expire first first. None: no such subscription."""
        before = await self._store.find_subscription(tenant, subscription_id)
        if before is None:
            return None
        updated_at = next_version(before.updated_at, self._clock.now())
        after = replace(before, status=SubscriptionStatus.ACTIVE, updated_at=updated_at)
        if not await self.change_subscription(before, after):
            raise Conflict(
                "changed_meanwhile", "The subscription was changed at the same moment: read it and try again."
            )
        return await self._store.find_subscription(tenant, subscription_id)

    def new_key(self) -> SigningKey:
        """A fresh ed25519 key, for a subscription that wants `v1a`."""
        private = new_signing_key(self._clock.entropy(KEY_BYTES))
        public = public_key_of(private)
        return SigningKey(private, public, jwk_of(public)["kid"], self._clock.now(), None)

    async def rotate(self, subscription: Subscription, secret: str | None, overlap_seconds: int) -> Subscription:
        """
        The subscription with a new secret, and a new key where it has one; older ones sign on for the overlap.

        Raises Conflict when ten live.
        """
        chosen = secret or new_secret(self._clock.entropy(SECRET_BYTES))
        key = self.new_key() if "v1a" in subscription.signatures else None
        rotated = rotate(subscription, chosen, self._clock.now(), overlap_seconds, key)
        if rotated is None:
            raise Conflict(
                "too_many_secrets",
                "Ten secrets are alive: wait until one's overlap ends, or rotate with overlap_seconds 0.",
            )
        if not await self._store.change_subscription(rotated, subscription.updated_at):
            raise Conflict(
                "changed_meanwhile", "The subscription was changed at the same moment: read it and try again."
            )
        await self._limit(rotated)
        return rotated

    async def send_test(self, subscription: Subscription, new_id: NewId | None = None) -> Delivery:
        """A signed `webhook.test`, logged and retried like any other delivery; of the same ids there is one."""
        announcement = self._announcer.test(subscription, new_id)
        await self._store.add_announcement(announcement)
        (made,) = announcement.deliveries
        stored = await self._store.find_delivery(made.tenant, made.id) or made
        await self._announcer.put([replace(announcement, deliveries=(stored,))])
        return stored

    async def redeliver(self, tenant: str, delivery_id: str) -> Delivery | None:
        """
        A new attempt now, marked `manual`; what the schedule had planned waits behind it with its budget kept.

        None: no such delivery. Raises Conflict when its subscription would not be called.
        """
        delivery = await self._store.find_delivery(tenant, delivery_id)
        if delivery is None:
            return None
        subscription = await self._store.find_subscription(tenant, delivery.subscription_id)
        if subscription is None:
            raise Conflict("subscription_not_active", "The subscription is deleted: nobody is called for it any more.")
        if subscription.status is not SubscriptionStatus.ACTIVE:
            raise Conflict("subscription_not_active", f"The subscription is {subscription.status}: activate it first.")
        summons = await self._store.summon_delivery(tenant, delivery_id, "manual", self._clock.now())
        if summons is None:
            return None
        if summons.delivery.status is DeliveryStatus.CANCELLED:
            raise Conflict("delivery_cancelled", "The delivery was cancelled and cannot be sent any more.")
        # A second wish for what was not yet sent is the same wish: it starts nothing that is already under way.
        await self._announcer.put_deliveries([summons.delivery], joins=not summons.is_new)
        return summons.delivery

    async def recover(
        self, subscription: Subscription, since: datetime, until: datetime | None, new_id: NewId | None = None
    ) -> Recovery:
        """
        A task that sends again what was decided for the subscription in [since, until) and never succeeded.

        The sweep works it off; what happens from now on is none of its business. Raises Conflict when the
        subscription would not be called.
        """
        if subscription.status is not SubscriptionStatus.ACTIVE:
            raise Conflict("subscription_not_active", f"The subscription is {subscription.status}: activate it first.")
        now = self._clock.now()
        just_after = seconds_after(now, 0.001)  # what was decided within this millisecond is not skipped
        recovery = Recovery(
            id=(new_id or self._clock.new_id)("rcv"),
            tenant=subscription.tenant,
            subscription_id=subscription.id,
            since=since,
            until=min(until or just_after, just_after),
            status=RecoveryStatus.RUNNING,
            place=None,
            recovered=0,
            created_at=now,
            completed_at=None,
        )
        return await self._store.add_recovery(recovery)

    async def _limit(self, subscription: Subscription) -> None:
        try:
            await self._announcer.admit(subscription)
        except Unreachable as error:
            log.warning("limits_not_scheduled", subscription=subscription.id, reason=str(error))

    async def _release(self, subscription: Subscription) -> None:
        try:
            await self._deliveries.release(subscription.id)
            while released := await self._store.release_deliveries(
                subscription.tenant, subscription.id, self._clock.now(), RELEASE_BATCH
            ):
                await self._announcer.put_deliveries(released)
        except Unreachable as error:
            log.warning("deliveries_not_released", subscription=subscription.id, reason=str(error))
