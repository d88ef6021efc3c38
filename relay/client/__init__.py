"""The relay's API for Python programs: `Client`, `AsyncClient`, and `verify` for those who receive."""

from relay.client.asynchronous import AsyncClient
from relay.client.errors import ClientError, NoAnswer, NotEnded, NotUnderstood, ProblemError
from relay.client.receiving import verify
from relay.client.synchronous import Client
from relay.webhooks.signing import SignatureRefused

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "NoAnswer",
    "NotEnded",
    "NotUnderstood",
    "ProblemError",
    "SignatureRefused",
    "verify",
]
