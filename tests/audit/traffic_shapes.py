"""Calls a day as tasks have them, made by chance from a seed: what forecasts are tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from freehold.audit.task_audit import DAYS_PER_MONTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Shape = Literal["flat", "weekly", "wandering", "growing", "stepped", "dying", "sparse", "bursty", "moody"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
_WEEK = np.array([1.2, 1.2, 1.1, 1.1, 1.0, 0.3, 0.3])


def traffic(shape: Shape, days: int, ahead: int, *, seed: int) -> Floats:
    """Calls of `days` days that are known and of `ahead` days that follow."""
    random = np.random.default_rng([seed, days, SHAPES.index(shape)])
    day = np.arange(days + ahead)
    weekly = 300 * _WEEK[day % 7]
    wander = np.exp(np.cumsum(random.normal(0, 0.02, len(day))))
    means: dict[Shape, Floats] = {
        "flat": np.full(len(day), 200.0),
        "weekly": weekly,
        "wandering": weekly * wander,
        "growing": weekly * wander * np.exp(np.log1p(random.uniform(0.05, 0.5)) * day / DAYS_PER_MONTH),
        # Doubled or halved on one day within what is known.
        "stepped": weekly * np.where(day < random.integers(days // 4, 3 * days // 4), 1.0, random.choice([0.5, 2.0])),
        "dying": weekly * wander * np.exp(-0.25 * day / DAYS_PER_MONTH),
        "sparse": 4.0 * wander,
        "bursty": weekly * random.gamma(1.5, 1 / 1.5, len(day)),
        "moody": weekly * np.exp(_returning(random.normal(0, 0.15, len(day)))),
    }
    return random.poisson(means[shape]).astype(np.float64)


def _returning(shocks: Floats) -> Floats:
    """A level that moves with every shock and comes back within weeks."""
    level = np.zeros(len(shocks))
    for day in range(1, len(shocks)):
        level[day] = 0.85 * level[day - 1] + shocks[day]
    return level
