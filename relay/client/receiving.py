"""The receiver's side: whether a call is the relay's, whole and of now, and what it says."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from relay.clock import Clock
from relay.webhooks import signing


def verify(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes | str,
    *,
    tolerance_seconds: int = signing.TOLERANCE_SECONDS,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """
    The event of a call that one of the secrets (`whsec_…`, or a public key `whpk_…`) has signed. `body` is what came,
    as bytes or as the text that they are in UTF-8: JSON that was parsed and written anew is another one. Raises
    SignatureRefused, with a `reason`, which is no ClientError; ValueError for a body that is signed but no JSON object.
    """
    if not isinstance(body, bytes | bytearray | memoryview | str):
        raise TypeError(f"the body must be bytes or str, as it came and before it is parsed, not {type(body).__name__}")
    raw = body.encode() if isinstance(body, str) else bytes(body)
    signing.verify(secret, headers, raw, (clock or Clock()).now(), tolerance_seconds)
    event = json.loads(raw)
    if not isinstance(event, dict):
        raise ValueError("the body of an event is a JSON object")  # noqa: TRY004  the value is wrong, not the call
    return event
