"""A way out to loopback, and the relay's own definitions."""

from collections.abc import AsyncIterator

import pytest

from relay.egress import Egress, Guard
from relay.providers.catalog import Catalog


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    """The real way out, allowed to reach loopback."""
    async with Egress(Guard(["127.0.0.0/8"], allow_http=True), "relay/test (tests)") as egress:
        yield egress


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The relay's own definitions."""
    return Catalog.load()
