"""The curve of a run's losses as one SVG that a model card can show. Nothing in it depends on when it was drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = "loss.svg"
WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 28, 40
MOST_POINTS = 400
"""Longer runs are drawn as means of neighbouring steps."""


def loss_curve(losses: Sequence[float], validation: Sequence[float]) -> str:
    """Training loss by step as a line, validation loss by epoch as dots; the axes carry their ends.

    Args:
        losses: one per step.
        validation: one per epoch; the epochs share the steps evenly.
    """
    finite = [value for value in (*losses, *validation) if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    steps = max(1, len(losses))

    def place(step: float, value: float) -> tuple[float, float]:
        across = (step - 1) / max(1, steps - 1)
        up = (value - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(step, value) for step, value in _thinned(losses)))
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#c2410c"/>'
        for x, y in (
            place(steps * epoch / len(validation), value)
            for epoch, value in enumerate(validation, 1)
            if math.isfinite(value)
        )
    )
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    labels = [
        (LEFT - 6, TOP + 4, "end", f"{high:.3g}"), (LEFT - 6, bottom + 4, "end", f"{low:.3g}"),
        (LEFT, bottom + 16, "middle", "1"), (right, bottom + 16, "end", f"{steps:,}"),
        ((LEFT + right) / 2, bottom + 30, "middle", "step"),
        (LEFT, 16, "start", "mean loss of answer tokens: training (line), validation (dots)"),
    ]  # fmt: skip
    words = "".join(f'<text x="{x:g}" y="{y:g}" text-anchor="{where}">{text}</text>' for x, y, where, text in labels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="#444">\n'
        f"<title>Loss over {steps:,} steps</title>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
        f'<path d="M{LEFT},{TOP}V{bottom}H{right}" fill="none" stroke="#999"/>\n'
        f'<polyline points="{line}" fill="none" stroke="#1d4ed8" stroke-width="1.5"/>\n'
        f"{dots}\n{words}\n</svg>\n"
    )


def _thinned(losses: Sequence[float]) -> list[tuple[float, float]]:
    """Step and loss of each point, steps counted from 1."""
    size = math.ceil(len(losses) / MOST_POINTS)
    points = []
    for begin in range(0, len(losses), size or 1):
        part = [value for value in losses[begin : begin + size] if math.isfinite(value)]
        if part:
            points.append((begin + (min(size, len(losses) - begin) + 1) / 2, sum(part) / len(part)))
    return points
