"""API keys and calls that are made once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain.place import Place
from relay.store import OpenCall, SavedCall, Store
from relay.store.keys import CALL_KEPT_SECONDS, LIFE_SECONDS
from tests.store.facts import NOW, SECOND, TENANT, key, opened


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


async def test_a_key_made_again_in_a_call_takes_the_place_of_the_first_while_the_call_is_ours(store: Store) -> None:
    call = await opened(store)
    first = key()
    assert await store.add_key(first, call)
    late = NOW + (LIFE_SECONDS + 1) * SECOND
    second = replace(first, digest="another digest")
    assert await store.add_key(second, await opened(store, at=late))
    assert await store.list_keys(TENANT) == [second]
    assert not await store.add_key(replace(first, digest="a third"), call)
    assert await store.list_keys(TENANT) == [second]


async def test_a_call_is_given_once_and_then_remembered(store: Store) -> None:
    call = await opened(store)
    assert (call.opened_at, call.is_first) == (NOW, True)
    in_flight = await store.open_call(TENANT, "k", "print", "req_2", NOW + SECOND)
    assert isinstance(in_flight, SavedCall)
    assert (in_flight.status_code, in_flight.fingerprint, in_flight.created_at) == (None, "print", NOW)
    assert in_flight.lives_until == NOW + LIFE_SECONDS * SECOND
    assert await store.close_call(call, 201, {"location": "/v1/keys/1"}, b'{"key":"rl_\xc3\xa4"}\x00\xff')
    saved = await store.open_call(TENANT, "k", "another print", "req_3", NOW + timedelta(hours=23))
    assert isinstance(saved, SavedCall)
    assert (saved.fingerprint, saved.status_code, saved.headers) == ("print", 201, {"location": "/v1/keys/1"})
    assert saved.body == b'{"key":"rl_\xc3\xa4"}\x00\xff'
    assert await store.recall_call(call) == saved
    await opened(store, tenant="another tenant")


async def test_an_answer_that_is_saved_stays_and_only_the_holder_of_a_call_saves_one(store: Store) -> None:
    first = await opened(store)
    second = await opened(store, at=NOW + (LIFE_SECONDS + 1) * SECOND)
    assert not await store.close_call(first, 200, {}, b"late")
    assert not await store.keep_call(first, NOW)
    await store.leave_call(first, NOW)
    await store.forget_call(first)
    assert await store.close_call(second, 201, {}, b"the answer")
    assert not await store.close_call(second, 200, {}, b"another")
    assert not await store.keep_call(second, NOW)
    await store.forget_call(second)
    saved = await store.recall_call(first)
    assert saved is not None
    assert (saved.status_code, saved.body) == (201, b"the answer")


async def test_a_forgotten_call_may_be_made_again(store: Store) -> None:
    call = await opened(store)
    await store.forget_call(call)
    assert await store.recall_call(call) is None
    again = await store.open_call(TENANT, "k", "another print", "req_2", NOW + SECOND)
    assert isinstance(again, OpenCall)
    assert (again.is_first, again.opened_at) == (True, NOW + SECOND)


async def test_a_call_whose_process_died_is_taken_over_by_its_repetition_alone(store: Store) -> None:
    late = NOW + (LIFE_SECONDS + 1) * SECOND
    await opened(store)
    assert isinstance(await store.open_call(TENANT, "k", "another print", "req_2", late), SavedCall)
    again = await opened(store, at=late)
    assert (again.is_first, again.opened_at) == (False, NOW)
    assert isinstance(await store.open_call(TENANT, "k", "print", "req_3", late), SavedCall)


async def test_a_call_that_gives_signs_of_life_is_not_taken_over_and_one_that_was_left_is_at_once(store: Store) -> None:
    call = await opened(store)
    assert await store.keep_call(call, NOW + 6 * SECOND)
    assert isinstance(await store.open_call(TENANT, "k", "print", "req_2", NOW + 12 * SECOND), SavedCall)
    await store.leave_call(call, NOW + 12 * SECOND)
    assert not (await opened(store, at=NOW + 12 * SECOND)).is_first


@pytest.mark.parametrize("is_answered", [True, False])
async def test_a_day_after_a_call_its_key_is_new_again(store: Store, is_answered: bool) -> None:
    first = await opened(store)
    if is_answered:
        assert await store.close_call(first, 201, {}, b"the answer")
    day = NOW + CALL_KEPT_SECONDS * SECOND
    again = await store.open_call(TENANT, "k", "another print", "req_2", day)
    assert isinstance(again, OpenCall)
    assert (again.is_first, again.opened_at) == (True, day)
    in_flight = await store.recall_call(again)
    assert in_flight is not None
    assert (in_flight.status_code, in_flight.fingerprint, in_flight.body) == (None, "another print", b"")


async def test_calls_of_the_day_before_are_forgotten_in_small_batches(store: Store) -> None:
    for number in range(3):
        await opened(store, f"old {number}")
    call = await opened(store, "fresh", at=NOW + SECOND)
    day = NOW + CALL_KEPT_SECONDS * SECOND
    assert [await store.forget_calls(day, 2) for _ in range(3)] == [2, 1, 0]
    assert await store.recall_call(call) is not None
