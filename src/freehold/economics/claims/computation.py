"""A formula with its inputs put in: the results, the line of arithmetic, and a value for what is not stated."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from freehold.economics.claims.comparing import collapsed
from freehold.economics.claims.formulas import EQUAL
from freehold.economics.claims.solving import Problem, levers, solve
from freehold.economics.claims.words import input_words, range_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.economics.claims.claim import Number
    from freehold.economics.claims.expression import Expression, Scope
    from freehold.economics.claims.finding import Input, Solved


@dataclass(frozen=True, slots=True, kw_only=True)
class Computation:
    """One formula, computed at the low end of all its inputs and, if any is a range, at the high end."""

    expression: Expression
    unit: str
    inputs: tuple[Input, ...]
    scopes: tuple[Scope, ...]
    """By rising result."""
    ends: tuple[int, ...]
    """Which end of the ranges each scope holds: 0 low, 1 high."""
    results: tuple[float, ...]
    """Rising; empty while an input is missing or the arithmetic has no result."""

    @property
    def missing(self) -> tuple[Input, ...]:
        """Inputs that the text does not state."""
        return tuple(each for each in self.inputs if each.value is None)

    @property
    def value(self) -> Number | None:
        """A number, a range, or None when there is no result."""
        return collapsed(self.results) if self.results else None

    @property
    def arithmetic(self) -> str:
        """The line that a reader checks; inputs that nobody states appear by name."""
        shown = {each.name: input_words(each.value, each.unit) for each in self.inputs if each.value is not None}
        left = self.expression.words(shown, self.scopes if self.results else ())
        if not self.results:
            return f"{left} = ?"
        if self.unit == EQUAL:
            return left
        right = range_words(self.results, self.unit)
        return right if self.expression.text == "value" else f"{left} = {right}"


def compute(expression: Expression, unit: str, inputs: Sequence[Input]) -> Computation:
    """Put the inputs into a formula.

    Raises:
        InputError: a model or a machine is unknown, or does not do what the formula asks of it.
    """
    ends = (0, 1) if any(isinstance(each.value, tuple) for each in inputs) else (0,)
    scopes = [_scope(inputs, end) for end in ends]
    is_known = all(each.value is not None for each in inputs)
    results = [expression.value(scope) for scope in scopes] if is_known else []
    if not results or not all(math.isfinite(result) for result in results):
        return Computation(
            expression=expression, unit=unit, inputs=tuple(inputs), scopes=tuple(scopes), ends=ends, results=()
        )
    order = sorted(range(len(ends)), key=lambda position: results[position])
    return Computation(
        expression=expression,
        unit=unit,
        inputs=tuple(inputs),
        scopes=tuple(scopes[position] for position in order),
        ends=tuple(ends[position] for position in order),
        results=tuple(results[position] for position in order),
    )


def with_value(found: Computation, name: str, value: Number) -> Computation:
    """The same with a value for an input that the text does not state."""
    inputs = [replace(each, value=value, is_stated=False) if each.name == name else each for each in found.inputs]
    return compute(found.expression, found.unit, inputs)


def solve_missing(found: Computation, target: float) -> Solved:
    """The value of the one missing input at which the result is the target."""
    missing = found.missing[0]
    scope = found.scopes[0]
    lever = next(each for each in levers(found.inputs, scope, 0) if each.name == missing.name)
    return solve(Problem(found.expression, scope, target, found.unit), lever)


def _scope(inputs: Sequence[Input], end: int) -> Scope:
    scope: Scope = {}
    for each in inputs:
        if each.value is not None:
            scope[each.name] = each.value[end] if isinstance(each.value, tuple) else each.value
    return scope
