"""Tokens are what the official libraries make, and are valid around the moment they were made at."""

import json
from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta

import pytest

from relay.providers.jwt_hs256 import signature, token

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ACCESS, SECRET = "AKexample", "SKexampleSKexampleSKexampleSKexample0000"

# RFC 7515, appendix A.1
RFC_SIGNED = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
RFC_KEY = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
RFC_SIGNATURE = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def part(text: str) -> dict[str, object]:
    told: dict[str, object] = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return told


def test_the_signature_is_that_of_the_rfc() -> None:
    assert signature(RFC_SIGNED, urlsafe_b64decode(RFC_KEY + "==")) == RFC_SIGNATURE


def test_a_token_is_byte_for_byte_that_of_pyjwt_2_15() -> None:
    assert token(ACCESS, SECRET, now=NOW) == (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
        ".eyJpc3MiOiJBS2V4YW1wbGUiLCJleHAiOjE3NjczMjQ4NDUsIm5iZiI6MTc2NzMyMzA0MH0"
        ".tLWfrSvdbsMPxk89nX7s-gyNKaGs6_AQz7xQcIhd-GU"
    )


def test_it_is_issued_by_the_access_key_and_valid_for_half_an_hour() -> None:
    header, claims, _ = token(ACCESS, SECRET, now=NOW).split(".")
    assert part(header) == {"alg": "HS256", "typ": "JWT"}
    seconds = int(NOW.timestamp())
    assert part(claims) == {"iss": ACCESS, "exp": seconds + 1800, "nbf": seconds - 5}


@pytest.mark.parametrize("other", [NOW.astimezone().astimezone(UTC), NOW + timedelta(milliseconds=900)])
def test_only_whole_seconds_of_the_moment_count(other: datetime) -> None:
    assert token(ACCESS, SECRET, now=other) == token(ACCESS, SECRET, now=NOW)


def test_the_secret_is_not_in_it() -> None:
    assert SECRET not in token(ACCESS, SECRET, now=NOW)
    assert all("SK" not in str(part(piece)) for piece in token(ACCESS, SECRET, now=NOW).split(".")[:2])
