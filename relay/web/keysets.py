"""The public keys of all `v1a` signatures, for whoever verifies them and has no key of the relay's API."""

from dataclasses import dataclass, field

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.bootstrap import Relay
from relay.webhooks.signing import jwk_of

SUBSCRIPTIONS_MAX = 10_000  # whose keys are published; every one's own are in its subscription
FRESH_SECONDS = 1.0  # for so long nobody's asking costs the database anything
PUBLIC_SECONDS = 300  # a rotation's overlap should be longer

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Published:
    """The set as it was when the database was last asked."""

    read_at: float | None = None
    keys: list[dict[str, str]] = field(default_factory=list)

    async def read(self, relay: Relay) -> list[dict[str, str]]:
        """The keys by `kid`, which tells neither whose they are nor which are one tenant's."""
        now = relay.clock.monotonic()
        if self.read_at is None or now - self.read_at > FRESH_SECONDS:
            public = await relay.store.list_public_keys(relay.clock.now(), SUBSCRIPTIONS_MAX)
            if len(public) >= SUBSCRIPTIONS_MAX:
                log.warning("keys_not_published", published=len(public), fix="receivers pin their subscription's keys")
            self.keys = sorted(map(jwk_of, public), key=lambda jwk: jwk["kid"])
            self.read_at = now
        return self.keys


async def show(request: Request) -> Response:
    """The JSON Web Key Set (RFC 7517)."""
    published: Published = request.app.state.published
    keys = await published.read(request.app.state.relay)
    headers = {"cache-control": f"public, max-age={PUBLIC_SECONDS}"}
    return JSONResponse({"keys": keys}, headers=headers, media_type="application/jwk-set+json")
