"""Signatures: the published vectors byte for byte, every way to be refused, and the official library as judge."""

import base64
import json
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from relay.clock import Clock
from relay.egress import Answered, Egress, Guard, Outgoing
from relay.webhooks.signing import (
    SignatureRefused,
    check_secret,
    jwk_of,
    new_secret,
    new_signing_key,
    public_key_of,
    sign,
    signature_header,
    verify,
)
from tests.receivers import Receiver, answering

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "signatures.json").read_text())
NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
SECRET = new_secret(bytes(range(32)))
OLD_SECRET = new_secret(bytes(range(1, 33)))
SIGNING_KEY = new_signing_key(bytes(range(32)))
BODY = '{"text":"žluťoučký kůň 🐎","b":1.10,"a":1e5}'.encode()


def headers_of(signature: str, at: datetime = NOW) -> dict[str, str]:
    """As a receiver gets them; the case of names is not ours to rely on."""
    return {
        "Webhook-Id": "evt_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "WEBHOOK-SIGNATURE": signature,
    }


def signed(secret: str = SECRET, at: datetime = NOW) -> str:
    """The right signature of BODY."""
    return sign(secret, "evt_1", int(at.timestamp()), BODY)


def refusal(headers: dict[str, str], body: bytes = BODY, secret: str = SECRET) -> str:
    """Why the call is refused, which it must be."""
    with pytest.raises(SignatureRefused) as caught:
        verify(secret, headers, body, NOW)
    return caught.value.reason


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_published_vector_comes_out_byte_for_byte(vector: dict[str, Any]) -> None:
    assert sign(vector["secret"], vector["id"], vector["ts"], vector["body"].encode()) == vector["sig"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_published_vector_verifies_at_its_own_time(vector: dict[str, Any]) -> None:
    headers = {
        "webhook-id": vector["id"],
        "webhook-timestamp": str(vector["ts"]),
        "webhook-signature": vector["sig"],
    }
    now = datetime.fromtimestamp(vector["ts"], UTC)
    verify(vector.get("public", vector["secret"]), headers, vector["body"].encode(), now)


def test_a_signature_with_another_last_character_is_refused() -> None:
    right = signed()
    raw = bytearray(base64.b64decode(right.removeprefix("v1,")))
    raw[-1] ^= 1
    assert refusal(headers_of("v1," + base64.b64encode(raw).decode())) == "no_match"
    for last in string.ascii_letters + string.digits + "+/":
        if last != right[-2]:  # three differ from the right one only in bits that base64 does not use
            assert refusal(headers_of(f"{right[:-2]}{last}=")) == "no_match"


@pytest.mark.parametrize("entry", ["v1,", "v1", ",", "", " ", "v1,=", "v1,%%%", "v1,AAAA", "v1a,", "v1,ä", "v1, v1,"])
def test_a_malformed_entry_is_refused_and_raises_nothing_else(entry: str) -> None:
    assert refusal(headers_of(entry)) in {"no_match", "missing_header"}


@pytest.mark.parametrize("entry", ["v1", "v1,", "v1,%%%", "nonsense", "v1,a,b", "v1a,%%%", "v1a,AAAA", "", "v9,AAAA"])
def test_a_malformed_or_unknown_entry_beside_a_good_one_does_no_harm(entry: str) -> None:
    verify(SECRET, headers_of(f"{entry} {signed()} {entry}"), BODY, NOW)


def test_the_right_signature_under_an_unknown_version_is_not_taken() -> None:
    assert refusal(headers_of(signed().replace("v1,", "v2,"))) == "no_match"


@pytest.mark.parametrize("name", ["Webhook-Id", "webhook-timestamp", "WEBHOOK-SIGNATURE"])
def test_a_missing_header_is_refused(name: str) -> None:
    headers = headers_of(signed())
    del headers[name]
    assert refusal(headers) == "missing_header"


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_call_within_five_minutes_is_taken(seconds: int) -> None:
    at = NOW + timedelta(seconds=seconds)
    verify(SECRET, headers_of(signed(at=at), at), BODY, NOW)


@pytest.mark.parametrize(("seconds", "reason"), [(-301, "too_old"), (301, "too_new")])
def test_a_call_one_second_beyond_five_minutes_is_refused(seconds: int, reason: str) -> None:
    at = NOW + timedelta(seconds=seconds)
    assert refusal(headers_of(signed(at=at), at)) == reason


@pytest.mark.parametrize("text", ["now", "1.5", "-1", "+1", "1e9", " 1", "0x1", "٣", "9" * 40, "1_0"])
def test_a_timestamp_that_is_no_whole_number_is_refused(text: str) -> None:
    assert refusal({**headers_of(signed()), "webhook-timestamp": text}) == "bad_timestamp"


def test_another_id_another_body_and_another_secret_do_not_verify() -> None:
    assert refusal({**headers_of(signed()), "Webhook-Id": "evt_2"}) == "no_match"
    assert refusal(headers_of(signed()), body=BODY + b" ") == "no_match"
    assert refusal(headers_of(signed()), secret=OLD_SECRET) == "no_match"


def test_while_a_secret_rotates_both_verify_and_the_newest_signs_first() -> None:
    header = signature_header([SECRET, OLD_SECRET], "evt_1", int(NOW.timestamp()), BODY)
    assert header == f"{signed(SECRET)} {signed(OLD_SECRET)}"
    verify(SECRET, headers_of(header), BODY, NOW)
    verify(OLD_SECRET, headers_of(header), BODY, NOW)
    verify([new_secret(bytes(32)), OLD_SECRET], headers_of(signed(OLD_SECRET)), BODY, NOW)


def test_both_versions_stand_side_by_side_and_each_verifies_alone() -> None:
    header = signature_header([SECRET, SIGNING_KEY], "evt_1", int(NOW.timestamp()), BODY)
    assert [entry.split(",")[0] for entry in header.split(" ")] == ["v1", "v1a"]
    for secret in (SECRET, SIGNING_KEY, public_key_of(SIGNING_KEY)):
        verify(secret, headers_of(header), BODY, NOW)
    assert refusal(headers_of(header), secret=public_key_of(new_signing_key(bytes(32)))) == "no_match"


def test_a_public_key_is_published_as_rfc_8037_writes_it() -> None:
    # The key pair and its thumbprint are those of RFC 8037, appendix A.
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    jwk = jwk_of(public_key_of(new_signing_key(seed)))
    assert jwk["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert jwk["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert (jwk["kty"], jwk["crv"], jwk["use"], jwk["alg"]) == ("OKP", "Ed25519", "sig", "EdDSA")


def test_a_published_key_verifies_what_was_signed() -> None:
    jwk = jwk_of(public_key_of(SIGNING_KEY))
    key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "="))
    key.verify(base64.b64decode(signed(SIGNING_KEY).removeprefix("v1a,")), b"evt_1.%d." % NOW.timestamp() + BODY)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "secret",
        base64.b64encode(bytes(32)).decode(),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_" + base64.b64encode(bytes(32)).decode().rstrip("="),
        "whsec_" + base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        "whsec_!!!!" + base64.b64encode(bytes(32)).decode(),
        "whsec_" + base64.b64encode(bytes(32)).decode() + "\n",
        "whsec_ä" + base64.b64encode(bytes(32)).decode(),
        "whsk_" + base64.b64encode(bytes(64)).decode(),
        "WHSEC_" + base64.b64encode(bytes(32)).decode(),
    ],
)
def test_a_bad_secret_is_refused_with_a_sentence_that_does_not_hold_it(secret: str) -> None:
    fault = check_secret(secret)
    assert fault
    assert len(secret) <= 6 or secret not in fault


