"""What a run has drawn, emitted and cost in power, as far as it can be told from its time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

Spread = tuple[float, float, float]
"""Low, typical, high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Of one run."""

    hours: float
    """That were counted: of busy cores on a processor, of devices otherwise."""
    counted: str
    """Of what."""
    kwh: Spread
    kg_co2: Spread
    usd: Spread
    """Of the power alone."""
    assumptions: tuple[str, ...]


def footprint(*, device: str, devices: int, seconds: float, cpu_seconds: float) -> Footprint:
    """Power, emissions and the price of the power of a run.

    hours × watts × power usage effectiveness; low values are multiplied with low ones, high with high, so that the
    ends are further apart than they are likely to be.

    Args:
        device: `cpu`, or the kind of accelerator.
        devices: how many accelerators.
        seconds: wall time.
        cpu_seconds: time of busy processor cores, all of them together.
    """
    table = _table()
    is_cpu = device == "cpu"
    hours = (cpu_seconds if is_cpu else seconds * devices) / 3600
    names = ("watts_per_core" if is_cpu else "watts_per_device", "pue", "gco2_per_kwh", "usd_per_kwh")
    watts, pue, grams, usd = (table[name][0] for name in names)
    kwh = [hours * watt / 1000 * factor for watt, factor in zip(watts, pue, strict=True)]
    return Footprint(
        hours=hours,
        counted="busy processor cores" if is_cpu else f"{device} devices",
        kwh=(kwh[0], kwh[1], kwh[2]),
        kg_co2=(kwh[0] * grams[0] / 1000, kwh[1] * grams[1] / 1000, kwh[2] * grams[2] / 1000),
        usd=(kwh[0] * usd[0], kwh[1] * usd[1], kwh[2] * usd[2]),
        assumptions=tuple(
            f"{name} {' / '.join(f'{value:g}' for value in table[name][0])} ({table[name][1]})" for name in names
        ),
    )


@cache
def _table() -> dict[str, tuple[Spread, str]]:
    rows = yaml.safe_load((resources.files("freehold.tuning") / "energy.yaml").read_text("utf-8"))
    return {name: ((row["value"][0], row["value"][1], row["value"][2]), row["source"]) for name, row in rows.items()}
