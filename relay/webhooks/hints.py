"""What an answer usually means and what cures it, one sentence each, for attempts that failed and for the probe."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urljoin, urlsplit

from relay.domain.subscription import PayloadForm
from relay.egress import Answered, CertificateFault, Unanswered

SHOWN_URL_CHARS_MAX = 200
PAGE_BYTES_READ_MAX = 32_768

RedirectKind = Literal["to_https", "to_http", "to_www", "from_www", "to_sign_in", "slash", "itself", "elsewhere"]
PageKind = Literal["challenge", "sign_in", "tunnel", "web_page"]


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where the receiver sends its callers; `url` is cut to what may be shown."""

    kind: RedirectKind
    url: str
    fix: str


@dataclass(frozen=True, slots=True)
class Page:
    """What answered in place of the receiver."""

    kind: PageKind
    fix: str


SIGN_IN_PATH = re.compile(
    r"(^|[/._-])(log[-_]?in|log[-_]?on|sign[-_]?in|sso|saml2?|oauth2?|authorize|authenticate)([/._?-]|$)"
)
SIGN_IN_HOST = re.compile(r"(^|\.)(login|signin|sso|auth|accounts|idp)\.|\.cloudflareaccess\.com$")
SIGN_IN_PAGE = re.compile(rb"type=[\"']?password|<title>[^<]*(log ?in|sign ?in|single sign-on)[^<]*</title>", re.I)
HTML = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|!--|html|head|title|body|script)", re.I)
# What the usual guards at the edge say of themselves when they want proof of a person, a browser or patience.
CHALLENGE_HEADERS: tuple[tuple[str, str], ...] = (
    ("cf-mitigated", "challenge"),
    ("x-vercel-mitigated", ""),
    ("x-amzn-waf-action", ""),
    ("x-sucuri-block", ""),
)
CHALLENGE_PAGE = re.compile(
    rb"cf-chl|challenge-platform|px-captcha|_incapsula_resource|captcha-delivery\.com|awswafintegration"
    rb"|checking your browser|verify you are (a )?human|enable javascript and cookies to continue"
    rb"|attention required! \| cloudflare|pardon our interruption|are you a robot",
    re.I,
)
CAPTCHA = re.compile(rb"g-recaptcha|h-captcha|hcaptcha\.com", re.I)  # on honest pages too
GUARDS_STATUS_CODES = frozenset({403, 405, 429, 503})
TUNNEL_HEADER = "ngrok-error-code"

CHALLENGE_FIX = "A bot check answers in front of the receiver: exempt the webhook's path (or this user agent) from it."
SIGN_IN_FIX = "A sign-in page answers: exempt the webhook's path from it, or give the subscription the header it wants."
TUNNEL_FIX = "The tunnel answers, but not what is behind it: start the receiver, and the tunnel on the receiver's port."
WEB_PAGE_FIX = "A web page answers, which a receiver would not: check that the URL's path is that of the webhook."

CERTIFICATE_FIXES: Mapping[CertificateFault | None, str] = {
    "expired": "The certificate has run out: renew it, and have the server load the new one.",
    "not_yet_valid": "The certificate is not valid yet: check the clock of the machine that had it issued.",
    "other_name": "The certificate is for another name: have one issued for the URL's host, or use the name it has.",
    "self_signed": "The certificate is signed by itself: use one of a public authority.",
    "untrusted": "The certificate leads to no known authority: serve the intermediate certificates too (`fullchain`).",
    None: "The TLS handshake failed: check that the port speaks TLS 1.2 or later.",
}
NO_HANDSHAKE_FIX = "The port takes connections but no TLS handshake: check that it speaks TLS, and is not overloaded."
GARBLED_FIX = "The answer is not valid HTTP: check the URL's port and scheme, and what server it is that answers there."
NOT_REACHED_FIX = "Nothing accepts connections at that address and port, or the way to it is closed."
UNANSWERED_FIXES: Mapping[str, str] = {
    "timeout": "The receiver did not finish answering in time: answer 2xx first and do the work afterwards.",
    "refused": NOT_REACHED_FIX,
    "reset": "The connection was closed before the answer was whole: look for a crash in the receiver's own log.",
    "dns": "The name of the host does not resolve: check its spelling and its DNS record.",
    "blocked": "The call may not be made: its URL must be https and public, its headers' values visible ASCII.",
    "too_large": "The answer's headers are too large: answer a webhook with a status and little else.",
}
OURS = "The relay itself had no way out at that moment: nothing needs to be done at the receiver."
STATUS_FIXES: Mapping[int, str] = {
    401: "The receiver refuses the signature, most likely: check that it verifies with this subscription's secret.",
    403: "Something in front of the receiver refuses the call: exempt the webhook's path from it.",
    404: "The receiver has no such path: check the subscription's URL.",
    405: "The receiver does not take POST at that path: check the subscription's URL.",
    410: "The receiver says that it is gone for good: activate the subscription once it is back.",
    413: "The body is too large for the receiver: choose `payload: thin`.",
    415: "The receiver wants another content type: choose the `payload` form that it expects.",
    429: "The receiver asks for fewer calls: lower the subscription's `max_in_flight`, or raise the receiver's limit.",
    500: "The receiver broke on the call: its own log says why.",
    502: "A proxy in front of the receiver got no answer from it: check that the receiver runs behind it.",
    503: "The receiver, or a proxy in front of it, is not available: check that the receiver runs behind it.",
    504: "A proxy in front of the receiver waited in vain: answer 2xx first and do the work afterwards.",
}
ASKED_TO_SIGN_IN = "The receiver asks for a sign-in: exempt this path, or give the subscription the header it wants."
STILL_TOO_LARGE = "Even the thin body is too large for the receiver: raise its limit to at least 64 KiB."


