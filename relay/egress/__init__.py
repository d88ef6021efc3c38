"""Nothing leaves the machine but through here: the guard, the limits, the deadlines and the HTTP client."""

from relay.egress.client import Egress
from relay.egress.exchange import Answered, CertificateFault, Outgoing, Reason, Sends, Timing, Unanswered
from relay.egress.guard import Blocked, Guard, NameNotResolved, Resolver
from relay.egress.transport import AiohttpTransport, tls_context

__all__ = [
    "AiohttpTransport",
    "Answered",
    "Blocked",
    "CertificateFault",
    "Egress",
    "Guard",
    "NameNotResolved",
    "Outgoing",
    "Reason",
    "Resolver",
    "Sends",
    "Timing",
    "Unanswered",
    "tls_context",
]
