"""What is said of a captured call, for each of the ways in which it can be wrong."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from relay.dev.captured import Captured, Finding, explain, read_captured
from relay.webhooks.signing import HMAC_SHA256, new_secret, new_signing_key, public_key_of, sign

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECRET = new_secret(b"0123456789abcdef0123456789abcdef")
BODY = b'{"id":"evt_1","type":"job.completed","data":{"name":"J\xc3\xb6rg","size":1.50}}'


def captured(body: bytes = BODY, *, secret: str = SECRET, at: datetime = NOW, **headers: str | None) -> Captured:
    """A call as it was signed, with headers replaced (None: left out)."""
    seconds = int(at.timestamp())
    told: dict[str, str | None] = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(seconds),
        "webhook-signature": sign(secret, "evt_1", seconds, body),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return Captured({name: value for name, value in told.items() if value is not None}, body)


def verdict(findings: list[Finding]) -> bool | None:
    return findings[-1].is_good


def said(findings: list[Finding]) -> str:
    return "\n".join(finding.text for finding in findings)


def test_a_good_call_verifies() -> None:
    findings = explain(SECRET, captured(), NOW)
    assert verdict(findings) is True
    assert [finding.text for finding in findings if finding.is_good is False] == []


def test_raw_http_is_read_with_and_without_a_request_line() -> None:
    raw = b"POST /hooks HTTP/1.1\r\nWebhook-Id: evt_1\r\nwebhook-timestamp:  12 \r\n\r\n" + BODY + b"\r\n\r\nrest"
    first, second = read_captured(raw), read_captured(raw.partition(b"\r\n")[2])
    assert first == second
    assert first.headers == {"webhook-id": "evt_1", "webhook-timestamp": "12"}
    assert first.body == BODY + b"\r\n\r\nrest"


def test_lines_may_end_in_lf_alone() -> None:
    assert read_captured(b"webhook-id: evt_1\n\nbody") == Captured({"webhook-id": "evt_1"}, b"body")


@pytest.mark.parametrize("is_base64", [False, True])
def test_json_is_read_with_a_text_body_and_a_base64_body(is_base64: bool) -> None:
    body = base64.b64encode(BODY).decode() if is_base64 else BODY.decode()
    told = {"headers": {"Webhook-Id": ["evt_1"]}, "body": body, "isBase64Encoded": is_base64}
    assert read_captured(json.dumps(told).encode()) == Captured({"webhook-id": "evt_1"}, BODY)


def test_a_body_that_was_parsed_is_remarked_upon() -> None:
    told = read_captured(json.dumps({"headers": {}, "body": {"a": 1}}).encode())
    assert told.body == b'{"a":1}'
    assert "raw body" in told.note


@pytest.mark.parametrize("content", [b"no empty line", b"no colon\n\nbody", b"{broken", b'{"headers": {}}'])
def test_what_is_no_request_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_captured(content)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    findings = explain(SECRET, captured(**{name.replace("-", "_"): None}), NOW)
    assert verdict(findings) is False
    assert f"{name} is missing" in said(findings)


def test_another_schemes_header_is_pointed_at() -> None:
    findings = explain(SECRET, captured(webhook_id=None, svix_id="msg_1"), NOW)
    assert "svix-id" in said(findings)


@pytest.mark.parametrize("text", ["1767225600000000", "2026-01-01T00:00:00Z", "now", "١٢٣"])
def test_a_timestamp_that_is_no_number_of_seconds_is_explained(text: str) -> None:
    findings = explain(SECRET, captured(webhook_timestamp=text), NOW)
    assert verdict(findings) is False
    assert "whole seconds" in said(findings)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_call_of_another_time_fits_but_is_refused_for_its_age(seconds: int) -> None:
    stale = captured(at=NOW + timedelta(seconds=seconds))
    findings = explain(SECRET, stale, NOW)
    assert verdict(findings) is False
    assert "the signature fits" in findings[-1].text
    assert verdict(explain(SECRET, stale, NOW, ignores_age=True)) is True


def test_another_secret_is_the_last_guess() -> None:
    findings = explain(new_secret(b"another secret of 32 bytes......"), captured(), NOW)
    assert verdict(findings) is False
    assert "another secret" in said(findings)


@pytest.mark.parametrize(
    "seen",
    [
        json.dumps(json.loads(BODY)).encode(),
        json.dumps(json.loads(BODY), separators=(",", ":"), sort_keys=True).encode(),
        json.dumps(json.loads(BODY), indent=2, ensure_ascii=False).encode(),
    ],
)
def test_a_body_that_was_written_again_is_recognised(seen: bytes) -> None:
    sent = json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False).encode()
    if b'"data"' in seen and seen.index(b'"data"') < seen.index(b'"id"'):
        sent = json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()
    signed = captured(sent)
    findings = explain(SECRET, Captured(signed.headers, seen), NOW)
    assert verdict(findings) is False
    assert "parsed and written again" in said(findings)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body + b"\n", "without the line break"),
        (lambda body: body.replace(b"\n", b"\r\n"), "LF for CRLF"),
    ],
)
def test_line_breaks_that_came_along_are_recognised(change: object, told: str) -> None:
    sent = b'{"a":\n1}'
    signed = captured(sent)
    assert callable(change)
    assert told in said(explain(SECRET, Captured(signed.headers, change(sent)), NOW))


@pytest.mark.parametrize("takes_prefix", [True, False])
def test_a_secret_that_was_not_decoded_is_recognised(takes_prefix: bool) -> None:
    text = SECRET if takes_prefix else SECRET.removeprefix("whsec_")
    undecoded = "whsec_" + base64.b64encode(text.encode()).decode()
    findings = explain(SECRET, captured(secret=undecoded), NOW)
    assert verdict(findings) is False
    assert "base64 must be decoded" in said(findings)


def test_a_signature_over_the_body_alone_is_recognised() -> None:
    seconds = int(NOW.timestamp())
    for content in (BODY, f"{seconds}.".encode() + BODY):
        mac = HMAC_SHA256.get_signature(base64.b64decode(SECRET.removeprefix("whsec_")), content)
        findings = explain(SECRET, captured(webhook_signature=f"v1,{base64.b64encode(mac).decode()}"), NOW)
        assert verdict(findings) is False
        assert "without the id" in said(findings)


def test_malformed_and_unknown_entries_beside_a_good_one_do_no_harm() -> None:
    good = sign(SECRET, "evt_1", int(NOW.timestamp()), BODY)
    findings = explain(SECRET, captured(webhook_signature=f"garbage v9,x v1,*** {good}"), NOW)
    assert verdict(findings) is True
    assert "malformed" in said(findings)
    assert "not known here" in said(findings)


@pytest.mark.parametrize("secret", [f'"{SECRET}"', f" {SECRET}\n", SECRET.removeprefix("whsec_")])
def test_small_slips_with_the_secret_are_undone_and_remarked_upon(secret: str) -> None:
    findings = explain(secret, captured(), NOW)
    assert verdict(findings) is True
    assert "secret" in findings[0].text


@pytest.mark.parametrize("secret", ["whsec_***", "whsec_c2hvcnQ=", "hunter2", "whpk_***"])
def test_a_secret_that_cannot_be_one_is_said_to_be_so(secret: str) -> None:
    assert verdict(explain(secret, captured(), NOW)) is False


def test_an_ed25519_signature_is_judged_by_the_public_key() -> None:
    key = new_signing_key(b"0123456789abcdef0123456789abcdef")
    findings = explain(public_key_of(key), captured(secret=key), NOW)
    assert verdict(findings) is True
    assert "ed25519" in said(findings)
