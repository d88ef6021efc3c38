"""A relay, an account at a provider that has a list, and the credential that the one has of the other."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from relay.bootstrap import Relay
from relay.register import JobRequest
from tests.account_stub import HuaweiAccount
from tests.provider_stub import hex_id
from tests.receivers import Receiver
from tests.trips import TENANT, living, make_credential, until

HUAWEI, VOCU = "huawei_metastudio", "vocu"


@dataclass
class Scene:
    """A relay, an account, and the credential that the relay has of it."""

    relay: Relay
    account: HuaweiAccount
    credential_id: str
    provider: str

    async def watch(self, jobs: Sequence[str], deadline_seconds: float | None = None) -> list[str]:
        """Registers the jobs; the relay's ids."""
        requests = [JobRequest(self.provider, job, deadline_seconds=deadline_seconds) for job in jobs]
        answers = await self.relay.register.jobs(TENANT, requests)
        return [answer[0].id for answer in answers if isinstance(answer, tuple)]

    async def statuses(self) -> Mapping[str, int]:
        return await self.relay.store.count_jobs(TENANT)

    async def ended(self, count: int, within_seconds: float = 20.0) -> None:
        """Returns when so many have completed."""

        async def are_done() -> bool:
            return (await self.statuses()).get("completed", 0) >= count

        await until(are_done, within_seconds)


Enter = Callable[..., AbstractAsyncContextManager[Scene]]


@asynccontextmanager
async def scene(
    database_url: str,
    redis_url: str,
    account: HuaweiAccount,
    provider: str,
    settings: Mapping[str, str] | None = None,
    **more: object,
) -> AsyncIterator[Scene]:
    async with living(database_url, redis_url, **(settings or {})) as house, Receiver(account) as server:
        credential = make_credential(house, provider, server.url(""), **more)
        assert await house.steer.add_credential(credential)
        yield Scene(house, account, credential.id, provider)


def running(count: int, first: int = 1) -> HuaweiAccount:
    return HuaweiAccount({hex_id(number): {"state": "PROCESSING"} for number in range(first, first + count)})
