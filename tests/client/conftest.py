"""What the tests of the client share."""

from collections.abc import AsyncIterator

import pytest

from tests.web.house import House, opened


@pytest.fixture
async def house(database_url: str, redis_url: str) -> AsyncIterator[House]:
    """The real application."""
    async with opened(database_url, redis_url) as house:
        yield house
