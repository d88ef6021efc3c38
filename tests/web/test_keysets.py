"""Signatures with ed25519, asked for, published and rotated, as a receiver without any secret verifies them."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import WebhookVerificationError

from relay.domain.key import SCOPES
from relay.domain.moments import rfc3339, seconds_after
from relay.webhooks.signing import verify
from tests.receivers import Call, Receiver, answering
from tests.trips import until, verified, working
from tests.web.house import House, faults, refused, told

BOTH = ["v1", "v1a"]
WELL_KNOWN = "/.well-known/jwks.json"


async def published(house: House) -> dict[str, dict[str, str]]:
    """The keys of the open route by their ids, read by somebody without a key of the API."""
    house.app.state.published.read_at = None  # a set may be a second old
    async with house.client(None) as anybody:
        response = await anybody.get(WELL_KNOWN)
    assert response.headers["content-type"] == "application/jwk-set+json"
    return {key["kid"]: key for key in told(response)["keys"]}


async def a_call(house: House, subscription: dict[str, Any], receiver: Receiver) -> Call:
    """The next call of the subscription, a test event."""
    count = len(receiver.calls)
    told(await house.api.post(f"/v1/subscriptions/{subscription['id']}/test"), 202)
    async with working(house.relay):
        return (await receiver.heard(count + 1, 15))[count]


def signatures_of(call: Call) -> list[str]:
    return (call.header("webhook-signature") or "").split(" ")


def fits(call: Call, jwk: dict[str, str]) -> bool:
    """Whether one of the call's v1a signatures is the key's, by RFC 8037 alone."""
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "=="))
    content = f"{call.header('webhook-id')}.{call.header('webhook-timestamp')}.".encode() + call.body
    for signature in signatures_of(call):
        version, _, text = signature.partition(",")
        if version == "v1a":
            with suppress(InvalidSignature):
                public.verify(base64.b64decode(text), content)
                return True
    return False


async def test_without_being_asked_for_there_is_no_key_and_no_second_signature(house: House) -> None:
    async with Receiver(answering(204)) as receiver:
        made = await house.add_subscription(receiver.url("/hook"))
        assert (made["signatures"], made["public_keys"]) == (["v1"], [])
        call = await a_call(house, made, receiver)
    assert [one.partition(",")[0] for one in signatures_of(call)] == ["v1"]
    assert await published(house) == {}


async def test_a_call_carries_both_signatures_and_each_verifies_by_itself(house: House) -> None:
    async with Receiver(answering(204)) as receiver:
        made = await house.add_subscription(receiver.url("/hook"), signatures=BOTH)
        call = await a_call(house, made, receiver)
    assert [one.partition(",")[0] for one in signatures_of(call)] == ["v1", "v1a"]
    verified(call, made["secret"])  # the official library, which passes over what it does not know
    (key,) = made["public_keys"]
    verify(key["public_key"], dict(call.headers), call.body, house.relay.clock.now())
    keys = await published(house)
    assert set(keys) == {key["kid"]}
    jwk = keys[key["kid"]]
    assert {name: jwk[name] for name in ("kty", "crv", "alg", "use")} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
    }
    assert fits(call, jwk)


async def test_rotation_overlaps_for_secrets_and_keys_alike(house: House) -> None:
    async with Receiver(answering(204)) as receiver:
        made = await house.add_subscription(receiver.url("/hook"), signatures=BOTH)
        path = f"/v1/subscriptions/{made['id']}"
        rotations = [told(await house.api.post(f"{path}/secret/rotation"), 201) for _ in range(2)]
        secrets = [made["secret"], *(one["secret"] for one in rotations)]
        call = await a_call(house, made, receiver)
        shown = told(await house.api.get(path))
        assert len(signatures_of(call)) == 6
        for secret in secrets:
            verified(call, secret)
        keys = await published(house)
        assert set(keys) == {key["kid"] for key in shown["public_keys"]}
        assert len(keys) == 3
        assert all(fits(call, jwk) for jwk in keys.values())
        ended = told(await house.api.post(f"{path}/secret/rotation", json={"overlap_seconds": 0}), 201)
        last = await a_call(house, made, receiver)
        assert len(signatures_of(last)) == 2
        verified(last, ended["secret"])
        for secret in secrets:
            with pytest.raises(WebhookVerificationError):
                verified(last, secret)
        (only,) = (await published(house)).values()
        assert fits(last, only)
        assert not any(fits(last, jwk) for jwk in keys.values())


async def test_after_the_overlap_the_old_secret_does_not_verify_any_more(house: House) -> None:
    async with Receiver(answering(204)) as receiver:
        made = await house.add_subscription(receiver.url("/hook"))
        path = f"/v1/subscriptions/{made['id']}/secret"
        new = told(await house.api.post(f"{path}/rotation", json={"overlap_seconds": 1}), 201)
        ends = new["secrets"][1]["expires_at"]
        await until(lambda: (rfc3339(house.relay.clock.now()) or "") > ends)
        after = await a_call(house, made, receiver)
    verified(after, new["secret"])
    with pytest.raises(WebhookVerificationError):
        verified(after, made["secret"])
    assert [one["secret"] for one in told(await house.api.get(path))["secrets"]] == [new["secret"]]


async def test_a_key_whose_overlap_has_ended_is_not_published_any_more(house: House) -> None:
    made = await house.add_subscription(signatures=BOTH)
    told(await house.api.post(f"/v1/subscriptions/{made['id']}/secret/rotation", json={"overlap_seconds": 60}), 201)
    now = house.relay.clock.now()
    assert len(await house.relay.store.list_public_keys(now, 10)) == 2
    assert len(await house.relay.store.list_public_keys(seconds_after(now, 61), 10)) == 1


async def test_it_is_switched_on_and_off_by_a_patch(house: House) -> None:
    made = await house.add_subscription()
    path = f"/v1/subscriptions/{made['id']}"
    switched_on = told(await house.api.patch(path, json={"signatures": BOTH}))
    assert switched_on["signatures"] == BOTH
    (key,) = switched_on["public_keys"]
    assert told(await house.api.patch(path, json={"description": "kept"}))["public_keys"] == [key]
    assert told(await house.api.patch(path, json={"signatures": BOTH}))["public_keys"] == [key]
    off = told(await house.api.patch(path, json={"signatures": ["v1"]}))
    assert (off["signatures"], off["public_keys"]) == (["v1"], [])
    assert await published(house) == {}
    again = told(await house.api.patch(path, json={"signatures": BOTH}))
    assert again["public_keys"][0]["kid"] != key["kid"]
    assert told(await house.api.patch(path, json={"signatures": None}))["signatures"] == ["v1"]


@pytest.mark.parametrize(
    ("signatures", "pointer"),
    [(["v1a"], "/signatures"), ([], "/signatures"), (["v1", "v2"], "/signatures/1"), ("v1", "/signatures")],
)
async def test_signatures_that_there_are_not_are_refused(house: House, signatures: Any, pointer: str) -> None:
    body = {"url": "http://127.0.0.1:9/hook", "signatures": signatures}
    assert set(faults(refused(await house.api.post("/v1/subscriptions", json=body), 422))) == {pointer}


async def test_the_published_keys_tell_nothing_of_whose_they_are(house: House) -> None:
    mine = [await house.add_subscription(signatures=BOTH) for _ in range(2)]
    async with house.client(await house.new_key(*SCOPES, tenant="other")) as other:
        body = {"url": "http://127.0.0.1:9/hook", "signatures": BOTH}
        theirs = told(await other.post("/v1/subscriptions", json=body), 201)
        gone = told(await other.post("/v1/subscriptions", json=body), 201)
        await other.delete(f"/v1/subscriptions/{gone['id']}")
    keys = await published(house)
    assert set(keys) == {one["public_keys"][0]["kid"] for one in [*mine, theirs]}
    assert list(keys) == sorted(keys)  # neither by age nor by tenant
    assert all(set(key) == {"kty", "crv", "x", "use", "alg", "kid"} for key in keys.values())
    text = json.dumps(keys)
    assert not any(word in text for word in ("sub_", "acme", "other", "whsk_", mine[0]["id"]))


async def test_private_keys_are_shown_nowhere(house: House) -> None:
    made = await house.add_subscription(signatures=BOTH)
    path = f"/v1/subscriptions/{made['id']}"
    answers = [
        json.dumps(made),
        (await house.api.get(path)).text,
        (await house.api.get("/v1/subscriptions")).text,
        (await house.api.get(f"{path}/secret")).text,
        (await house.api.post(f"{path}/secret/rotation")).text,
    ]
    assert not any("whsk_" in text for text in answers)
    stored = await house.relay.store.find_subscription("acme", made["id"])
    assert stored is not None
    assert len(stored.signing_keys) == 2
    assert all(one.private.startswith("whsk_") for one in stored.signing_keys)
    assert "whsk_" not in repr(stored)