@pytest.mark.parametrize("count", [24, 32, 64])
def test_a_secret_of_the_standard_lengths_is_taken(count: int) -> None:
    assert check_secret("whsec_" + base64.b64encode(b"\xfb" * count).decode()) is None


def test_new_secrets_pass_their_own_check_and_need_enough_entropy() -> None:
    assert check_secret(new_secret(bytes(32))) is None
    for make in (new_secret, new_signing_key):
        with pytest.raises(ValueError, match="32 random bytes"):
            make(bytes(31))


@pytest.mark.parametrize("secret", ["", "whsec", "whpk_AAAA", "whsec_%%%"])
def test_signing_with_what_is_no_secret_raises(secret: str) -> None:
    with pytest.raises(ValueError, match=r"key|base64|padding|Only"):
        sign(secret, "evt_1", 1, b"")


@given(st.binary(), st.binary(min_size=32, max_size=32), st.integers(0, 2**33), st.text(min_size=1, max_size=40))
def test_what_was_signed_verifies_and_what_was_changed_does_not(
    body: bytes, entropy: bytes, timestamp: int, message_id: str
) -> None:
    secret, now = new_secret(entropy), datetime.fromtimestamp(timestamp, UTC)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, message_id, timestamp, body),
    }
    verify(secret, headers, body, now)
    with pytest.raises(SignatureRefused):
        verify(secret, headers, body + b"!", now)


@given(st.text())
def test_no_signature_header_makes_the_verifier_raise_anything_else(header: str) -> None:
    with pytest.raises(SignatureRefused):
        verify([SECRET, SIGNING_KEY], headers_of(header), BODY, NOW)


@given(st.binary(min_size=24, max_size=64), st.dictionaries(st.text(), st.floats(allow_nan=False)))
def test_the_official_library_makes_the_same_signature(key: bytes, data: dict[str, float]) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    body = json.dumps(data, ensure_ascii=True)
    whole = NOW.replace(microsecond=0)
    assert sign(secret, "evt_1", int(whole.timestamp()), body.encode()) == Webhook(secret).sign("evt_1", whole, body)


async def test_the_official_library_accepts_a_real_delivery_and_the_wire_carries_the_bytes_that_were_signed() -> None:
    now = Clock().now()
    timestamp = int(now.timestamp())
    headers = {
        "content-type": "application/json",
        "webhook-id": "evt_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature_header([OLD_SECRET, SECRET, SIGNING_KEY], "evt_1", timestamp, BODY),
    }
    async with (
        Receiver(answering(204)) as receiver,
        Egress(Guard(["127.0.0.1"], allow_http=True), "relay/test") as egress,
    ):
        answered = await egress.send(Outgoing("POST", receiver.url("/hook"), headers, BODY))
    assert isinstance(answered, Answered)
    assert answered.status_code == 204
    call = receiver.calls[0]
    assert call.body == BODY
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(call.body, dict(call.headers))
    verify(public_key_of(SIGNING_KEY), dict(call.headers), call.body, now)
