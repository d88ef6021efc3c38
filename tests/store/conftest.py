"""What the conformance suite shares: an empty store on each database there is."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.databases import DATABASES, cipher, database_url, migrated_file, postgres_schema, store

__all__ = ["cipher", "database_url", "migrated_file", "postgres_schema", "store"]


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What the store logs, as it is said."""
    with structlog.testing.capture_logs() as lines:
        yield lines


collect_ignore = [] if "postgresql" in DATABASES else ["test_postgres_server.py"]
