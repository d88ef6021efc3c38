"""Looks and delay of the learned pace against fixed intervals and exponential backoff, on simulated durations."""

# The delay is from a job's end to the look that sees it. Everything is drawn from one seed, so that the figures repeat:
#
#     python -m bench pace > bench/results/pace.txt        (the plot goes to bench/results/pace.svg)

import math
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from relay.domain.pacing import Pace, next_gap
from relay.looking.desk import spread

JOBS = 4000
PAST = 500
SEED = 7
PACE = Pace(interval_seconds=3.0, min_seconds=1.0, max_seconds=60.0)
FIXED_SECONDS = (2, 3, 5, 8, 13, 21, 34)
BACKOFF_FIRST, BACKOFF_MAX = 1.0, 120.0
PLOT = Path(__file__).parent / "results" / "pace.svg"

Draw = Callable[[random.Random], float]
Gap = Callable[[float, int, random.Random], float]

DURATIONS: dict[str, Draw] = {
    "narrow: 105 s, log-normal 0.15": lambda dice: dice.lognormvariate(math.log(105), 0.15),
    "usual: 30 s, log-normal 0.6": lambda dice: dice.lognormvariate(math.log(30), 0.6),
    "mixed: 30 s, log-normal 1.2": lambda dice: dice.lognormvariate(math.log(30), 1.2),
    "two kinds: 8 s and 300 s": lambda dice: dice.gauss(8, 1.5) if dice.random() < 0.5 else dice.gauss(300, 30),
    "memoryless: mean 60 s": lambda dice: dice.expovariate(1 / 60),
}


def policies(quantiles: tuple[float, ...]) -> Iterator[tuple[str, Gap]]:
    """Each policy gives the gap to the next look by the job's age, the looks so far and dice."""
    yield "learned", lambda age, _looks, dice: next_gap(age, PACE, quantiles, dice.random())
    yield "at the start", lambda age, _looks, dice: next_gap(age, PACE, (), dice.random())
    for seconds in FIXED_SECONDS:
        yield f"fixed {seconds} s", lambda _age, _looks, _dice, seconds=seconds: seconds
    yield (
        "backoff, full jitter",
        lambda _age, looks, dice: max(0.2, dice.random() * min(BACKOFF_MAX, BACKOFF_FIRST * 2**looks)),
    )


def run(gap: Gap, lengths: list[float], dice: random.Random) -> tuple[float, float]:
    """Mean looks and mean delay in seconds over all jobs."""
    looks, delays = [], []
    for length in lengths:
        age, count = 0.0, 0
        while age < length:
            age += gap(age, count, dice)
            count += 1
        looks.append(count)
        delays.append(age - length)
    return fmean(looks), fmean(delays)


def fixed_delay_at(results: dict[str, tuple[float, float]], looks: float) -> float:
    """The delay that a fixed interval with as many looks would have, between the two nearest ones simulated."""
    points = sorted(results[f"fixed {seconds} s"] for seconds in FIXED_SECONDS)
    for (fewer, longer), (more, shorter) in pairwise(points):
        if fewer <= looks <= more:
            return longer + (shorter - longer) * (looks - fewer) / (more - fewer)
    return points[0][1] if looks < points[0][0] else points[-1][1]


def panel(name: str, results: dict[str, tuple[float, float]], top: int) -> str:
    """One distribution's picture: looks to the right, delay upwards, both on a logarithmic scale."""

    def place(looks: float, delay: float) -> tuple[float, float]:
        return 60 + 150 * math.log10(max(looks, 1)), top + 190 - 75 * math.log10(max(delay, 0.3) / 0.3)

    parts = [f'<text x="60" y="{top + 14}" font-weight="bold">{name}</text>']
    fixed = [place(*results[f"fixed {seconds} s"]) for seconds in FIXED_SECONDS]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in fixed)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#888"/>')
    colours = {"learned": "#0a7", "at the start": "#06c", "backoff, full jitter": "#c30"}
    for policy, told in results.items():
        x, y = place(*told)
        colour = colours.get(policy, "#888")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        if policy in colours:
            parts.append(f'<text x="{x + 7:.1f}" y="{y + 4:.1f}" fill="{colour}">{policy}</text>')
    return "".join(parts)


def main() -> None:
    panels = []
    print(f"{JOBS} jobs each, pace learned from {PAST} others; looks a job, delay in seconds\n")
    for number, (name, draw) in enumerate(DURATIONS.items()):
        dice = random.Random(SEED)
        quantiles = spread([max(0.5, draw(dice)) for _ in range(PAST)])
        lengths = [max(0.5, draw(dice)) for _ in range(JOBS)]
        results = {policy: run(gap, lengths, random.Random(SEED)) for policy, gap in policies(quantiles)}
        print(name)
        for policy, (looks, delay) in results.items():
            print(f"  {policy:<22} {looks:6.1f} looks   {delay:6.2f} s")
        looks, delay = results["learned"]
        ratio = fixed_delay_at(results, looks) / delay
        print(f"  a fixed interval with as many looks as the learned pace has {ratio:.2f} times its delay\n")
        panels.append(panel(name, results, 20 + 230 * number))
    height = 30 + 230 * len(panels)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 {height}" font-family="sans-serif" font-size="12">'
    )
    note = f'<text x="60" y="{height - 6}">looks a job →   delay ↑   (both logarithmic; grey: fixed intervals)</text>'
    PLOT.write_text(f'{head}<rect width="560" height="{height}" fill="#fff"/>{"".join(panels)}{note}</svg>\n')


if __name__ == "__main__":
    main()
