"""API keys and calls that are made once."""

from datetime import timedelta

from relay.domain.place import Place
from relay.store import Store
from relay.store.keys import CALL_SECONDS_MAX
from tests.store.facts import NOW, SECOND, TENANT, key


async def test_a_key_is_found_by_its_digest_alone(store: Store) -> None:
    one = key()
    await store.add_key(one)
    assert await store.find_key(one.digest) == one
    assert await store.find_key("another digest") is None


async def test_a_key_is_recalled_by_its_id_until_it_is_revoked(store: Store) -> None:
    one = key()
    await store.add_key(one)
    assert await store.recall_key(one.id) == one
    assert await store.revoke_key(TENANT, one.id)
    assert await store.recall_key(one.id) is None


async def test_keys_are_listed_newest_first_and_in_pages(store: Store) -> None:
    first, second, third = key(), key(), key()
    for one in (second, third, first, key(tenant="another")):
        await store.add_key(one)
    assert await store.list_keys(TENANT) == [third, second, first]
    assert await store.list_keys(TENANT, None, 2) == [third, second]
    assert await store.list_keys(TENANT, Place(second.id), 2) == [first]
    assert await store.list_keys(TENANT, Place(first.id, is_newer=True), 2) == [third, second]
    assert await store.list_keys(TENANT, Place(first.id, is_newer=True), 1) == [second]


async def test_a_key_is_revoked_once_and_by_its_own_tenant(store: Store) -> None:
    one = key()
    await store.add_key(one)
    assert not await store.revoke_key("another", one.id)
    assert await store.revoke_key(TENANT, one.id)
    assert not await store.revoke_key(TENANT, one.id)
    assert await store.find_key(one.digest) is None


async def test_the_last_use_of_a_key_never_moves_back(store: Store) -> None:
    one = key()
    await store.add_key(one)
    await store.note_key_use(one.id, NOW + 2 * SECOND)
    await store.note_key_use(one.id, NOW + SECOND)
    found = await store.find_key(one.digest)
    assert found is not None
    assert found.last_used_at == NOW + 2 * SECOND


async def test_a_call_is_given_once_and_then_remembered(store: Store) -> None:
    assert await store.open_call(TENANT, "k", "print", NOW) is None
    in_flight = await store.open_call(TENANT, "k", "print", NOW + SECOND)
    assert in_flight is not None
    assert (in_flight.status_code, in_flight.fingerprint, in_flight.created_at) == (None, "print", NOW)
    await store.close_call(TENANT, "k", 201, {"location": "/v1/keys/1"}, b'{"key":"rl_\xc3\xa4"}\x00\xff')
    saved = await store.open_call(TENANT, "k", "another print", NOW + timedelta(days=1))
    assert saved is not None
    assert (saved.fingerprint, saved.status_code, saved.headers) == ("print", 201, {"location": "/v1/keys/1"})
    assert saved.body == b'{"key":"rl_\xc3\xa4"}\x00\xff'
    assert await store.open_call("another tenant", "k", "print", NOW) is None


async def test_a_forgotten_call_may_be_made_again(store: Store) -> None:
    assert await store.open_call(TENANT, "k", "print", NOW) is None
    await store.forget_call(TENANT, "k")
    assert await store.open_call(TENANT, "k", "another print", NOW) is None


async def test_a_call_whose_process_died_is_taken_over_by_its_repetition_alone(store: Store) -> None:
    late = NOW + (CALL_SECONDS_MAX + 1) * SECOND
    assert await store.open_call(TENANT, "k", "print", NOW) is None
    assert await store.open_call(TENANT, "k", "another print", late) is not None
    assert await store.open_call(TENANT, "k", "print", late) is None
    assert await store.open_call(TENANT, "k", "print", late) is not None