def hint_for(said: Answered | Unanswered, url: str, form: PayloadForm) -> str | None:
    """One sentence that says the fix, for what came of a call to `url`; None when there is nothing to say."""
    if isinstance(said, Unanswered):
        return _unanswered_fix(said)
    if redirect := redirect_of(said, url):
        return redirect.fix
    if page := page_of(said):
        return page.fix
    if said.status_code == 413 and form == "thin":
        return STILL_TOO_LARGE
    if asks_to_sign_in(said):
        return ASKED_TO_SIGN_IN
    return STATUS_FIXES.get(said.status_code)


def redirect_of(said: Answered, url: str) -> Redirect | None:
    """Where the answer sends its caller, and what the subscription should have instead; None when nowhere."""
    if not 300 <= said.status_code <= 399:
        return None
    place = header_of(said, "location")
    if place is None:
        return Redirect("elsewhere", "", "Redirects are never followed: have the receiver answer 2xx at this very URL.")
    try:
        target = urljoin(url, place)
        kind = _redirect_kind(urlsplit(url), urlsplit(target))
    except ValueError:
        target, kind = place, "elsewhere"
    shown = target.split("?")[0][:SHOWN_URL_CHARS_MAX] if kind == "to_sign_in" else target[:SHOWN_URL_CHARS_MAX]
    return Redirect(kind, shown, _redirect_fix(kind, shown))


def _redirect_kind(before: SplitResult, after: SplitResult) -> RedirectKind:
    host, new_host = before.hostname or "", after.hostname or ""
    if SIGN_IN_HOST.search(new_host) and host != new_host:
        return "to_sign_in"
    if SIGN_IN_PATH.search(after.path.lower()) and not SIGN_IN_PATH.search(before.path.lower()):
        return "to_sign_in"
    if new_host == f"www.{host}":
        return "to_www"
    if host == f"www.{new_host}":
        return "from_www"
    if host != new_host:
        return "elsewhere"
    if before.scheme != after.scheme:
        return "to_https" if after.scheme == "https" else "to_http"
    if before == after:
        return "itself"
    return "slash" if before.path.rstrip("/") == after.path.rstrip("/") != "" else "elsewhere"


def _redirect_fix(kind: RedirectKind, url: str) -> str:
    if kind == "to_sign_in":
        return f"The receiver sends its callers to a sign-in ({url}): exempt the webhook's path from it."
    if kind == "to_http":
        return "The receiver redirects from https to http: have it answer 2xx at the https URL itself."
    if kind == "itself":
        return "The receiver redirects to the same URL: have it answer 2xx without asking for a cookie first."
    what = {
        "to_https": "from http to https",
        "to_www": "to its name with www.",
        "from_www": "to its name without www.",
        "slash": "for a slash at the end",
    }.get(kind, "elsewhere")
    return f"The receiver redirects {what}, and redirects are never followed: subscribe with the final URL ({url})."


def page_of(said: Answered) -> Page | None:
    """What answered in place of the receiver, when that can be told: a bot check, a sign-in, a tunnel, a web site."""
    if header_of(said, TUNNEL_HEADER):
        return Page("tunnel", TUNNEL_FIX)
    start = said.body[:PAGE_BYTES_READ_MAX]
    is_page = HTML.match(start) is not None
    if _is_challenge(said, start, is_page=is_page):
        return Page("challenge", CHALLENGE_FIX)
    if is_page and SIGN_IN_PAGE.search(start):
        return Page("sign_in", SIGN_IN_FIX)
    is_success = 200 <= said.status_code <= 299
    return Page("web_page", WEB_PAGE_FIX) if is_page and is_success else None


def _is_challenge(said: Answered, start: bytes, *, is_page: bool) -> bool:
    for name, word in CHALLENGE_HEADERS:
        value = header_of(said, name)
        if value is not None and word in value.lower():
            return True
    is_refusal = said.status_code in GUARDS_STATUS_CODES
    if (is_page or is_refusal) and CHALLENGE_PAGE.search(start):
        return True
    return is_refusal and CAPTCHA.search(start) is not None


def asks_to_sign_in(said: Answered) -> bool:
    """True for the 401 of a sign-in; a receiver that refuses a signature seldom says how else one may prove oneself."""
    return said.status_code == 401 and header_of(said, "www-authenticate") is not None


def header_of(said: Answered, name: str) -> str | None:
    """The first header of that name, which is in lower case."""
    return next((value for key, value in said.headers if key == name), None)


def _unanswered_fix(said: Unanswered) -> str | None:
    if said.blame == "relay":
        return OURS
    if said.reason == "tls":
        return CERTIFICATE_FIXES[said.certificate_fault]
    if said.reason == "timeout" and not said.was_sent:
        return NOT_REACHED_FIX if said.timing.tls_ms is None else NO_HANDSHAKE_FIX
    if said.is_garbled:
        return GARBLED_FIX
    return UNANSWERED_FIXES.get(said.reason)
