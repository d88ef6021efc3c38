"""Every sealed column is moved to the newest key, a batch at a time, and nothing else is touched."""

from dataclasses import replace

import pytest
from sqlalchemy import Text

from relay.domain.errors import BadSettings
from relay.store import SEALED, Cipher, SavedCall, Store, open_store
from relay.store.tables import Words, metadata
from tests.store.facts import NOW, SECOND, TENANT, credential, opened, signing_key, subscription

OLD, NEW = "the key of last year", "the key of this year"


async def filled(store: Store, count: int) -> None:
    """So many rows of each sealed table."""
    for number in range(count):
        await store.add_credential(credential(name=f"c{number}"))
        await store.add_subscription(subscription(signing_keys=(signing_key(),) if number % 2 else ()))
        assert await store.close_call(await opened(store, f"k{number}"), 201, {}, b"an answer")


async def resealed(store: Store, table: str, limit: int = 2) -> tuple[int, int]:
    """The whole table: rows seen and changed."""
    place, seen, changed = None, 0, 0
    while True:
        batch = await store.reseal(table, place, limit)
        assert batch.unopened == ()
        seen, changed, place = seen + batch.seen, changed + batch.changed, batch.place
        if place is None:
            return seen, changed


def test_every_encrypted_column_is_known_to_be_one() -> None:
    # Whatever came from outside is `Words`; plain `Text` is for what is sealed.
    sealed = {
        (table.name, column.name)
        for table in metadata.tables.values()
        for column in table.columns
        if type(column.type) is Text and not isinstance(column.type, Words)
    }
    assert sealed == {(one.table.name, column) for one in SEALED.values() for column in one.columns}


async def test_after_a_run_the_old_key_is_not_needed_any_more(database_url: str, store: Store) -> None:
    old, both = open_store(database_url, Cipher([OLD])), open_store(database_url, Cipher([NEW, OLD]))
    await filled(old, 5)
    before = await old.list_subscriptions(TENANT)
    for table in SEALED:
        assert await both.count_sealed(table) == 5
        assert await resealed(both, table) == (5, 5)
        assert await resealed(both, table) == (5, 0)  # once more is nothing
    new = open_store(database_url, Cipher([NEW]))
    assert await new.list_subscriptions(TENANT) == before
    assert all(one.signing_keys[0].private for one in before if one.signing_keys)
    assert [one.secrets for one in await new.find_credentials(TENANT)] == [{"api_key": "a secret – ключ"}] * 5
    saved = await new.open_call(TENANT, "k1", "print", "req_1", NOW)
    assert isinstance(saved, SavedCall)
    assert saved.body == b"an answer"
    with pytest.raises(BadSettings):
        await old.find_subscription(TENANT, before[0].id)
    for one in (old, both, new):
        await one.close()


async def test_a_run_that_was_broken_off_goes_on_where_it_is_begun_again(database_url: str, store: Store) -> None:
    old, both = open_store(database_url, Cipher([OLD])), open_store(database_url, Cipher([NEW, OLD]))
    await filled(old, 5)
    first = await both.reseal("credentials", None, 2)
    assert (first.seen, first.changed) == (2, 2)
    assert await resealed(both, "credentials") == (5, 3)
    await old.close()
    await both.close()


async def test_rows_that_have_nothing_sealed_are_passed_over(store: Store) -> None:
    await opened(store, "in flight")
    assert await store.count_sealed("idempotency") == 0
    assert await resealed(store, "idempotency") == (0, 0)


async def test_a_row_that_no_key_opens_is_named_and_stays_as_it_is(database_url: str, store: Store) -> None:
    lost = open_store(database_url, Cipher(["a key that nobody has"]))
    theirs = credential()
    await lost.add_credential(theirs)
    mine = credential()
    await store.add_credential(mine)
    batch = await store.reseal("credentials", None, 10)
    assert (batch.seen, batch.changed, batch.unopened) == (2, 0, ((theirs.id,),))
    assert await lost.find_credential(TENANT, theirs.id) == theirs
    await lost.close()


async def test_a_removed_subscriptions_empty_secrets_are_moved_too(database_url: str, store: Store) -> None:
    old, both = open_store(database_url, Cipher([OLD])), open_store(database_url, Cipher([NEW, OLD]))
    gone = subscription(signing_keys=(signing_key(),))
    await old.add_subscription(gone)
    await old.remove_subscription(TENANT, gone.id, NOW)
    assert await resealed(both, "subscriptions") == (1, 1)
    await old.close()
    await both.close()


async def test_public_keys_are_listed_while_they_sign_and_the_private_ones_are_sealed(store: Store) -> None:
    living, ending = signing_key(), replace(signing_key(), expires_at=NOW + SECOND)
    both, none, gone = subscription(signing_keys=(living, ending)), subscription(), subscription(tenant="other")
    gone = replace(gone, signing_keys=(signing_key(),))
    for one in (both, none, gone):
        await store.add_subscription(one)
    assert await store.find_subscription(TENANT, both.id) == both
    assert await store.list_public_keys(NOW, 10) == {living.public, ending.public, gone.signing_keys[0].public}
    await store.remove_subscription("other", gone.id, NOW)
    assert await store.list_public_keys(NOW + SECOND, 10) == {living.public}
    async with store._database.reader.connect() as connection:
        rows = (await connection.execute(metadata.tables["subscriptions"].select())).all()
    assert "whsk_" not in str(rows)
    assert living.public in str(rows)
