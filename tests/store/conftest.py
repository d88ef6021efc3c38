"""What the conformance suite shares: an empty store on each database there is."""

from tests.databases import cipher, database_url, migrated_file, postgres_schema, store

__all__ = ["cipher", "database_url", "migrated_file", "postgres_schema", "store"]
