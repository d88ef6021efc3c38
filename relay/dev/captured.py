"""Explains why a captured webhook does or does not verify, for whoever sits before a receiver that says no."""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from relay.domain.moments import EPOCH, rfc3339
from relay.webhooks.signing import (
    HMAC_SHA256,
    ID_HEADER,
    PUBLIC_KEY_PREFIX,
    SECRET_PREFIX,
    SIGNATURE_HEADER,
    SIGNING_KEY_PREFIX,
    TIMESTAMP,
    TIMESTAMP_HEADER,
    TOLERANCE_SECONDS,
    SignatureRefused,
    check_secret,
    sign,
    verify,
)

REQUEST_LINE = re.compile(rb"[A-Z]+ \S+( HTTP/[0-9.]+)?")
KEY_PREFIXES = (SECRET_PREFIX, SIGNING_KEY_PREFIX, PUBLIC_KEY_PREFIX)
ANOTHER_SECRET = "another secret (was it rotated?), or a body or id that was changed on the way"
HEADERS = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
VERSIONS = {"v1": "HMAC-SHA256", "v1a": "ed25519"}


@dataclass(frozen=True, slots=True)
class Captured:
    """A request as it was written down: header names in lower case. `note` says what the file cannot tell."""

    headers: Mapping[str, str]
    body: bytes
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `is_good` None for a remark."""

    is_good: bool | None
    text: str


def read_captured(content: bytes) -> Captured:
    """
    The request in a file: `{"headers": {…}, "body": "…"}` as JSON, or raw HTTP (a request line or none, headers, an
    empty line, the body to the end of the file). Raises ValueError for anything else.
    """
    if content.lstrip().startswith(b"{"):
        return _from_json(content)
    head, separator, body = _split(content)
    if not separator:
        raise ValueError("there is no empty line between headers and body")
    lines = [line for line in head.splitlines() if line.strip()]
    if lines and REQUEST_LINE.fullmatch(lines[0].strip()):
        lines = lines[1:]
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise ValueError(f"not a header: {line[:60].decode('utf-8', 'replace')}")
        headers[name.strip().decode("latin-1").lower()] = value.strip().decode("latin-1")
    return Captured(headers, body)


def _split(content: bytes) -> tuple[bytes, bytes, bytes]:
    """At the first empty line, whichever way lines end."""
    found = re.search(rb"\r?\n\r?\n", content)
    return (content[: found.start()], found.group(), content[found.end() :]) if found else (content, b"", b"")


def _from_json(content: bytes) -> Captured:
    try:
        told = json.loads(content)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    headers, body = told.get("headers"), told.get("body")
    if not isinstance(headers, dict) or body is None:
        raise ValueError('JSON needs {"headers": {…}, "body": "…"}')
    named = {str(name).lower(): _one(value) for name, value in headers.items()}
    if isinstance(body, str):
        if told.get("isBase64Encoded") is True or told.get("is_base64") is True:
            return Captured(named, base64.b64decode(body))
        return Captured(named, body.encode())
    compact = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    note = "the file holds the body as parsed JSON: its bytes are lost, compact JSON is assumed; keep the raw body"
    return Captured(named, compact, note)


def _one(value: Any) -> str:
    """Some frameworks write each header's values as a list."""
    return str(value[0]) if isinstance(value, list) and value else str(value)


def explain(secret: str, captured: Captured, now: datetime, *, ignores_age: bool = False) -> list[Finding]:
    """What was looked at, in the order in which a receiver looks; the last one is the verdict."""
    findings = [Finding(None, captured.note)] if captured.note else []
    usable, remarks = _usable_secret(secret)
    findings += remarks
    missing = [name for name in HEADERS if not captured.headers.get(name)]
    findings += [Finding(name not in missing, _header_line(name, captured)) for name in HEADERS]
    if usable is None or missing:
        return [*findings, Finding(False, "does not verify: see above")]
    moment = _moment(captured.headers[TIMESTAMP_HEADER])
    if moment is None:
        remark = f"{TIMESTAMP_HEADER} must be whole seconds since 1970 (not milliseconds, not a date)"
        return [*findings, Finding(False, remark), Finding(False, "does not verify: see above")]
    age = _age(moment, now)
    findings.append(replace(age, is_good=None) if ignores_age and age.is_good is False else age)
    fits = _fits(usable, captured, moment)
    findings += _signatures(usable, captured, moment)
    if not fits:
        reasons = list(_mistakes(usable, captured, moment))
        findings += reasons or [Finding(None, ANOTHER_SECRET)]
    is_good = fits and (ignores_age or age.is_good is True)
    return [*findings, Finding(is_good, _verdict(fits, is_good))]


def _verdict(fits: bool, is_good: bool) -> str:
    if is_good:
        return "verifies"
    if fits:
        return "the signature fits, but a receiver must refuse the call for its age"
    return "does not verify: no signature fits"


