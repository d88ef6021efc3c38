"""What a result's URL says of itself: whether it can be followed, and when its signature dies."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

URL_CHARACTERS_MAX = 8192
QUERY_FIELDS_MAX = 100
LIFETIME_SECONDS_MAX = 10 * 365 * 86400
EPOCH_SECONDS_MIN = 1_000_000_000  # 2001: a smaller number is not a moment
EPOCH_SECONDS_MAX = 100_000_000_000  # year 5138: a larger one counts milliseconds or is not a moment

UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
STAMPED = ("x-amz", "x-goog", "x-oss", "x-obs", "x-tos")  # S3 v4 and those that follow it: <p>-date and <p>-expires
EPOCHS = ("expires", "x-expires", "exp", "e")  # S3 v2, OSS, OBS, GCS v2, CloudFront; Qiniu says `e`
WINDOWS = ("q-sign-time", "q-key-time")  # Tencent COS: start;end


def is_link(url: object) -> bool:
    """True for an absolute http(s) URL with a host, of a sane length, without spaces or control characters."""
    if not isinstance(url, str) or len(url) > URL_CHARACTERS_MAX or UNPRINTABLE.search(url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def signed_until(url: str) -> datetime | None:
    """The moment at which the URL's own parameters say that it stops working; None when they say nothing."""
    try:
        pairs = parse_qsl(urlsplit(url).query, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        return None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name.lower(), value)
    if not fields:
        return None
    return _from_stamp(fields) or _from_epoch(fields) or _from_azure(fields)


def _from_stamp(fields: Mapping[str, str]) -> datetime | None:
    for prefix in STAMPED:
        date, seconds = fields.get(f"{prefix}-date"), fields.get(f"{prefix}-expires")
        if date is None or seconds is None or not re.fullmatch(r"[0-9]{1,10}", seconds):
            continue
        try:
            start = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return start + timedelta(seconds=min(int(seconds), LIFETIME_SECONDS_MAX))
        except (ValueError, OverflowError):  # a year beyond 9999 is nobody's expiry
            continue
    return None


def _from_epoch(fields: Mapping[str, str]) -> datetime | None:
    texts = [fields[name] for name in EPOCHS if name in fields]
    texts += [fields[name].rpartition(";")[2] for name in WINDOWS if name in fields]
    for text in texts:
        if re.fullmatch(r"[0-9]{10,11}", text) and EPOCH_SECONDS_MIN <= int(text) < EPOCH_SECONDS_MAX:
            return datetime.fromtimestamp(int(text), UTC)
    return None


def _from_azure(fields: Mapping[str, str]) -> datetime | None:
    """`se` of a shared access signature: `2026-01-02T03:04:05Z`, or only its date."""
    if "sig" not in fields or "se" not in fields:
        return None
    try:
        moment = datetime.fromisoformat(fields["se"])
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
