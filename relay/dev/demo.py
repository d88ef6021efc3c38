"""One job of every provider, from its registration to a verified webhook, by the public API alone."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from relay.client import AsyncClient, ClientError
from relay.client.shapes import Job
from relay.clock import Clock
from relay.dev.account import Account

FOLLOW_SECONDS = 0.25
REQUEST_SECONDS_MAX = 10.0
MARK = {"made_by": "relay dev"}
CREDENTIAL_NAME = "simulated"
DELIVERY_WORDS = ("succeeded", "exhausted", "cancelled", "held", "pending")  # the first that is there tells most


class DemoFailed(Exception):
    """The API said no; the message is what it said."""


@dataclass(slots=True)
class Track:
    """One job of the demo as far as it has come; `delivery` and `status` in the API's words, "" until known."""

    account: Account
    provider_job_id: str
    job: str = ""
    status: str = ""
    provider_status: str = ""
    polls: int = 0
    delivery: str = ""
    is_verified: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """True when the webhook was taken, and its signature held."""
        return self.is_verified and self.delivery == "succeeded"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts are, and what opens them."""

    api_url: str
    api_key: str = field(repr=False)
    inbox_url: str
    inbox_secret: str = field(repr=False)


class Demo:
    """`tracks` change as the trip goes on; `on_change` is called after each look at them."""

    def __init__(
        self,
        places: Places,
        jobs: Sequence[tuple[Account, str]],
        clock: Clock,
        on_change: Callable[[Sequence[Track]], None],
    ) -> None:
        self.tracks = [Track(account, provider_job_id) for account, provider_job_id in jobs]
        self._places = places
        self._clock = clock
        self._on_change = on_change
        self._api = AsyncClient(
            places.api_url, places.api_key, timeout_seconds=REQUEST_SECONDS_MAX, trust_env=False, clock=clock
        )
        self._inbox = httpx.AsyncClient(base_url=places.inbox_url, timeout=REQUEST_SECONDS_MAX, trust_env=False)

    async def run(self, seconds_max: float) -> bool:
        """True when every job's webhook was delivered and verified in that time. Raises DemoFailed."""
        async with self._api, self._inbox:
            try:
                async with asyncio.timeout(seconds_max):
                    await self._subscribe()
                    for track in self.tracks:
                        await self._provide(track.account)
                    for track in self.tracks:
                        await self._register(track)
                        self._on_change(self.tracks)
                    while not all(track.is_over for track in self.tracks):
                        await self._clock.sleep(FOLLOW_SECONDS)
                        await self._look()
                        self._on_change(self.tracks)
            except TimeoutError:
                return False
            except ClientError as error:
                raise DemoFailed(str(error)) from error
            except httpx.HTTPError as error:
                raise DemoFailed(f"the inbox does not answer: {type(error).__name__} {error}") from error
        return True

    async def _subscribe(self) -> None:
        """One subscription is used run after run: what it missed meanwhile is delivered then."""
        url = f"{self._places.inbox_url}/webhooks"
        async for subscription in self._api.subscriptions.list():
            if subscription["metadata"] == MARK:
                await self._api.subscriptions.change(subscription["id"], {"url": url, "status": "active"})
                return
        await self._api.subscriptions.create(
            url, secret=self._places.inbox_secret, description="the inbox of relay dev", metadata=MARK
        )

    async def _provide(self, account: Account) -> None:
        """The credential of an earlier run is given this run's port."""
        about = {"secrets": account.secrets, "params": account.params, "base_url": account.base_url}
        async for credential in self._api.credentials.list(provider=account.provider, name=CREDENTIAL_NAME):
            await self._api.credentials.change(credential["id"], {**about, "status": "active"})
            return
        await self._api.credentials.create(
            CREDENTIAL_NAME, account.provider, account.secrets, params=account.params, base_url=account.base_url
        )

    async def _register(self, track: Track) -> None:
        job = await self._api.jobs.create(
            track.account.provider,
            track.provider_job_id,
            credential=CREDENTIAL_NAME,
            params=track.account.job_params,
            metadata=MARK,
        )
        track.job = job["id"]
        track.warnings = list(job.get("warnings") or track.account.warnings)
        self._tell(track, job)

    async def _look(self) -> None:
        for track in self.tracks:
            if not track.is_over:
                self._tell(track, await self._api.jobs.get(track.job))
        answered = await self._inbox.get("/", headers={"accept": "application/json"})
        verified = {call["job"] for call in answered.json()["data"] if call["is_verified"]}
        for track in self.tracks:
            track.is_verified = track.job in verified

    def _tell(self, track: Track, job: Job) -> None:
        track.status = job["status"]
        track.provider_status = job["provider_status"] or ""
        track.polls = job["polls"]
        counts: Mapping[str, object] = job["deliveries"] or {}
        track.delivery = next((word for word in DELIVERY_WORDS if counts.get(word)), "")
