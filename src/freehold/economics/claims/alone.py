"""What would make a whole claim true, one input at a time.

A value counts only if the claim, computed again with it, holds at both of its ends. Both ends of an input that is a
range may be moved by one factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from freehold.economics.claims.comparing import is_close, worst_end
from freehold.economics.claims.formulas import QUANTITIES
from freehold.economics.claims.solving import Lever, Problem, levers, solve
from freehold.economics.claims.words import about_words, amount_words, range_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from freehold.economics.claims.claim import Given
    from freehold.economics.claims.comparing import Targets
    from freehold.economics.claims.computation import Computation
    from freehold.economics.claims.finding import Input, Solved

_SAME = 1e-9
"""Relative distance below which a solution is the value that is there already."""
_INSIDE = 1e-9
"""How far inside of its tolerance an end is put, so that rounding does not put it outside."""
_ENDS = ("lower", "upper")


def solutions(
    found: Computation,
    targets: Targets,
    *,
    given: Mapping[str, Given],
    tolerance: float,
    is_true: Callable[[Computation], bool] = lambda _: True,
) -> tuple[Solved, ...]:
    """Every input, moved alone until the claim holds, or why no value of it does that.

    Args:
        found: The computation as the text has it.
        targets: What its ends should be.
        given: The inputs as the text gives them, with the ranges in which such numbers are seen.
        tolerance: Relative distance within which an end is right.
        is_true: Whether a computation makes the claim true.
    """
    search = _Search(found, targets, tolerance, is_true)
    places = {each.name: place for place, each in enumerate(found.inputs)}
    solved = []
    for name, one in search.all():
        remarks = _unusual(one, given.get(name))
        solved.append((places.get(name, len(places)), replace(one, reason="; ".join((one.reason, *remarks)))))
    return tuple(one for _, one in sorted(solved, key=lambda pair: pair[0]))


def is_given(solved: Solved) -> bool:
    """Whether the solution is the value that the text gives already."""
    return (
        solved.value is not None
        and solved.given is not None
        and math.isclose(solved.value, solved.given, rel_tol=_SAME, abs_tol=_SAME)
    )


@dataclass(frozen=True, slots=True)
class _Search:
    found: Computation
    targets: Targets
    tolerance: float
    is_true: Callable[[Computation], bool]

    @property
    def is_paired(self) -> bool:
        """Whether two ends should become two numbers."""
        return len(set(self.targets)) > 1 and None not in self.targets

    def all(self) -> Iterator[tuple[str, Solved]]:
        """Name of an input, and what came of moving it."""
        worst = worst_end(self.targets, self.found.results)
        for position, (scope, end) in enumerate(zip(self.found.scopes, self.found.ends, strict=True)):
            if position != worst and not self.is_paired:
                continue
            for lever in levers(self.found.inputs, scope, end):
                name, _, is_range = lever.name.partition(".")
                if is_range:
                    yield name, self.one_end(lever, position)
                elif position == worst:
                    yield name, self.single(lever, worst)
        if self.is_paired:
            for each in self.found.inputs:
                if isinstance(each.value, tuple) and each.value[1] > 0:
                    yield each.name, self.both_ends(each, each.value, worst)

    def single(self, lever: Lever, worst: int) -> Solved:
        """An input that is one number, which moves all ends."""
        first = self.solved(lever, worst, self.targets[worst])
        if first.value is None or self.holds([first.changes] * len(self.found.scopes)):
            return first
        for position, target in self.others(worst):
            one = self.solved(lever, position, target)
            if one.value is not None and self.holds([one.changes] * len(self.found.scopes)):
                return replace(one, reason=f"{one.reason}; within the tolerance at both ends")
        return self.refused(first, [first.changes] * len(self.found.scopes), worst)

    def one_end(self, lever: Lever, position: int) -> Solved:
        """One end of an input that is a range; the other end stays as it is."""
        one = self.solved(lever, position, self.targets[position])
        if one.value is None:
            return one
        changes = [one.changes if place == position else {} for place in range(len(self.found.scopes))]
        if not self.holds(changes):
            return self.refused(one, changes, position)
        return one

    def both_ends(self, each: Input, value: tuple[float, float], worst: int) -> Solved:
        """Both ends of an input that is a range, times one factor."""
        low, high = value
        quantity = QUANTITIES[each.name]
        highest = quantity.high if each.most is None else min(quantity.high, each.most)
        lever = Lever(
            name=f"{each.name}.both",
            unit="times",
            given=1.0,
            low=quantity.low / low if low > 0 else 0.0,
            high=highest / high,
            change=lambda at: {each.name: value[self.found.ends[worst]] * at},
        )
        one = self.solved(lever, worst, self.targets[worst])
        if one.value is None:
            return one
        moved = low * one.value, high * one.value
        words = f"{about_words(moved, each.unit)}, instead of {about_words(value, each.unit)}"
        changes = [{each.name: moved[end]} for end in self.found.ends]
        if quantity.is_whole and any(not math.isclose(end, round(end), rel_tol=_SAME) for end in moved):
            reason = f"unreachable: {words} would be needed, and there are only whole ones"
            return replace(one, value=None, changes={}, reason=reason)
        if not self.holds(changes):
            return self.refused(one, changes, worst)
        ends = {f"{each.name}.low": moved[0], f"{each.name}.high": moved[1]}
        return replace(one, reason=words, changes=ends)

    def solved(self, lever: Lever, position: int, target: float | None) -> Solved:
        """The lever at which one end is its target."""
        assert target is not None
        return solve(Problem(self.found.expression, self.found.scopes[position], target, self.found.unit), lever)

    def others(self, worst: int) -> Iterator[tuple[int, float]]:
        """Further numbers to try: the other end exactly, then each end as far away as the tolerance allows.

        If any value of an input brings both ends within the tolerance, one of these is such a value.
        """
        for position in (1 - worst, worst):
            target = self.targets[position] if self.is_paired else None
            if target is None:
                continue
            if position != worst:
                yield position, target
            if 0 < self.tolerance < 1:
                yield position, target / (1 + self.tolerance) * (1 + _INSIDE)
                yield position, target / (1 - self.tolerance) * (1 - _INSIDE)

    def moved(self, changes: Sequence[Mapping[str, float]]) -> Computation:
        """The computation with changed inputs, its ends by rising result."""
        scopes = [{**scope, **change} for scope, change in zip(self.found.scopes, changes, strict=True)]
        results = [self.found.expression.value(scope) for scope in scopes]
        order = sorted(range(len(results)), key=lambda place: results[place])
        return replace(
            self.found,
            scopes=tuple(scopes[place] for place in order),
            ends=tuple(self.found.ends[place] for place in order),
            results=tuple(results[place] for place in order),
        )

    def holds(self, changes: Sequence[Mapping[str, float]]) -> bool:
        """Whether the claim is true with changed inputs, at both ends where it has two."""
        moved = self.moved(changes)
        if not all(math.isfinite(result) for result in moved.results):
            return False
        if self.is_paired and not all(map(self.is_right, self.targets, moved.results)):
            return False
        return self.is_true(moved)

    def is_right(self, target: float | None, result: float) -> bool:
        """Whether an end is its target, within the tolerance."""
        return target is None or is_close(target, result, self.tolerance)

    def refused(self, one: Solved, changes: Sequence[Mapping[str, float]], position: int) -> Solved:
        """A value that puts one end right and leaves the claim wrong: no solution, and why."""
        at, unit = one.value, self.found.unit
        assert at is not None
        other = 1 - position if len(self.found.scopes) > 1 else position
        becomes = self.found.expression.value({**self.found.scopes[other], **changes[other]})
        wanted = self.targets[other]
        is_same = one.given is not None and is_given(one)
        where = "as it is" if is_same else f"at {about_words((at,), one.unit)}"
        right = f"{where} the {_ENDS[position]} end is right"
        if wanted is None or not math.isfinite(becomes):
            left = f"the {_ENDS[other]} end still is not"
        else:
            left = f"the {_ENDS[other]} end is then {about_words((becomes,), unit)}, not {amount_words(wanted, unit)}"
        return replace(one, value=None, changes={}, reason=f"unreachable: {right}, but {left}")


def _unusual(solved: Solved, given: Given | None) -> list[str]:
    if given is None or given.seen is None or solved.value is None:
        return []
    low, high = given.seen
    ends = [at for name, at in solved.changes.items() if name.partition(".")[0] == given.name]
    if all(low <= at <= high for at in ends):
        return []
    return [f"outside of the {range_words(given.seen, given.unit)} that is seen"]
