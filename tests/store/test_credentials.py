"""Credentials: written whole, changed by compare-and-set, removed when nobody needs them."""

from dataclasses import replace

import pytest

from relay.domain.credential import CredentialStatus
from relay.domain.errors import Conflict
from relay.domain.place import Place
from relay.store import Cipher, Store, open_store
from tests.store.facts import NOW, SECOND, TENANT, announcement, credential, event, job, registrations


async def test_a_credential_comes_back_as_it_was_written(store: Store) -> None:
    one = credential(
        status=CredentialStatus.THROTTLED, status_reason="429", throttled_until=NOW + SECOND, base_url=None
    )
    assert await store.add_credential(one)
    assert await store.find_credential(TENANT, one.id) == one
    assert await store.find_credential("another", one.id) is None
    assert await store.load_credentials([one.id, "crd_absent"]) == {one.id: one}
    assert await store.load_credentials([]) == {}


async def test_a_taken_name_is_refused_for_the_same_tenant_and_provider_alone(store: Store) -> None:
    assert await store.add_credential(credential(name="main"))
    assert await store.add_credential(credential(name="main")) is None
    assert await store.add_credential(credential(name="main", provider="vocu"))
    assert await store.add_credential(credential(name="main", tenant="another"))


async def test_the_same_id_again_gives_what_is_there(store: Store) -> None:
    one = credential(name="main")
    assert await store.add_credential(one) == one
    assert await store.add_credential(replace(one, updated_at=NOW + SECOND)) == one
    assert await store.add_credential(replace(one, name="other")) == one


async def test_credentials_are_listed_by_what_they_are(store: Store) -> None:
    old, new = credential(name="old"), credential(name="new", status=CredentialStatus.AUTH_FAILED)
    other = credential(name="old", provider="vocu")
    for one in (old, new, other, credential(tenant="another")):
        await store.add_credential(one)
    assert await store.find_credentials(TENANT) == [other, new, old]
    assert await store.find_credentials(TENANT, provider="camb") == [new, old]
    assert await store.find_credentials(TENANT, name="old") == [other, old]
    assert await store.find_credentials(TENANT, status=CredentialStatus.AUTH_FAILED) == [new]
    assert await store.find_credentials(TENANT, place=Place(new.id), limit=1) == [old]


async def test_a_change_is_made_by_whoever_comes_first(store: Store) -> None:
    before = credential()
    await store.add_credential(before)
    first = replace(before, name="first", secrets={"api_key": "new"}, updated_at=NOW + SECOND)
    second = replace(before, name="second", updated_at=NOW + SECOND)
    assert await store.change_credential(first, before.updated_at)
    assert not await store.change_credential(second, before.updated_at)
    assert not await store.change_credential(replace(first, tenant="another"), first.updated_at)
    assert await store.find_credential(TENANT, before.id) == first


async def test_a_change_to_a_taken_name_is_a_conflict(store: Store) -> None:
    one, other = credential(), credential()
    await store.add_credential(one)
    await store.add_credential(other)
    with pytest.raises(Conflict) as raised:
        await store.change_credential(replace(one, name=other.name), one.updated_at)
    assert raised.value.code == "name_taken"
    assert await store.find_credential(TENANT, one.id) == one


async def test_a_mark_is_made_from_the_expected_status_alone_and_told_with_it(store: Store) -> None:
    one = credential()
    await store.add_credential(one)
    told = announcement(event(type="credential.paused"), "sub_1")
    until = NOW + 60 * SECOND
    failed = CredentialStatus.AUTH_FAILED
    active = {CredentialStatus.ACTIVE, CredentialStatus.THROTTLED}
    marked = await store.mark_credential(one.id, failed, "401", until, NOW + SECOND, only_from=active, entries=[told])
    assert marked
    again = announcement(event(type="credential.paused"), "sub_1")
    marked = await store.mark_credential(one.id, failed, "403", None, NOW, only_from=active, entries=[again])
    assert not marked
    expected = replace(one, status=failed, status_reason="401", throttled_until=until, updated_at=NOW + SECOND)
    assert await store.find_credential(TENANT, one.id) == expected
    assert await store.list_events(TENANT) == [told.event]
    assert await store.list_deliveries(TENANT) == list(told.deliveries)
    assert not await store.mark_credential("crd_absent", failed, None, None, NOW, only_from=active)


async def test_a_credential_in_use_is_not_removed(store: Store) -> None:
    one = credential()
    await store.add_credential(one)
    watched = job(credential_id=one.id)
    await store.register_jobs(registrations(watched))
    assert await store.remove_credential(TENANT, one.id) == "in_use"
    assert await store.remove_credential("another", one.id) == "absent"
    await store.cancel_job(TENANT, watched.id, NOW)
    assert await store.remove_credential(TENANT, one.id) == "removed"
    assert await store.remove_credential(TENANT, one.id) == "absent"


async def test_a_credential_of_the_environment_is_put_and_put_again_without_a_trace(store: Store) -> None:
    one = credential(id="crd_env", name="default")
    assert await store.put_credential(one) == one
    active = {CredentialStatus.ACTIVE}
    await store.mark_credential("crd_env", CredentialStatus.AUTH_FAILED, "401", None, NOW + SECOND, only_from=active)
    again = await store.put_credential(replace(one, updated_at=NOW + 9 * SECOND))
    assert (again.status, again.updated_at) == (CredentialStatus.AUTH_FAILED, NOW + SECOND)


async def test_new_secrets_from_the_environment_replace_the_old_and_their_status(store: Store) -> None:
    one = credential(name="default")
    await store.put_credential(one)
    active = {CredentialStatus.ACTIVE}
    await store.mark_credential(one.id, CredentialStatus.AUTH_FAILED, "401", None, NOW, only_from=active)
    fresh = credential(name="default", secrets={"api_key": "fresh"}, params={}, updated_at=NOW + SECOND)
    put = await store.put_credential(fresh)
    assert put == replace(fresh, id=one.id, created_at=one.created_at)
    assert await store.find_credential(TENANT, one.id) == put


async def test_what_an_owner_has_set_outlives_the_environments_next_word(store: Store) -> None:
    plain = {"base_url": None, "max_requests_per_second": None, "max_concurrency": None}
    one = credential(id="crd_env", name="default", **plain)
    await store.put_credential(one)
    own = {"base_url": "https://cn-east-3.example.com", "max_requests_per_second": 2.0, "max_concurrency": 3}
    changed = replace(one, **own, updated_at=NOW + SECOND)
    await store.change_credential(changed, one.updated_at)
    assert await store.put_credential(one) == changed
    fresh = replace(one, secrets={"api_key": "fresh"}, updated_at=NOW + 2 * SECOND)
    assert await store.put_credential(fresh) == replace(fresh, **own)


async def test_a_renamed_credential_of_the_environment_is_still_the_same(store: Store) -> None:
    one = credential(id="crd_env", name="default")
    await store.put_credential(one)
    await store.change_credential(replace(one, name="mine", updated_at=NOW + SECOND), one.updated_at)
    put = await store.put_credential(replace(one, secrets={"api_key": "fresh"}))
    assert (put.id, put.name, put.secrets) == ("crd_env", "mine", {"api_key": "fresh"})


async def test_what_no_key_opens_any_more_is_replaced_from_the_environment(store: Store, database_url: str) -> None:
    one = credential(name="default")
    await store.put_credential(one)
    other = open_store(database_url, Cipher(["another key"]))
    assert await other.put_credential(one) == one
    assert await other.find_credential(TENANT, one.id) == one
    await other.close()
