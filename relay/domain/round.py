"""A round asks for many jobs in one request: when it is worth while, and what it leaves to single looks."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from relay.domain.backoff import after_faults

ABSENCES_MAX = 5  # so often in a row not on the list: the job is looked at singly from then on
WINDOWS_SECONDS: tuple[float | None, ...] = (300.0, 86_400.0, None)  # before the oldest job; None: no window at all
IDLE_PAGES_MAX = 3  # pages in a row that showed nothing of ours
SINGLY_SHARE = 0.75  # who wants to be looked at sooner than this share of a round's gap is looked at singly
NET_SHARE = 1.5  # of a round's gap: then a job that rounds should have seen is looked at singly after all
NET_SECONDS = 2.0
FAULTS_BORNE = 1  # so many rounds in a row may fail before single looks take over
FAULT_SECONDS_MAX = 900.0
OVERLOOKED_SECONDS = 300.0  # no job waits longer than this for rounds that do not come to it


@dataclass(frozen=True, slots=True)
class RoundMemo:
    """
    What one round leaves for the next: dispensable, like a job's memo. `reach` counts into WINDOWS_SECONDS; `offset`
    is where a list goes on that could not be read to its end.
    """

    faults: int = 0
    reach: int = 0
    pages: int = 0
    offset: int = 0

    @property
    def is_failing(self) -> bool:
        """True while single looks do the work."""
        return self.faults > FAULTS_BORNE

    def dump(self) -> str:
        """Compact JSON, never empty."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> "RoundMemo":
        """The memo in `text`; an empty or foreign text is an empty memo."""
        try:
            told = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            return cls()
        names = cls.__dataclass_fields__
        is_ours = isinstance(told, dict) and all(
            name in names and type(value) is int and 0 <= value < 1_000_000 for name, value in told.items()
        )
        return cls(**told) if is_ours else cls()


def round_gap(gaps: Sequence[float], pages: int, interval_seconds: float) -> float:
    """
    Seconds to the next round, from those to the next look of each job that goes on.

    It comes when as many jobs are due as it takes pages: sooner, single looks are cheaper. Never sooner than the
    provider's own interval, unless a single job is left, which has its own pace.
    """
    if not gaps:
        return interval_seconds
    if len(gaps) == 1:
        return gaps[0]
    return max(interval_seconds, sorted(gaps)[min(max(pages, 1), len(gaps)) - 1])


def net_seconds(gap_seconds: float) -> float:
    """When a job that the round in `gap_seconds` should see is looked at singly, should that round not come."""
    return gap_seconds * NET_SHARE + NET_SECONDS


def is_left_alone(look_seconds: float, gap_seconds: float) -> bool:
    """True for a job that is due so long before the round that it is looked at singly."""
    return look_seconds < gap_seconds * SINGLY_SHARE


def fault_gap(faults: int, interval_seconds: float, jitter: float) -> float:
    """Seconds to the next try after so many failed rounds in a row."""
    return after_faults(faults, interval_seconds, jitter, FAULT_SECONDS_MAX)
