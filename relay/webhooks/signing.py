"""Standard Webhooks signatures, made and checked: what lets a receiver know that a call is ours, whole, and of now."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from itsdangerous import HMACAlgorithm

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
SECRET_PREFIX = "whsec_"
SIGNING_KEY_PREFIX = "whsk_"
PUBLIC_KEY_PREFIX = "whpk_"
SECRET_BYTES = 32
SECRET_BYTES_MIN = 24
SECRET_BYTES_MAX = 64
KEY_BYTES = 32  # ed25519: the seed, and the public key that follows it in a `whsk_`
TOLERANCE_SECONDS = 300

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
HMAC_SHA256 = HMACAlgorithm(hashlib.sha256)

RefusalReason = Literal["missing_header", "bad_timestamp", "too_old", "too_new", "no_match"]


class SignatureRefused(Exception):
    """The call does not verify; `reason` is stable, the message says more."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def new_secret(entropy: bytes) -> str:
    """`whsec_…` of 32 random bytes; ValueError for another number."""
    return SECRET_PREFIX + _base64(_exactly(SECRET_BYTES, entropy))


def new_signing_key(entropy: bytes) -> str:
    """`whsk_…`, an ed25519 key from a seed of 32 random bytes; ValueError for another number."""
    public = Ed25519PrivateKey.from_private_bytes(_exactly(KEY_BYTES, entropy)).public_key()
    return SIGNING_KEY_PREFIX + _base64(entropy + public.public_bytes_raw())


def public_key_of(signing_key: str) -> str:
    """The `whpk_…` that verifies what a `whsk_…` signs; ValueError when that is malformed."""
    return PUBLIC_KEY_PREFIX + _base64(_private_key(signing_key).public_key().public_bytes_raw())


def jwk_of(public_key: str) -> dict[str, str]:
    """A `whpk_…` as RFC 8037 writes it; `kid` is its RFC 7638 thumbprint, the same wherever it is computed."""
    x = _base64url(_decoded(public_key, PUBLIC_KEY_PREFIX))
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": "EdDSA", "kid": _base64url(thumbprint)}


def check_secret(text: str) -> str | None:
    """What is wrong with a secret that a tenant brought, as a sentence without the secret; None when nothing is."""
    if not text.startswith(SECRET_PREFIX):
        return f"a secret begins with {SECRET_PREFIX}"
    try:
        secret = _decoded(text, SECRET_PREFIX)
    except ValueError:
        return f"what follows {SECRET_PREFIX} must be base64, with its padding"
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        return f"a secret holds {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes; this one holds {len(secret)}"
    return None


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,…` with a `whsec_…`, `v1a,…` with a `whsk_…`; `timestamp` in whole seconds; ValueError for another secret."""
    content = _content(message_id, timestamp, body)
    if secret.startswith(SIGNING_KEY_PREFIX):
        return f"v1a,{_base64(_private_key(secret).sign(content))}"
    # itsdangerous for its MAC alone: its Signer derives keys and joins with separators that are not the standard's.
    return f"v1,{_base64(HMAC_SHA256.get_signature(_decoded(secret, SECRET_PREFIX), content))}"


def signature_header(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature a secret, in the order given, which is newest first."""
    return " ".join(sign(secret, message_id, timestamp, body) for secret in secrets)


def verify(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> None:
    """
    Returns when one signature of the call fits one of the secrets (`whsec_…`, `whsk_…`, `whpk_…`), else raises
    SignatureRefused. Entries of unknown versions and malformed ones are passed over, as a sender may add to the list.
    """
    found = {name.lower(): value for name, value in headers.items()}
    for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER):
        if not found.get(name):
            raise SignatureRefused("missing_header", f"the header {name} is missing")
    timestamp = _timestamp(found[TIMESTAMP_HEADER], now, tolerance_seconds)
    content = _content(found[ID_HEADER], timestamp, body)
    entries = [entry.partition(",")[::2] for entry in found[SIGNATURE_HEADER].split(" ")]
    for each in [secret] if isinstance(secret, str) else secret:
        version = "v1" if each.startswith(SECRET_PREFIX) else "v1a"
        if any(_fits(each, content, signature) for name, signature in entries if name == version):
            return
    raise SignatureRefused("no_match", "no signature fits: another secret, or a body or id that was changed on the way")


def _timestamp(text: str, now: datetime, tolerance_seconds: int) -> int:
    if not TIMESTAMP.fullmatch(text):
        raise SignatureRefused("bad_timestamp", f"{TIMESTAMP_HEADER} must be whole seconds since 1970")
    age_seconds = int(now.timestamp()) - int(text)
    if age_seconds > tolerance_seconds:
        raise SignatureRefused("too_old", f"the call is more than {tolerance_seconds} seconds old")
    if age_seconds < -tolerance_seconds:
        raise SignatureRefused("too_new", f"the call is more than {tolerance_seconds} seconds ahead of this clock")
    return int(text)


def _fits(secret: str, content: bytes, signature: str) -> bool:
    """In constant time for a MAC; a public key has nothing to hide."""
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    if _base64(given) != signature:  # spare bits of the last character: one signature has one spelling
        return False
    if secret.startswith(SECRET_PREFIX):
        return HMAC_SHA256.verify_signature(_decoded(secret, SECRET_PREFIX), content, given)
    try:
        _public_key(secret).verify(given, content)
    except InvalidSignature:
        return False
    return True


def _content(message_id: str, timestamp: int, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _private_key(signing_key: str) -> Ed25519PrivateKey:
    """The seed comes first; libraries that write the public key after it and those that do not are both understood."""
    return Ed25519PrivateKey.from_private_bytes(_decoded(signing_key, SIGNING_KEY_PREFIX)[:KEY_BYTES])


def _public_key(key: str) -> Ed25519PublicKey:
    if key.startswith(SIGNING_KEY_PREFIX):
        return _private_key(key).public_key()
    return Ed25519PublicKey.from_public_bytes(_decoded(key, PUBLIC_KEY_PREFIX))


def _decoded(text: str, prefix: str) -> bytes:
    if not text.startswith(prefix):
        raise ValueError(f"a key of this kind begins with {prefix}")
    return base64.b64decode(text.removeprefix(prefix), validate=True)


def _exactly(count: int, entropy: bytes) -> bytes:
    if len(entropy) != count:
        raise ValueError(f"{count} random bytes are needed, not {len(entropy)}")
    return entropy


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
