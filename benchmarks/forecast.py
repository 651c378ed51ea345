"""How often the audit's forecasts hold what comes, and how far off they are, by shape of the traffic and length of log.

    python benchmarks/forecast.py --rounds 200

Per shape and length: of the forecast months 1, 2 and 3, the share whose interval held the calls that came, and the
median of how far the last of them was off (10 %: a factor of 1.1 either way). The traffic is made by chance
(`tests/audit/traffic_shapes.py`); a seed gives the same numbers on every machine.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from freehold.audit.forecast import CONFIDENCE, MONTHS, Series, forecast_of
from freehold.audit.task_audit import DAYS_PER_MONTH
from tests.audit.traffic_shapes import SHAPES, Shape, traffic

LENGTHS = (14, 28, 60, 120, 240, 540)
AHEAD_DAYS = 92


def main() -> None:
    """Print one line per shape and length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="Logs per shape and length.")
    rounds = parser.parse_args().rounds
    started = time.process_time()
    print(f"{rounds} logs each; {CONFIDENCE:.0%} intervals; held in month 1, 2, 3; median error of the last")
    for shape in SHAPES:
        for days in LENGTHS:
            print(f"{shape:10} {days:4} days  {_row(shape, days, rounds)}")
    print(f"{time.process_time() - started:.1f} s of CPU")


def _row(shape: Shape, days: int, rounds: int) -> str:
    held: list[list[bool]] = [[] for _ in range(MONTHS)]
    errors = []
    for seed in range(rounds):
        calls = traffic(shape, days, AHEAD_DAYS, seed=seed)
        forecast = forecast_of(Series(calls=calls[:days], exposure=np.ones(days), first_weekday=0))
        if forecast is None:
            continue
        error = 0.0
        for number, month in enumerate(forecast.months):
            first, last = (days + round(each * DAYS_PER_MONTH) for each in (number, number + 1))
            came = float(calls[first:last].mean()) * DAYS_PER_MONTH
            held[number].append(month.low <= came <= month.high)
            error = abs(math.log((came + 1) / (month.calls + 1)))
        errors.append(error)
    shares = "  ".join(f"{sum(each) / len(each):4.0%}" if each else "   -" for each in held)
    return f"{shares}  error {math.expm1(median(errors)):4.0%}  ({len(errors)} of {rounds} long enough)"


if __name__ == "__main__":
    main()
