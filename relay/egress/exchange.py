"""What goes out and what comes back, as values: a failure on the way is an answer like any other."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from ssl import SSLError, SSLObject, cert_time_to_seconds
from typing import Literal, Protocol

from relay.clock import Clock
from relay.domain.delivery import Blame

Reason = Literal["timeout", "refused", "reset", "dns", "tls", "blocked", "too_large"]
Phase = Literal["queue", "dns", "connect", "tls", "wait", "read"]
CertificateFault = Literal["expired", "not_yet_valid", "other_name", "self_signed", "untrusted"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """
    One request. `timeout_seconds` covers everything, from the name's lookup to the last byte of the body. One that is
    not `is_repeatable` gets a connection of its own, for a kept one may be lost so that nobody knows if it was heard.
    Others are sent again on a new one then, except what `is_metered`: whoever pays for it is told, and may do so.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # they sign in
    body: bytes = field(default=b"", repr=False)
    timeout_seconds: float = 15.0
    body_bytes_max: int = 65_536
    is_repeatable: bool = True
    is_metered: bool = False


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of each part, None where it was not needed or not reached; a part that was cut counts till then."""

    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    wait_ms: int | None = None
    read_ms: int | None = None

    def to_json(self) -> dict[str, int | None]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Answered:
    """
    A response. Header names are in lower case; `body` is as sent, never decompressed, and only its first
    `body_bytes_max` bytes when `is_truncated`. `certificate_expires_at` is the peer's, told by the exchange that made
    the connection; None on a kept one and for plain HTTP.
    """

    status_code: int
    headers: list[tuple[str, str]]
    body: bytes
    is_truncated: bool
    timing: Timing
    certificate_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unanswered:
    """
    No response, or not a whole one. `detail` may be shown to tenants: it holds no address. So may `reason`: `blocked`
    is what the URL's own text forbids, while an address that the guard refused reads as one that cannot be reached.
    `cause` is for the log alone. `was_sent` is true when the peer may have had the request. `certificate_fault` says
    what was wrong where the certificate was. `is_garbled`: something came, which was not HTTP. `is_stale`: a kept
    connection was lost before a byte of an answer, as happens to the best, and the same request may go out again.
    """

    reason: Reason
    detail: str
    timing: Timing
    blame: Blame
    was_sent: bool
    cause: str = ""
    certificate_fault: CertificateFault | None = None
    is_garbled: bool = False
    is_stale: bool = False


class Sends(Protocol):
    """Whatever sends a request and gives what came of it: the egress itself, or who asks for leave first."""

    async def send(self, request: Outgoing) -> Answered | Unanswered:
        """What came of it, also when nothing came."""
        ...


class Stopwatch:
    """The moments of one exchange, each None until it has come."""

    __slots__ = (
        "_clock",
        "answered",
        "connect_started",
        "connected",
        "dns_ended",
        "dns_started",
        "queue_ended",
        "queue_started",
        "tls",
        "tls_error",
        "tls_started",
        "was_sent",
    )

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.was_sent = False
        self.start_over()

    def start_over(self) -> None:
        """For a second try: `was_sent` stays, as the first try may have been heard."""
        self.queue_started: float | None = None
        self.queue_ended: float | None = None
        self.dns_started: float | None = None
        self.dns_ended: float | None = None
        self.connect_started: float | None = None
        self.tls_started: float | None = None
        self.tls: SSLObject | None = None
        self.tls_error: SSLError | None = None
        self.connected: float | None = None
        self.answered: float | None = None

    def now(self) -> float:
        return self._clock.monotonic()

    @property
    def is_reused(self) -> bool:
        """True when the connection was there before this exchange."""
        return self.connected is not None and self.connect_started is None

    @property
    def phase(self) -> Phase:
        """The part that the exchange is in."""
        if self.answered is not None:
            return "read"
        if self.connected is not None:
            return "wait"
        if self.tls_started is not None:
            return "tls"
        if self.dns_started is not None and self.dns_ended is None:
            return "dns"
        return "connect" if self.queue_started is None or self.queue_ended is not None else "queue"

    def certificate_expires_at(self) -> datetime | None:
        """When the certificate of the handshake that was made runs out; None when none was made, or not to its end."""
        certificate = self.tls.getpeercert() if self.tls is not None and self.connected is not None else None
        if not certificate:  # also where nobody checks certificates, in a test
            return None
        return datetime.fromtimestamp(cert_time_to_seconds(str(certificate["notAfter"])), UTC)

    def timing(self) -> Timing:
        """The split, as of now."""
        now = self.now()
        return Timing(
            dns_ms=_between(self.dns_started, self.dns_ended, now),
            connect_ms=_between(self.connect_started, self.tls_started or self.connected, now),
            tls_ms=_between(self.tls_started, self.connected, now),
            wait_ms=_between(self.connected, self.answered, now),
            read_ms=_between(self.answered, None, now),
        )


def _between(start: float | None, end: float | None, now: float) -> int | None:
    if start is None:
        return None
    return round(((now if end is None else end) - start) * 1000)
