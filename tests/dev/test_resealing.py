"""The move to a new key of the encryption says how far it is, and what it could not do."""

from relay.clock import Clock
from relay.dev.resealing import BATCH_ROWS, PROGRESS_ROWS, Resealing
from relay.store import Cipher, Store, open_store
from relay.store.tables import credentials
from tests.store.facts import TENANT, credential

OLD, NEW = "the key of last year", "the key of this year"


async def many(store: Store, count: int) -> None:
    """So many credentials, in one go."""
    rows = [store._vault.credential_row(credential(name=f"name {number}")) for number in range(count)]
    async with store._database.writer.begin() as connection:
        await connection.execute(credentials.insert(), rows)


async def lines_of(store: Store) -> tuple[list[str], Resealing]:
    resealing = Resealing(store, Clock())
    return [line async for line in resealing.run()], resealing


async def test_a_long_run_tells_of_its_progress_and_changes_every_row_once(database_url: str, store: Store) -> None:
    count = PROGRESS_ROWS + BATCH_ROWS + 1
    old, both = open_store(database_url, Cipher([OLD])), open_store(database_url, Cipher([NEW, OLD]))
    await many(old, count)
    lines, resealing = await lines_of(both)
    assert lines[:2] == [
        f"credentials: {PROGRESS_ROWS} of {count}",
        f"credentials: all {count}, of which {count} were under an older key",
    ]
    assert lines[-1].startswith("every secret in the database is under the newest key")
    assert resealing.unopened == []
    again, _ = await lines_of(both)
    assert f"credentials: all {count}, of which 0 were under an older key" in again
    await old.close()
    await both.close()


async def test_a_run_that_is_broken_off_in_the_middle_loses_nothing(database_url: str, store: Store) -> None:
    count = PROGRESS_ROWS + BATCH_ROWS
    old, both = open_store(database_url, Cipher([OLD])), open_store(database_url, Cipher([NEW, OLD]))
    await many(old, count)
    run = Resealing(both, Clock()).run()
    assert await anext(run) == f"credentials: {PROGRESS_ROWS} of {count}"
    await run.aclose()  # as when the terminal is closed
    assert len(await both.find_credentials(TENANT, limit=count)) == count
    lines, _ = await lines_of(both)
    assert f"credentials: all {count}, of which {BATCH_ROWS} were under an older key" in lines
    await old.close()
    await both.close()


async def test_what_no_key_opens_is_named_and_the_rest_is_done(database_url: str, store: Store) -> None:
    old, other = open_store(database_url, Cipher([OLD])), open_store(database_url, Cipher(["nobody's"]))
    theirs, mine = credential(name="a"), credential(name="b")
    await other.add_credential(theirs)
    await old.add_credential(mine)
    both = open_store(database_url, Cipher([NEW, OLD]))
    lines, resealing = await lines_of(both)
    assert resealing.unopened == [f"credentials {theirs.id}"]
    assert f"not opened: credentials {theirs.id}" in lines
    assert "1 rows are left as they were" in lines[-1]
    new = open_store(database_url, Cipher([NEW]))
    assert await new.find_credential(TENANT, mine.id) == mine
    for one in (old, other, both, new):
        await one.close()
