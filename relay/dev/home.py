"""The folder that `relay dev` keeps between runs: its database, its keys, its logs, and a lock on all of it."""

import base64
import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from relay.clock import Clock
from relay.domain.errors import BadSettings
from relay.domain.key import make_key
from relay.webhooks.signing import new_secret

SLOTS_MAX = 16
FOLDER_MODE = 0o700
FILE_MODE = 0o600
ENTROPY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """Made once for each home, so that the next run can read what this one encrypted."""

    secret_key: str = field(repr=False)
    api_key: str = field(repr=False)
    inbox_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Home:
    """`number` is 1 for the folder itself; later ones are for what runs at the same time."""

    folder: Path
    number: int
    keys: Keys

    @property
    def database_url(self) -> str:
        """SQLite, by its absolute path."""
        return f"sqlite:///{quote(str(self.folder / 'relay.db'))}"


@contextlib.contextmanager
def moved_in(folder: Path, clock: Clock) -> Iterator[Home]:
    """
    The first home in `folder` that nobody lives in: the folder itself, then `2`, `3` … inside it. They share nothing,
    so that two `relay dev` in one place cannot get into each other's way. Raises BadSettings when there is none.
    """
    folder = folder.absolute()
    for number in range(1, SLOTS_MAX + 1):
        place = folder if number == 1 else folder / str(number)
        with _writing(folder):
            place.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            with _writing(folder):
                home = Home(place, number, _keys(place / "keys.json", clock))
            yield home
        finally:
            os.close(lock)
        return
    raise BadSettings([f"{folder}: {SLOTS_MAX} of `relay dev` run here already; stop one, or use another --folder"])


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fault = f"{error.filename or folder}: {error.strerror}; `relay dev` keeps its parts there"
        raise BadSettings([f"{fault}: choose another --folder, one that may be written"]) from None


def _keys(path: Path, clock: Clock) -> Keys:
    if path.exists():
        try:
            return Keys(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise BadSettings([f"{path}: not the keys of a `relay dev`; remove {path.parent} to begin anew"]) from None
    keys = Keys(
        secret_key=base64.urlsafe_b64encode(clock.entropy(ENTROPY_BYTES)).decode(),
        api_key=make_key(clock.entropy(ENTROPY_BYTES)),
        inbox_secret=new_secret(clock.entropy(ENTROPY_BYTES)),
    )
    draft = path.with_suffix(".draft")
    # Whole or not at all: a run that was killed half-way must not leave keys that cannot be read.
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "w", encoding="utf-8") as file:
        json.dump(asdict(keys), file, indent=2)
    draft.replace(path)
    return keys
