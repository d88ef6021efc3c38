"""What is said of answers: the fix that fits, and nothing where nothing is known."""

import time
from typing import Any

import pytest

from relay.domain.subscription import PayloadForm
from relay.egress import Answered, CertificateFault, Reason, Timing, Unanswered
from relay.webhooks.hints import PageKind, RedirectKind, hint_for, page_of, redirect_of

URL = "https://receiver.example/hooks/relay"
PAGE = b"<!DOCTYPE html><html><head><title>%s</title></head><body>%s</body></html>"


def answered(status_code: int, body: bytes = b"", **headers: str) -> Answered:
    told = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Answered(status_code, told, body, is_truncated=False, timing=Timing())


def unanswered(reason: Reason, *, blame: Any = "receiver", was_sent: bool = True, **more: Any) -> Unanswered:
    return Unanswered(reason, "", Timing(), blame, was_sent, **more)


@pytest.mark.parametrize(
    ("url", "location", "kind"),
    [
        ("http://a.example/hook", "https://a.example/hook", "to_https"),
        ("https://a.example/hook", "http://a.example/hook", "to_http"),
        ("https://a.example/hook", "https://www.a.example/hook", "to_www"),
        ("http://a.example/hook", "https://www.a.example/hook", "to_www"),
        ("https://www.a.example/hook", "https://a.example/hook", "from_www"),
        ("https://a.example/hook", "/login?next=%2Fhook", "to_sign_in"),
        ("https://a.example/hook", "/users/sign_in", "to_sign_in"),
        ("https://a.example/hook", "/accounts/signin/", "to_sign_in"),
        ("https://a.example/hook", "https://login.idp.example/oauth2/authorize?state=1", "to_sign_in"),
        ("https://a.example/hook", "https://team.cloudflareaccess.com/cdn-cgi/access", "to_sign_in"),
        ("https://a.example/hook", "/hook/", "slash"),
        ("https://a.example/hook/", "https://a.example/hook", "slash"),
        ("https://a.example/hook", "/hook", "itself"),
        ("https://a.example/hook", "/v2/hook", "elsewhere"),
        ("https://a.example/hook", "https://b.example/hook", "elsewhere"),
        ("https://a.example/hook", "//b.example/hook", "elsewhere"),
        ("https://a.example/login/hook", "/login/hook/", "slash"),
        ("https://a.example/hook", "https://[broken", "elsewhere"),
        ("https://a.example/hook", "", "itself"),
    ],
)
def test_a_redirect_is_known_for_what_it_is(url: str, location: str, kind: RedirectKind) -> None:
    redirect = redirect_of(answered(301, location=location), url)
    assert redirect is not None
    assert redirect.kind == kind
    assert redirect.fix == hint_for(answered(301, location=location), url, "full")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirects_fix_names_the_final_url(status: int) -> None:
    hint = hint_for(answered(status, location="https://www.receiver.example/hooks/relay"), URL, "full")
    assert hint is not None
    assert "www" in hint
    assert "subscribe with the final URL (https://www.receiver.example/hooks/relay)" in hint


def test_a_redirect_to_a_sign_in_is_shown_without_what_may_be_a_secret() -> None:
    redirect = redirect_of(answered(302, location="https://login.example/start?state=hush"), URL)
    assert redirect is not None
    assert redirect.url == "https://login.example/start"
    assert "hush" not in redirect.fix


def test_a_redirect_without_a_place_or_with_an_endless_one_has_a_fix_too() -> None:
    assert "2xx" in (hint_for(answered(304), URL, "full") or "")
    hint = hint_for(answered(302, location="/" + "a" * 5000), URL, "full")
    assert hint is not None
    assert len(hint) < 400


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answered(403, cf_mitigated="challenge"), "challenge"),
        (answered(202, x_amzn_waf_action="challenge"), "challenge"),
        (answered(403, x_vercel_mitigated="deny"), "challenge"),
        (answered(403, PAGE % (b"Just a moment...", b"<script src='/cdn-cgi/challenge-platform/h'>")), "challenge"),
        (answered(200, PAGE % (b"", b"Checking your browser before you go on")), "challenge"),
        (answered(429, b'{"url":"https://geo.captcha-delivery.com/x"}'), "challenge"),
        (answered(403, PAGE % (b"", b"<div class='g-recaptcha'>")), "challenge"),
        (answered(200, PAGE % (b"Sign in - Example", b"")), "sign_in"),
        (answered(401, PAGE % (b"", b"<input type=password>")), "sign_in"),
        (answered(200, PAGE % (b"Log in", b'<input name="p" type="password">')), "sign_in"),
        (answered(404, PAGE % (b"", b""), ngrok_error_code="ERR_NGROK_3200"), "tunnel"),
        (answered(200, PAGE % (b"Our company", b"Welcome")), "web_page"),
        (answered(200, PAGE % (b"Contact", b"<div class='g-recaptcha'>")), "web_page"),
        (answered(200, b"\xef\xbb\xbf\n <html>"), "web_page"),
        (answered(404, PAGE % (b"Not found", b"")), None),
        (answered(200, b"ok", content_type="text/html; charset=utf-8"), None),
        (answered(200, b'{"type": "password"}'), None),
        (answered(200, b"<ok/>"), None),
        (answered(204), None),
        (answered(500, PAGE % (b"Error", b"Traceback")), None),
    ],
)
def test_what_answers_in_place_of_the_receiver_is_known(said: Answered, kind: PageKind | None) -> None:
    page = page_of(said)
    assert (page.kind if page else None) == kind
    if page is not None:
        assert hint_for(said, URL, "full") == page.fix


