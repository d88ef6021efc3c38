"""The receiver's side: whether a call is the relay's, whole and of now, and what it says."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from relay.clock import Clock
from relay.webhooks import signing


def verify(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_seconds: int = signing.TOLERANCE_SECONDS,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """
    The event of a call that one of the secrets (`whsec_…`, or a public key `whpk_…`) has signed. `body` is the bytes
    as they came: JSON that was parsed and written anew has other ones. Raises SignatureRefused, with a `reason`;
    ValueError for a body that is signed but no JSON object.
    """
    signing.verify(secret, headers, body, (clock or Clock()).now(), tolerance_seconds)
    event = json.loads(body)
    if not isinstance(event, dict):
        raise ValueError("the body of an event is a JSON object")  # noqa: TRY004  the value is wrong, not the call
    return event
