"""How long the break-even takes on one core: 100,000 draws over 36 months, every option, and each of its parts.

    python benchmarks/breakeven.py [--draws 100000] [--repeat 5]

The goal is 2 seconds. Times are processor seconds, of all threads together, the median of several runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import date
from typing import TYPE_CHECKING

from freehold.economics.breakeven import compare
from freehold.economics.cashflow import cash_flow
from freehold.economics.montecarlo import draw, typical
from freehold.economics.options import lines, question
from freehold.economics.plans import default_scenario, own_plan
from freehold.economics.prices import price_of
from freehold.economics.sensitivity import changes, tornado
from freehold.economics.waiting import waiting
from freehold.economics.waterfall import waterfall
from freehold.economics.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL_S = 2.0


def main() -> None:
    """Print one line per part and the whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    june = date(2026, 6, 15)
    names = ("gpt-5.4", "groq/llama-3.3-70b-versatile", "gpt-5.4-mini")
    rent, hosted, tuned = (price_of(name, june, aliases={}) for name in names)
    workload = Workload(queries_per_month=1_000_000, input_tokens=1000, output_tokens=500)
    scenario = default_scenario(own_plan("llama-3.1-8b@h100", as_of=june), values={"escalated_share": (0.05, 0.1, 0.2)})
    asked = question(workload, rent, scenario, hosted, tuned)
    drawn, values = draw(asked.assumptions, seed=0, draws=options.draws), typical(asked.assumptions)
    parts: dict[str, Callable[[], object]] = {
        "draws": lambda: draw(asked.assumptions, seed=0, draws=options.draws),
        "cost lines of all options": lambda: lines(asked, drawn),
        "month by month": lambda: cash_flow(asked, drawn),
        "waterfall": lambda: waterfall(asked, values, drawn),
        "tornado": lambda: tornado(asked, values, drawn),
        "what would change the answer": lambda: changes(asked, values),
        "value of waiting": lambda: waiting(asked, values, seed=0),
        "all together": lambda: compare(
            workload, rent, scenario, hosted=hosted, tuned=tuned, seed=0, draws=options.draws
        ),
    }
    months = int(asked.assumptions["horizon_months"].typical)
    print(f"{options.draws:,} draws × {months} months, {len(lines(asked, values).by_name)} options")
    for part, run in parts.items():
        seconds = [_seconds(run) for _ in range(options.repeat)]
        print(f"  {part:<30} {statistics.median(seconds):6.3f} s")
    print(f"goal: {GOAL_S:g} s, {'met' if statistics.median(seconds) <= GOAL_S else 'MISSED'}")


def _seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    main()
