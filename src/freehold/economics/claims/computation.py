"""A formula with its inputs put in: the results, the line of arithmetic, and what each input would have to be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from freehold.economics.claims.comparing import collapsed, is_close, worst_end
from freehold.economics.claims.formulas import EQUAL
from freehold.economics.claims.solving import Problem, levers, solve
from freehold.economics.claims.words import amount_words, input_words, number_words, range_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.economics.claims.claim import Given, Number
    from freehold.economics.claims.comparing import Targets
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


def solutions(
    found: Computation, targets: Targets, *, given: Mapping[str, Given], tolerance: float
) -> tuple[Solved, ...]:
    """Every input, moved alone until the result is what it should be.

    Where two ends should become two numbers, an input that is one number is solved for the end that is further off,
    and its reason says what becomes of the other one. Of an input that is a range each end is solved for itself.
    """
    worst = worst_end(targets, found.results)
    solved: list[tuple[int, Solved]] = []
    places = {each.name: place for place, each in enumerate(found.inputs)}
    for position, (scope, end) in enumerate(zip(found.scopes, found.ends, strict=True)):
        target = targets[position]
        if target is None:
            continue
        problem = Problem(found.expression, scope, target, found.unit)
        for lever in levers(found.inputs, scope, end):
            name, _, is_range = lever.name.partition(".")
            if position != worst and (not is_range or len(set(targets)) == 1):
                continue
            one = solve(problem, lever)
            remarks = [] if is_range else _other_ends(found, one, targets, worst, tolerance)
            remarks += _unusual(one, given.get(name))
            one = replace(one, reason="; ".join((one.reason, *remarks)))
            solved.append((places.get(name, len(places)), one))
    return tuple(one for _, one in sorted(solved, key=lambda pair: pair[0]))


def _other_ends(found: Computation, solved: Solved, targets: Targets, worst: int, tolerance: float) -> list[str]:
    """What the other end becomes, where it should have become something else."""
    other = 1 - worst
    wanted = targets[other] if len(set(targets)) > 1 else None
    if solved.value is None or wanted is None:
        return []
    becomes = found.expression.value({**found.scopes[other], **solved.changes})
    if is_close(wanted, becomes, tolerance):
        return []
    return [
        f"the {('lower', 'upper')[other]} end is then {number_words(becomes)}, not {amount_words(wanted, found.unit)}"
    ]


def _unusual(solved: Solved, given: Given | None) -> list[str]:
    if given is None or given.seen is None or solved.value is None:
        return []
    low, high = given.seen
    if low <= solved.value <= high:
        return []
    return [f"outside of the {range_words(given.seen, given.unit)} that is seen"]


def _scope(inputs: Sequence[Input], end: int) -> Scope:
    scope: Scope = {}
    for each in inputs:
        if each.value is not None:
            scope[each.name] = each.value[end] if isinstance(each.value, tuple) else each.value
    return scope
