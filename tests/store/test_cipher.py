"""Secrets at rest open with any of the keys and with no other."""

import pytest

from relay.domain.errors import BadSettings
from relay.store import Cipher, Store, open_store
from relay.store.tables import metadata
from tests.store.facts import TENANT, credential, opened, subscription


def test_what_was_encrypted_is_decrypted() -> None:
    cipher = Cipher(["any string at all – ключ"])
    sealed = cipher.encrypt("a secret – 秘密")
    assert "secret" not in sealed
    assert cipher.decrypt(sealed) == "a secret – 秘密"
    assert cipher.encrypt("a secret – 秘密") != sealed


def test_an_older_key_still_opens_and_rotation_moves_to_the_newest() -> None:
    sealed = Cipher(["old"]).encrypt("a secret")
    rotated = Cipher(["new", "old"]).rotate(sealed)
    assert Cipher(["new", "old"]).decrypt(sealed) == "a secret"
    assert Cipher(["new"]).decrypt(rotated) == "a secret"
    with pytest.raises(BadSettings, match="RELAY_SECRET_KEY"):
        Cipher(["old"]).decrypt(rotated)


def test_a_text_that_no_key_opens_is_not_in_the_error() -> None:
    sealed = Cipher(["old"]).encrypt("a secret")
    for text_ in (sealed, sealed[:-8], "no token at all", ""):
        with pytest.raises(BadSettings) as raised:
            Cipher(["new"]).decrypt(text_)
        assert sealed[:20] not in str(raised.value)
        assert raised.value.__cause__ is None


@pytest.mark.parametrize("keys", [[], [""], ["good", ""]])
def test_a_missing_key_is_refused(keys: list[str]) -> None:
    with pytest.raises(BadSettings, match="RELAY_SECRET_KEY is empty"):
        Cipher(keys)


async def test_no_secret_is_in_the_database_in_clear(store: Store) -> None:
    await store.add_credential(credential(secrets={"api_key": "in-clear-1"}))
    await store.add_subscription(subscription(headers={"x-token": "in-clear-2"}))
    assert await store.close_call(await opened(store), 201, {}, b"in-clear-3")
    async with store._database.reader.connect() as connection:
        for table in ("credentials", "subscriptions", "idempotency"):
            rows = (await connection.execute(metadata.tables[table].select())).all()
            assert len(rows) == 1
            assert "in-clear" not in str(rows)
            assert "whsec" not in str(rows)


async def test_a_row_that_no_key_opens_raises_alone_and_comes_without_secrets_among_others(
    store: Store, database_url: str
) -> None:
    lost, listener = credential(), subscription()
    await store.add_credential(lost)
    await store.add_subscription(listener)
    other = open_store(database_url, Cipher(["another key"]))
    good = credential(secrets={"api_key": "good"})
    await other.add_credential(good)
    with pytest.raises(BadSettings):
        await other.find_credential(TENANT, lost.id)
    with pytest.raises(BadSettings):
        await other.find_subscription(TENANT, listener.id)
    loaded = await other.load_credentials([lost.id, good.id])
    assert loaded[lost.id].secrets == {}
    assert loaded[good.id] == good
    listening = (await other.listening({TENANT}))[TENANT]
    assert [(one.id, one.secrets, one.headers) for one in listening] == [(listener.id, (), {})]
    await other.close()
