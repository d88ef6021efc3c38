"""What more than one command stands on: the database, the way out, the tenant that is meant when none is named."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from relay import __version__

if TYPE_CHECKING:
    from relay.egress import Egress
    from relay.store import Store

T = TypeVar("T")

TENANT = "default"
NEARBY = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
NOTHING_ENCRYPTED = "no secret is read or written here"


async def with_store(work: Callable[["Store"], Awaitable[T]], *, needs_secret_key: bool = False) -> T:
    """
    What the work gives, done with the database of DATABASE_URL.

    Raises BadSettings when that has not the tables of this version, Unreachable when it does not answer.
    """
    from relay.bootstrap import check_database
    from relay.settings import load
    from relay.store import Cipher, open_store

    settings = load(needs_secret_key=needs_secret_key)
    store = open_store(settings.database_url, Cipher(settings.secret_keys or [NOTHING_ENCRYPTED]))
    try:
        await check_database(store)
        return await work(store)
    finally:
        await store.close()


@asynccontextmanager
async def way_out() -> AsyncIterator["Egress"]:
    """The way out for a person at a terminal, who may call this machine and the networks around it."""
    from relay.egress import Egress, Guard
    from relay.settings import load

    settings = load()
    guard = Guard([*settings.relay_egress_allow, *NEARBY], allow_http=True)
    async with Egress(guard, f"relay/{__version__}", proxy=settings.relay_egress_proxy) as egress:
        yield egress