def test_a_page_made_to_be_hard_to_read_is_read_in_no_time() -> None:
    began = time.monotonic()
    for piece in (b"<!---->", b"<title>", b"type=", b" ", b"<html><title>log ", b"log in"):
        hint_for(answered(200, b"<html>" + piece * 20_000), URL, "full")
        hint_for(answered(200, piece * 20_000), URL, "full")
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410, 413, 415, 429, 500, 502, 503, 504])
def test_a_usual_status_has_a_fix(status: int) -> None:
    hint = hint_for(answered(status), URL, "full")
    assert hint is not None
    assert hint.endswith(".")


@pytest.mark.parametrize("status", [200, 201, 204, 299, 400, 418, 422])
def test_of_what_may_be_meant_so_nothing_is_said(status: int) -> None:
    assert hint_for(answered(status), URL, "full") is None


@pytest.mark.parametrize("form", ["full", "cloudevents"])
def test_too_large_a_body_is_cured_by_the_thin_form(form: PayloadForm) -> None:
    assert "`payload: thin`" in (hint_for(answered(413), URL, form) or "")


def test_too_large_a_thin_body_is_not_cured_by_the_thin_form() -> None:
    hint = hint_for(answered(413), URL, "thin")
    assert hint is not None
    assert "choose" not in hint


@pytest.mark.parametrize("reason", ["timeout", "refused", "reset", "dns", "tls", "blocked", "too_large"])
def test_every_way_to_get_no_answer_has_a_fix(reason: Reason) -> None:
    assert hint_for(unanswered(reason), URL, "full")
    ours = hint_for(unanswered(reason, blame="relay"), URL, "full")
    assert ours is not None
    assert "relay itself" in ours


def test_a_deadline_before_a_connection_stood_is_not_blamed_on_slow_work() -> None:
    refused = hint_for(unanswered("refused", was_sent=False), URL, "full")
    assert hint_for(unanswered("timeout", was_sent=False, blame="network"), URL, "full") == refused
    assert hint_for(unanswered("timeout"), URL, "full") != refused


def test_a_deadline_in_the_handshake_is_not_called_a_closed_port() -> None:
    said = Unanswered("timeout", "", Timing(connect_ms=1, tls_ms=3999), "network", was_sent=False)
    assert "TLS" in (hint_for(said, URL, "full") or "")


def test_what_is_not_http_is_not_called_a_crash() -> None:
    hint = hint_for(unanswered("reset", is_garbled=True), URL, "full") or ""
    assert ("HTTP" in hint, "crash" in hint) == (True, False)


def test_a_refused_signature_is_told_from_a_sign_in() -> None:
    """RFC 9110, section 11.6.1: who wants a sign-in says which."""
    assert "signature" in (hint_for(answered(401), URL, "full") or "")
    sign_in = hint_for(answered(401, www_authenticate='Basic realm="a"'), URL, "full") or ""
    assert ("sign-in" in sign_in, "signature" in sign_in) == (True, False)


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("expired", "renew"),
        ("not_yet_valid", "clock"),
        ("other_name", "name"),
        ("self_signed", "authority"),
        ("untrusted", "intermediate"),
        (None, "TLS 1.2"),
    ],
)
def test_each_fault_of_a_certificate_has_its_own_fix(fault: CertificateFault | None, word: str) -> None:
    assert word in (hint_for(unanswered("tls", was_sent=False, certificate_fault=fault), URL, "full") or "")