def _usable_secret(secret: str) -> tuple[str | None, list[Finding]]:
    """The secret with small slips undone, and what is to be said of it."""
    cleaned = secret.strip().strip("\"'")
    remarks = []
    if cleaned != secret:
        remarks.append(Finding(None, "the secret came with space or quotes around it: they are no part of it"))
    if not cleaned.startswith(KEY_PREFIXES):
        remarks.append(Finding(None, f"the secret does not begin with {SECRET_PREFIX}: it is taken as if it did"))
        cleaned = SECRET_PREFIX + cleaned
    if cleaned.startswith(SECRET_PREFIX):
        fault = check_secret(cleaned)
        if fault is not None:
            return None, [*remarks, Finding(False, fault)]
        return cleaned, remarks
    try:
        base64.b64decode(cleaned[len(SIGNING_KEY_PREFIX) :], validate=True)
    except binascii.Error:
        return None, [*remarks, Finding(False, "what follows the key's prefix must be base64")]
    return cleaned, remarks


def _header_line(name: str, captured: Captured) -> str:
    value = captured.headers.get(name)
    if value:
        return f"{name}: {value}"
    similar = [other for other in captured.headers if other.endswith(name.removeprefix("webhook"))]
    hint = f"; there is {similar[0]}, which is another scheme's" if similar else ""
    return f"{name} is missing: was it dropped on the way by a proxy or the framework{hint}?"


def _moment(text: str) -> datetime | None:
    if not TIMESTAMP.fullmatch(text):
        return None
    try:
        return EPOCH + timedelta(seconds=int(text))
    except OverflowError:
        return None


def _age(moment: datetime, now: datetime) -> Finding:
    seconds = round((now - moment).total_seconds())
    when = f"sent at {rfc3339(moment)}"
    if abs(seconds) <= TOLERANCE_SECONDS:
        return Finding(True, f"{when}, {seconds} s ago: within {TOLERANCE_SECONDS} s")
    if seconds > 0:
        why = "a receiver refuses it now; if it did when it came, its clock is fast or the call waited in a queue"
        return Finding(False, f"{when}, {timedelta(seconds=seconds)} ago: more than {TOLERANCE_SECONDS} s; {why}")
    return Finding(False, f"{when}, {-seconds} s ahead of this clock: more than {TOLERANCE_SECONDS} s; set the clock")


def _fits(secret: str, captured: Captured, moment: datetime) -> bool:
    try:
        verify(secret, captured.headers, captured.body, moment)
    except (SignatureRefused, ValueError):
        return False
    return True


def _signatures(secret: str, captured: Captured, moment: datetime) -> Iterator[Finding]:
    for entry in captured.headers[SIGNATURE_HEADER].split(" "):
        version, comma, signature = entry.partition(",")
        if not comma or not signature:
            yield Finding(False, f"signature {entry[:24]!r}: malformed, it should read v1,<base64>")
        elif version not in VERSIONS:
            yield Finding(None, f"signature {version},…: of a version that is not known here; passed over")
        else:
            alone = replace(captured, headers={**captured.headers, SIGNATURE_HEADER: entry})
            does_fit = _fits(secret, alone, moment)
            shown = f"signature {version},{signature[:12]}… ({VERSIONS[version]})"
            yield Finding(does_fit, f"{shown}: {'fits' if does_fit else 'does not fit this secret and body'}")


def _mistakes(secret: str, captured: Captured, moment: datetime) -> Iterator[Finding]:
    """The usual ways to get it wrong: each is tried, and named when it explains the signature."""
    for why, body in _other_bodies(captured.body):
        if _fits(secret, replace(captured, body=body), moment):
            yield Finding(False, f"the signature fits the body {why}: verify the raw bytes, before they are parsed")
            return
    if secret.startswith(SECRET_PREFIX):
        text = secret.removeprefix(SECRET_PREFIX)
        for why, key in (("without its prefix", text), ("with its prefix", secret)):
            undecoded = SECRET_PREFIX + base64.b64encode(key.encode()).decode()
            if _fits(undecoded, captured, moment):
                yield Finding(False, f"signed with the secret's text {why}: its base64 must be decoded to get the key")
                return
        yield from _misplaced(secret, captured, moment)


def _misplaced(secret: str, captured: Captured, moment: datetime) -> Iterator[Finding]:
    """Signatures over something other than id, timestamp and body."""
    seconds = int(moment.timestamp())
    given = {entry.partition(",")[2] for entry in captured.headers[SIGNATURE_HEADER].split(" ")}
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    webhook_id = captured.headers[ID_HEADER]
    if sign(secret, webhook_id.strip(), seconds, captured.body).partition(",")[2] in given:
        yield Finding(False, "the signature fits the id without the space around it")
    elif given & {base64.b64encode(mac).decode() for mac in _bare_macs(key, seconds, captured.body)}:
        yield Finding(False, "the signature covers the body without the id: the content is `{id}.{timestamp}.{body}`")


def _bare_macs(key: bytes, seconds: int, body: bytes) -> Iterator[bytes]:
    yield HMAC_SHA256.get_signature(key, body)
    yield HMAC_SHA256.get_signature(key, f"{seconds}.".encode() + body)


def _other_bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The body as it may have been before something touched it."""
    yield "without the line break at its end", body.rstrip(b"\r\n")
    yield "with a line break at its end", body + b"\n"
    yield "with LF for CRLF", body.replace(b"\r\n", b"\n")
    try:
        value = json.loads(body)
    except ValueError:
        return
    for is_ascii in (False, True):
        for is_sorted in (False, True):
            for separators in ((",", ":"), (", ", ": ")):
                text = json.dumps(value, ensure_ascii=is_ascii, sort_keys=is_sorted, separators=separators)
                yield "as it was before it was parsed and written again", text.encode("utf-8", "surrogatepass")
