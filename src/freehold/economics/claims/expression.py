"""A formula as one line of arithmetic, from which its value and the line that people read are both made."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.economics.claims.functions import FUNCTIONS
from freehold.economics.claims.words import constant_words, number_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Scope = dict[str, float | str]
"""Inputs by name: numbers, and names of models and machines."""

_LEVELS: Mapping[type[ast.operator], tuple[int, str]] = {
    ast.Add: (1, " + "),
    ast.Sub: (1, " − "),
    ast.Mult: (2, " × "),
    ast.Div: (2, " / "),
    ast.Pow: (3, "^"),
}
_ALONE = 4
"""Level of what never needs parentheses."""


@dataclass(frozen=True, slots=True)
class Expression:
    """Arithmetic over named inputs, such as `gpus * gpu_usd_per_hour * hours_per_month`."""

    text: str
    tree: ast.expr
    names: tuple[str, ...]
    """Inputs in the order in which they first appear."""

    def value(self, scope: Mapping[str, float | str]) -> float:
        """The number; NaN where the arithmetic has none, as in a division by zero.

        Raises:
            InputError: a model or a machine of the scope is unknown, or the model does not fit.
        """
        try:
            found = _value(self.tree, scope)
        except (ZeroDivisionError, OverflowError):
            return math.nan
        return found if isinstance(found, float) and math.isfinite(found) else math.nan

    def words(self, shown: Mapping[str, str], scopes: Sequence[Mapping[str, float | str]] = ()) -> str:
        """The same line with each name replaced by what is shown for it.

        With scopes, a function is followed by its value in brackets, one for each scope.
        """
        return _words(self.tree, shown, scopes)[0]


def expression(text: str) -> Expression:
    """Read a formula of the shipped table; it is Python arithmetic and calls of known functions."""
    tree = ast.parse(text, mode="eval").body
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    places = sorted((node.col_offset, node.id) for node in ast.walk(tree) if isinstance(node, ast.Name))
    names = tuple(dict.fromkeys(name for _, name in places if name not in called))
    return Expression(text, tree, names)


def _value(node: ast.expr, scope: Mapping[str, float | str]) -> float | str:
    match node:
        case ast.Name(id=name):
            return scope[name]
        case ast.Constant(value=int() | float() as constant):
            return float(constant)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            found: float | str = FUNCTIONS[name](*(_value(argument, scope) for argument in arguments))
            return found
        case ast.BinOp(left=left, op=operator, right=right):
            return _combined(operator, _number(left, scope), _number(right, scope))
    raise AssertionError(f"not arithmetic: {ast.dump(node)}")


def _number(node: ast.expr, scope: Mapping[str, float | str]) -> float:
    value = _value(node, scope)
    assert isinstance(value, float)
    return value


def _combined(operator: ast.operator, left: float, right: float) -> float:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
    assert isinstance(operator, ast.Pow)
    return left**right if left >= 0 else math.nan


def _words(node: ast.expr, shown: Mapping[str, str], scopes: Sequence[Mapping[str, float | str]]) -> tuple[str, int]:
    """Text and level; a part of lower level than its surroundings is put in parentheses."""
    match node:
        case ast.Name(id=name):
            return shown.get(name, name), _ALONE
        case ast.Constant(value=int() | float() as constant):
            return constant_words(float(constant)), _ALONE
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _call_words(name, node, [_words(argument, shown, scopes)[0] for argument in arguments], scopes)
        case ast.BinOp(left=left, op=operator, right=right):
            level, sign = _LEVELS[type(operator)]
            is_ordered = isinstance(operator, ast.Sub | ast.Div | ast.Pow)
            first = _inside(_words(left, shown, scopes), level)
            second = _inside(_words(right, shown, scopes), level + 1 if is_ordered else level)
            return f"{first}{sign}{second}", level
    raise AssertionError(f"not arithmetic: {ast.dump(node)}")


def _call_words(
    name: str, node: ast.expr, arguments: list[str], scopes: Sequence[Mapping[str, float | str]]
) -> tuple[str, int]:
    values = [_number(node, scope) for scope in scopes]
    if name == "positive":
        return f"({arguments[0]})", _ALONE
    if name == "all_equal" and values:
        return (" = " if values[0] == 1.0 else " and ").join(arguments), 0
    found = " to ".join(dict.fromkeys(number_words(value) for value in values))
    return f"{name}({', '.join(arguments)})" + (f" [{found}]" if found else ""), _ALONE


def _inside(part: tuple[str, int], level: int) -> str:
    text, own = part
    return text if own >= level else f"({text})"
