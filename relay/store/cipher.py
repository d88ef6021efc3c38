"""Secrets at rest: encrypted with the newest key, opened with any of them."""

import base64
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.domain.errors import BadSettings

KEY_BYTES = 32  # what Fernet takes
PURPOSE = b"relay: secrets at rest, 1"  # other uses of the same RELAY_SECRET_KEY derive other keys
OPENED_MAX = 4096  # every look and every delivery opens the same few texts again

NO_KEYS = "RELAY_SECRET_KEY is empty: set one or more keys, comma-separated, newest first"
NO_KEY_FITS = (
    "RELAY_SECRET_KEY: none of its keys opens a secret in the database;"
    " add the key that was in use when it was stored, after the newest one"
)


class Cipher:
    """Fernet (AES-128-CBC, HMAC-SHA256) under keys derived by HKDF-SHA256 from strings of any form, newest first."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises BadSettings when there is no key, or an empty one."""
        if not keys or not all(keys):
            raise BadSettings([NO_KEYS])
        fernets = [Fernet(_derive(key)) for key in keys]
        self._newest = fernets[0]
        self._fernet = MultiFernet(fernets)
        self._opened = lru_cache(maxsize=OPENED_MAX)(self._open)

    def encrypt(self, text: str) -> str:
        """`text` under the newest key; never the same twice."""
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def decrypt(self, text: str) -> str:
        """What `encrypt` was given. Raises BadSettings, without the text, when no key opens it."""
        return self._opened(text)

    def rotate(self, text: str) -> str:
        """The same secret under the newest key: `text` itself when it is. Raises BadSettings when no key opens it."""
        try:
            self._newest.decrypt(text.encode())
        except InvalidToken:
            return self.encrypt(self._open(text))
        return text

    def _open(self, text: str) -> str:
        try:
            return self._fernet.decrypt(text.encode()).decode()
        except InvalidToken:
            raise BadSettings([NO_KEY_FITS]) from None


def _derive(key: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=PURPOSE).derive(key.encode())
    return base64.urlsafe_b64encode(derived)
