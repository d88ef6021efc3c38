"""Asks a receiver whether it wants our calls at all, before the first one: the abuse protection of CloudEvents."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from relay.egress import Answered, Egress, Outgoing
from relay.webhooks.hints import header_of, hint_for, redirect_of

# https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md, section 4
ORIGIN_HEADER = "webhook-request-origin"
RATE_HEADER = "webhook-request-rate"
ALLOWED_ORIGIN_HEADER = "webhook-allowed-origin"
ALLOWED_RATE_HEADER = "webhook-allowed-rate"
ANY = "*"

REQUESTED_PER_MINUTE = 60_000
HANDSHAKE_SECONDS_MAX = 10.0
ANSWER_BYTES_MAX = 4_096
RATE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Granted:
    """The receiver wants the calls: so many a minute, or any number (None)."""

    requests_per_minute: int | None


@dataclass(frozen=True, slots=True)
class Denied:
    """It did not say so; `reason` is a sentence with what to do."""

    reason: str


def origin_of(public_url: str) -> str:
    """The DNS name that stands for this relay, whichever of its processes calls."""
    return urlsplit(public_url).hostname or "localhost"


class Handshake:
    """Asks once, with OPTIONS, and believes nothing but the headers of the answer, as the specification wants it."""

    def __init__(self, egress: Egress, public_url: str, timeout_seconds: float) -> None:
        self._egress = egress
        self._origin = origin_of(public_url)
        self._timeout_seconds = min(timeout_seconds, HANDSHAKE_SECONDS_MAX)

    async def ask(self, url: str, headers: Mapping[str, str]) -> Granted | Denied:
        """What the receiver at `url` says; `headers` are the subscription's own."""
        said = await self._egress.send(
            Outgoing(
                method="OPTIONS",
                url=url,
                headers={
                    **{name.lower(): value for name, value in headers.items()},
                    ORIGIN_HEADER: self._origin,
                    RATE_HEADER: str(REQUESTED_PER_MINUTE),
                },
                timeout_seconds=self._timeout_seconds,
                body_bytes_max=ANSWER_BYTES_MAX,
            )
        )
        if not isinstance(said, Answered):
            return Denied(f"No answer to the handshake ({said.reason}). {hint_for(said, url, 'full') or said.detail}")
        return self._read(said, url)

    def _read(self, said: Answered, url: str) -> Granted | Denied:
        allowed = (header_of(said, ALLOWED_ORIGIN_HEADER) or "").strip().lower()
        if not allowed:
            if redirect := redirect_of(said, url):
                return Denied(redirect.fix)
            return Denied(
                f"The receiver answered OPTIONS with {said.status_code} and no leave: have it answer with the headers "
                f"WebHook-Allowed-Origin: {self._origin} and WebHook-Allowed-Rate: {ANY}."
            )
        if allowed not in (ANY, self._origin.lower()):
            return Denied(f"The receiver allows another origin: have it allow {self._origin}, or any ({ANY}).")
        rate = (header_of(said, ALLOWED_RATE_HEADER) or ANY).strip()
        if rate == ANY:
            return Granted(None)
        if not RATE.fullmatch(rate):
            return Denied(f"WebHook-Allowed-Rate must be {ANY} or a positive whole number of calls a minute.")
        return Granted(int(rate))
