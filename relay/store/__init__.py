"""The facts, written and read in the domain's own verbs, each of them one transaction."""

from collections.abc import Callable

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from relay.domain.errors import BadSettings
from relay.store.cipher import Cipher
from relay.store.credentials import CredentialVerbs
from relay.store.events import EventVerbs
from relay.store.jobs import JobVerbs
from relay.store.keys import KeyVerbs, OpenCall, SavedCall
from relay.store.postgres import PostgresDatabase
from relay.store.recoveries import RecoveryVerbs, Stretch
from relay.store.rows import (
    Announcement,
    BusyCredential,
    BusySubscription,
    Ending,
    Parcel,
    PendingDelivery,
    PendingJob,
    Record,
    Registration,
    Summons,
    Vault,
)
from relay.store.sealing import SEALED, Resealed, SealingVerbs
from relay.store.sql import Database, mapped
from relay.store.sqlite import SqliteDatabase
from relay.store.submissions import SubmissionVerbs
from relay.store.subscriptions import SubscriptionVerbs
from relay.store.upkeep import Duration, OldestPending, Stray, UpkeepVerbs

__all__ = [
    "SEALED",
    "Announcement",
    "BusyCredential",
    "BusySubscription",
    "Cipher",
    "Duration",
    "Ending",
    "OldestPending",
    "OpenCall",
    "Parcel",
    "PendingDelivery",
    "PendingJob",
    "Record",
    "Registration",
    "Resealed",
    "SavedCall",
    "Store",
    "Stray",
    "Stretch",
    "Summons",
    "migrate",
    "open_store",
]

BACKENDS: dict[str, Callable[[str], Database]] = {
    "sqlite": SqliteDatabase,
    "postgres": PostgresDatabase,
    "postgresql": PostgresDatabase,
}
UNKNOWN = "DATABASE_URL: begins with sqlite:///, postgres:// or postgresql://"


class Store(
    KeyVerbs,
    CredentialVerbs,
    JobVerbs,
    SubmissionVerbs,
    SubscriptionVerbs,
    EventVerbs,
    RecoveryVerbs,
    UpkeepVerbs,
    SealingVerbs,
):
    """
    Every fact there is. Each verb is one transaction; what it is told it writes, and it decides nothing.

    Verbs of a tenant's own take the tenant first: another's object is as absent as one that never was. They
    raise Unreachable when the database does not answer, also when it is not migrated yet.
    """

    def __init__(self, database: Database, cipher: Cipher) -> None:
        super().__init__(database, Vault(cipher))


def open_store(url: str, cipher: Cipher) -> Store:
    """The store behind the URL; connects at the first verb. Raises BadSettings for a URL it cannot use."""
    return Store(_database(url), cipher)


async def migrate(url: str) -> None:
    """
    Bring the database to head; whoever comes second, on whatever host, waits and finds it done.

    Raises BadSettings for a URL it cannot use, Unreachable when the database does not answer.
    """
    database = _database(url)
    try:
        with mapped():
            await database.migrate()
    finally:
        await database.close()


def _database(url: str) -> Database:
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError:
        backend = ""
    if backend not in BACKENDS:
        raise BadSettings([UNKNOWN])
    return BACKENDS[backend](url)
