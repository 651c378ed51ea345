"""Which value of one input alone makes a formula give a wanted number.

A coarse grid over the sane range of the input finds where the wanted number is crossed, bisection finds the place.
A crossing that bisection cannot confirm (a pole, a jump) is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.economics.claims.finding import Input, Solved
from freehold.economics.claims.formulas import QUANTITIES
from freehold.economics.claims.words import amount_words, input_words, number_words, range_words, short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from freehold.economics.claims.expression import Expression, Scope

_STEPS = 96
_DIGITS = 12
_SMALLEST = 1e-9
"""First step above zero, where a range begins at zero."""
_EXACT = 1e-9
"""Relative distance from the wanted number at which a solution counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One way to move the inputs of a formula by a single number."""

    name: str
    unit: str
    given: float | None
    low: float
    high: float
    is_whole: bool = False
    change: Callable[[float], dict[str, float]]
    about: Callable[[float], str] | None = None
    """Says in words what a value means for the inputs behind it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A formula at one end of its inputs, and the number it should give."""

    expression: Expression
    scope: Scope
    target: float
    unit: str

    def result(self, lever: Lever, at: float) -> float:
        """The formula's result with the lever moved; NaN where it has none."""
        try:
            return self.expression.value({**self.scope, **lever.change(at)})
        except InputError:
            return math.nan


def levers(inputs: Sequence[Input], scope: Scope, end: int) -> Iterator[Lever]:
    """Every number of a formula, then what moves two of them together.

    `end` says which end of an input that is a range the scope holds: 0 the lower, 1 the upper one.
    """
    for each in inputs:
        quantity = QUANTITIES[each.name]
        if isinstance(each.value, str):
            continue
        suffix = f".{('low', 'high')[end]}" if isinstance(each.value, tuple) else ""
        given = scope.get(each.name)
        yield Lever(
            name=f"{each.name}{suffix}",
            unit=each.unit,
            given=given if isinstance(given, float) and each.is_stated else None,
            low=quantity.low,
            high=quantity.high if each.most is None else min(quantity.high, each.most),
            is_whole=quantity.is_whole,
            change=_single(each.name),
        )
    yield from _token_levers({each.name: each for each in inputs}, scope)


def solve(problem: Problem, lever: Lever) -> Solved:
    """Move one lever until the formula gives the target, or say why it cannot.

    Of several solutions the one nearest to the present value is taken.
    """
    grid = _grid(lever)
    results = [problem.result(lever, at) for at in grid]
    root = _nearest(lever.given, _roots(problem, lever, grid, results))
    if root is None:
        return _unsolved(lever, _why_unreachable(problem, lever, grid, results))
    if lever.is_whole and root != (whole := round(root)):
        if not _is_reached(problem, problem.result(lever, float(whole))):
            return _unsolved(lever, f"unreachable: {number_words(root)} would be needed, and there are only whole ones")
        root = float(whole)
    neat = float(f"{root:.{_DIGITS}g}")  # 5,000, where bisection ends at 4,999.999999999999
    root = min((neat, root), key=lambda at: abs(problem.result(lever, at) - problem.target))
    meaning = f"{lever.about(root)}, " if lever.about else ""
    before = "never stated" if lever.given is None else f"instead of {input_words(lever.given, lever.unit)}"
    return Solved(
        input=lever.name,
        value=root,
        unit=lever.unit,
        given=lever.given,
        reason=f"{meaning}{before}",
        changes=lever.change(root),
    )


def _unsolved(lever: Lever, reason: str) -> Solved:
    return Solved(input=lever.name, value=None, unit=lever.unit, given=lever.given, reason=reason, changes={})


def _single(name: str) -> Callable[[float], dict[str, float]]:
    return lambda at: {name: at}


def _token_levers(inputs: Mapping[str, Input], scope: Scope) -> Iterator[Lever]:
    """Longer calls of the same shape, and another split of calls of the same length."""
    given, answered = scope.get("input_tokens"), scope.get("output_tokens")
    if not isinstance(given, float) or not isinstance(answered, float) or given + answered <= 0:
        return
    if isinstance(inputs["input_tokens"].value, tuple) or isinstance(inputs["output_tokens"].value, tuple):
        return
    total = given + answered
    most = inputs["input_tokens"].most
    longest = QUANTITIES["input_tokens"].high if most is None or given == 0 else most * total / given
    unit = inputs["input_tokens"].unit

    def scaled(at: float) -> dict[str, float]:
        return {"input_tokens": given * at / total, "output_tokens": answered * at / total}

    def split(at: float) -> dict[str, float]:
        return {"input_tokens": total - at, "output_tokens": at}

    yield Lever(
        name="tokens_per_query",
        unit=unit,
        given=total,
        low=1.0,
        high=longest,
        change=scaled,
        about=lambda at: " + ".join(number_words(short(part)) for part in scaled(at).values()) + " tokens",
    )
    yield Lever(
        name="output_tokens_of_total",
        unit=unit,
        given=answered,
        low=0.0,
        high=total,
        change=split,
        about=lambda at: f"of the {number_words(total)} tokens of a call",
    )


def _grid(lever: Lever) -> list[float]:
    """Rising values from the lowest to the highest: even steps in ratio, the present value and zero among them."""
    first = lever.low if lever.low > 0 else min(_SMALLEST, lever.high)
    ratio = (lever.high / first) ** (1.0 / _STEPS)
    points = {lever.low, lever.high, *(first * ratio**step for step in range(_STEPS))}
    if lever.given is not None and lever.low <= lever.given <= lever.high:
        points.add(lever.given)
    return sorted(point for point in points if lever.low <= point <= lever.high)


def _roots(problem: Problem, lever: Lever, grid: list[float], results: list[float]) -> Iterator[float]:
    for left, right, at_left, at_right in zip(grid, grid[1:], results, results[1:], strict=False):
        if at_left == problem.target:
            yield left
        elif (at_left - problem.target) * (at_right - problem.target) < 0:
            root = _bisected(problem, lever, left, right, rises=at_right > at_left)
            if _is_reached(problem, problem.result(lever, root)):
                yield root
    if results[-1] == problem.target:
        yield grid[-1]


def _bisected(problem: Problem, lever: Lever, left: float, right: float, *, rises: bool) -> float:
    """Halve until there is no number between the ends."""
    while left < (middle := (left + right) / 2.0) < right:
        if (problem.result(lever, middle) < problem.target) == rises:
            left = middle
        else:
            right = middle
    return min((left, right), key=lambda at: abs(problem.result(lever, at) - problem.target))


def _is_reached(problem: Problem, result: float) -> bool:
    return abs(result - problem.target) <= _EXACT * max(abs(problem.target), _EXACT)


def _nearest(given: float | None, roots: Iterator[float]) -> float | None:
    return min(roots, key=lambda root: abs(root - (given or 0.0)), default=None)


def _why_unreachable(problem: Problem, lever: Lever, grid: list[float], results: list[float]) -> str:
    """What the formula gives over the range instead."""
    known = [(at, result) for at, result in zip(grid, results, strict=True) if math.isfinite(result)]
    if not known:
        return "unreachable: the formula has no result for any value"
    low, high = min(result for _, result in known), max(result for _, result in known)
    ends = f"from {number_words(known[0][0])} to {amount_words(known[-1][0], lever.unit)}"
    if high - low <= _EXACT * abs(high):
        return "unreachable: alone it makes no difference"
    gives = range_words((low, high), problem.unit)
    return f"unreachable: {ends} the result is {gives}, never {number_words(problem.target)}"
