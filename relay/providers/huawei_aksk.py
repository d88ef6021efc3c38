"""Huawei Cloud's signature by access key and secret key, which no header template can say."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import parse_qsl, quote, unquote, urlsplit

ALGORITHM = "SDK-HMAC-SHA256"
DEFAULT_PORTS = {"http": 80, "https": 443}
SIGNED = ("x-project-id", "x-security-token")  # signed when present, beside host and x-sdk-date


@dataclass(frozen=True, slots=True)
class Key:
    """An access key; `security_token` comes with a temporary one."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


def sign(key: Key, method: str, url: str, headers: Mapping[str, str], body: bytes, *, now: datetime) -> dict[str, str]:
    """
    The headers to add to a request for `url` (percent-encoded, as it will be sent).

    The gateway refuses an `X-Sdk-Date` more than 15 minutes off. Source: support.huaweicloud.com/api-apig,
    "AK/SK signing", and the signer of huaweicloudsdkcore 3.1.219.
    """
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Sdk-Date": stamp}
    if key.security_token:
        added["X-Security-Token"] = key.security_token
    lowered = {name.lower(): value.strip() for name, value in {**headers, **added}.items()}
    signed = {"host": host_header(url), "x-sdk-date": stamp}
    signed |= {name: lowered[name] for name in SIGNED if name in lowered}
    names = ";".join(sorted(signed))
    canonical = canonical_request(method, url, signed, body)
    to_sign = f"{ALGORITHM}\n{stamp}\n{sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(key.secret_key.encode(), to_sign.encode(), sha256).hexdigest()
    added["Authorization"] = f"{ALGORITHM} Access={key.access_key}, SignedHeaders={names}, Signature={signature}"
    return added


def canonical_request(method: str, url: str, signed: Mapping[str, str], body: bytes) -> str:
    """The text whose digest is signed; `signed` by lower-case name. The path always ends in a slash here."""
    parts = urlsplit(url)
    path = "/".join(quote(unquote(segment), safe="~") for segment in parts.path.split("/"))
    pairs = sorted(parse_qsl(parts.query, keep_blank_values=True))
    query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    slash = "" if path.endswith("/") else "/"
    return "\n".join((method, f"{path}{slash}", query, lines, ";".join(sorted(signed)), sha256(body).hexdigest()))


def host_header(url: str) -> str:
    """What the client will send as `Host`: with the port unless it is the scheme's own (RFC 9110, 7.2)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{parts.port}"
