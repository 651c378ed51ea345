"""The few functions that arithmetic alone cannot say, by the name that formulas call them by."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError
from freehold.economics.capacity import capacity
from freehold.economics.facts import hardware, model_facts
from freehold.economics.precision import precision_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def requests_per_s(  # noqa: PLR0917  # formulas call by position
    model: str, machine: str, gpus: float, precision: str, input_tokens: float, output_tokens: float
) -> float:
    """Calls that one saturated replica answers in a second, by the capacity model.

    Raises:
        InputError: unknown model, machine or precision, or a replica that cannot hold the model or the call.
    """
    if gpus < 1 or gpus != int(gpus):
        raise InputError(f"A replica has whole GPUs, not {gpus:g}.")
    return capacity(
        _model(model),
        _machine(machine),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        gpus=int(gpus),
        precision=precision_of(precision),
    ).requests_per_s


_model = cache(model_facts)
_machine = cache(hardware)


def positive(amount: float) -> float:
    """The amount, or NaN where it is zero or less: what is never saved pays nothing back."""
    return amount if amount > 0 else math.nan


def all_equal(first: float, *others: float) -> float:
    """1 when all numbers are the same, else 0."""
    return float(all(other == first for other in others))


FUNCTIONS: Mapping[str, Callable[..., Any]] = {  # Any: a formula checks that it gets a number
    "requests_per_s": requests_per_s,
    "positive": positive,
    "all_equal": all_equal,
}
