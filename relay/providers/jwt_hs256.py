"""A JSON Web Token made for each request from an access key and a secret key, which no header template can say."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256

LIFETIME_SECONDS = 1800
EARLIER_SECONDS = 5  # valid from a moment ago, for a server whose clock is behind ours
HEADER: Mapping[str, str] = {"alg": "HS256", "typ": "JWT"}


def token(access_key: str, secret_key: str, *, now: datetime) -> str:
    """
    Issued by the access key (`iss`), signed with the secret key, valid from 5 s before `now` for half an hour.

    Source: RFC 7519 for the claims, RFC 7515 for the form, RFC 7518 3.2 for HS256.
    """
    seconds = int(now.timestamp())
    claims: dict[str, str | int] = {
        "iss": access_key,
        "exp": seconds + LIFETIME_SECONDS,
        "nbf": seconds - EARLIER_SECONDS,
    }
    signed = f"{_part(HEADER)}.{_part(claims)}"
    return f"{signed}.{signature(signed, secret_key.encode())}"


def signature(signed: str, key: bytes) -> str:
    """HMAC with SHA-256 over the ASCII text, in base64url without padding."""
    return _base64url(hmac.new(key, signed.encode("ascii"), sha256).digest())


def _part(fields: Mapping[str, str | int]) -> str:
    return _base64url(json.dumps(fields, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
