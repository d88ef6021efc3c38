"""The providers' own definitions in a hurry, for tests that must see several looks; and a clock that can be set."""

import re
from datetime import datetime
from pathlib import Path

import relay.providers
from relay.clock import Clock
from relay.domain.moments import seconds_after

DEFINITIONS = Path(relay.providers.__file__).parent / "definitions"
SWIFT_SECONDS = 0.4
SWIFT_MIN_SECONDS = 0.1


def swift(folder: Path, *names: str, interval_seconds: float = SWIFT_SECONDS) -> dict[str, str]:
    """Writes `swift_<name>` for each provider into the folder; the setting that makes a relay know them."""
    for name in names:
        text = (DEFINITIONS / f"{name}.toml").read_text()
        text = re.sub(r"(?m)^interval_seconds = .*$", f"interval_seconds = {interval_seconds}", text)
        text = re.sub(r"(?m)^min_seconds = .*$", f"min_seconds = {SWIFT_MIN_SECONDS}", text)
        text = re.sub(r"(?m)^name = .*$", f'name = "swift_{name}"', text)
        (folder / f"swift_{name}.toml").write_text(text)
    return {"RELAY_PROVIDERS_DIR": str(folder)}


class ShiftedClock(Clock):
    """The real one, except that its present can be moved and its dice loaded; it waits as the real one does."""

    def __init__(self) -> None:
        self.shift_seconds = 0.0
        self.loaded: float | None = None

    def dice(self) -> float:
        return super().dice() if self.loaded is None else self.loaded

    def now(self) -> datetime:
        return seconds_after(super().now(), self.shift_seconds)
