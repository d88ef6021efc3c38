"""PostgreSQL's URLs as hosts hand them out."""

import ssl
from typing import Any

import pytest

from relay.domain.errors import BadSettings
from relay.store import Cipher, open_store
from relay.store.postgres import PostgresDatabase, driver_url

BASE = "postgres://user:p%40ss@db.example.com:5433/relay"


def arguments(query: str) -> dict[str, Any]:
    return driver_url(f"{BASE}?{query}")[1]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_scheme_leads_to_the_driver_and_loses_nothing(scheme: str) -> None:
    url, told = driver_url(BASE.replace("postgres://", f"{scheme}://", 1))
    assert url.render_as_string(hide_password=False) == BASE.replace("postgres://", "postgresql+asyncpg://", 1)
    assert told == {"server_settings": {"application_name": "relay"}}


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_an_sslmode_is_passed_on_and_leaves_the_url(mode: str) -> None:
    url, told = driver_url(f"{BASE}?sslmode={mode}&channel_binding=require")
    assert told["ssl"] == mode
    assert url.query == {}


@pytest.mark.parametrize(("mode", "checks"), [("verify-ca", False), ("verify-full", True)])
def test_a_verifying_sslmode_verifies(mode: str, checks: bool) -> None:
    context = arguments(f"sslmode={mode}&sslrootcert=system")["ssl"]
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname is checks


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sslmode=sometimes", "sslmode is one of"),
        ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "sslrootcert cannot be read"),
        ("hello=world", "hello is not understood"),
        ("connect_timeout=soon", "connect_timeout"),
    ],
)
def test_an_option_that_cannot_be_met_is_named(query: str, fault: str) -> None:
    with pytest.raises(BadSettings, match=fault):
        arguments(query)


def test_options_become_what_they_mean() -> None:
    told = arguments("application_name=ours&connect_timeout=3&options=-c%20search_path%3Drelay%20-cwork_mem%3D8MB")
    assert told["timeout"] == 3.0
    assert told["server_settings"] == {"application_name": "ours", "search_path": "relay", "work_mem": "8MB"}


@pytest.mark.parametrize("query", ["pgbouncer=true", "prepared_statement_cache_size=0"])
async def test_behind_a_pooler_nothing_is_prepared_and_reads_are_transactions(query: str) -> None:
    told = arguments(query)
    assert (told["statement_cache_size"], told["prepared_statement_cache_size"]) == (0, 0)
    database = PostgresDatabase(f"{BASE}?{query}")
    assert database.reader is database.writer
    await database.close()


@pytest.mark.parametrize("url", ["mysql://localhost/relay", "relay.db", ""])
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match="begins with"):
        open_store(url, Cipher(["key"]))
