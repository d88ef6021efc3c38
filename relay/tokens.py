"""Texts that the relay hands out and wants back unchanged: links, cursors and sessions, signed by itsdangerous."""

from collections.abc import Sequence

from itsdangerous import BadSignature, Signer, URLSafeSerializer


class Tokens:
    """Signs with the newest key, accepts every key that is still set; each kind has a salt of its own."""

    def __init__(self, keys: Sequence[str]) -> None:
        oldest_first = list(reversed(keys))
        self._results = URLSafeSerializer(oldest_first, salt="relay.result")
        self._cursors = URLSafeSerializer(oldest_first, salt="relay.cursor")
        self._sessions = URLSafeSerializer(oldest_first, salt="relay.session")
        self._marks = Signer(oldest_first, salt="relay.mark")

    def for_result(self, job_id: str) -> str:
        """The token of the public link to a job's result."""
        return _text(self._results.dumps(job_id))

    def job_of(self, token: str) -> str | None:
        """The job whose result the token opens, or None when it is not one of ours."""
        return _loaded(self._results, token)

    def for_cursor(self, place: str) -> str:
        """An opaque cursor that remembers `place`."""
        return _text(self._cursors.dumps(place))

    def place_of(self, cursor: str) -> str | None:
        """The place a cursor remembers, or None when it is not one of ours."""
        return _loaded(self._cursors, cursor)

    def for_session(self, told: str) -> str:
        """A cookie that remembers what was `told`, for whoever holds it to read and nobody else to write."""
        return _text(self._sessions.dumps(told))

    def told_by(self, session: str) -> str | None:
        """What a session's cookie remembers, or None when it is not one of ours."""
        return _loaded(self._sessions, session)

    def mark(self, secret: str) -> str:
        """A fingerprint that changes with the secret, and by which nobody can guess at it."""
        return self._marks.get_signature(secret).decode()


def _text(signed: str | bytes) -> str:
    return signed if isinstance(signed, str) else signed.decode()


def _loaded(serializer: URLSafeSerializer, signed: str) -> str | None:
    try:
        value = serializer.loads(signed)
    except BadSignature:
        return None
    return value if isinstance(value, str) else None
