"""Inputs become values: list prices, facts of models and machines, numbers of other claims."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from freehold.core.errors import InputError
from freehold.economics.claims.claim import FactOf, NumberOf, PriceOf
from freehold.economics.claims.finding import Finding, Input
from freehold.economics.facts import hardware, model_facts
from freehold.economics.prices import NoPrice, find_price

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from freehold.economics.claims.claim import Claim, Given, Number, Reference, Value


@dataclass(frozen=True, slots=True)
class Known:
    """What an input may refer to."""

    as_of: date
    findings: Mapping[str, Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a reference led to."""

    value: Number
    source: str
    most: float | None = None
    """The input length above which the value would be another one."""
    assumptions: tuple[str, ...] = ()


def resolved(inputs: Mapping[str, Given], known: Known) -> tuple[Input, ...]:
    """The inputs of a formula with their values.

    Raises:
        InputError: a reference leads nowhere; the message begins with the input's name.
    """
    tokens = inputs["input_tokens"].value if "input_tokens" in inputs else None
    longest = max(tokens) if isinstance(tokens, tuple) else tokens
    length = longest if isinstance(longest, float) else 0.0
    tier = None
    found = []
    for given in inputs.values():
        each, most = _input(given, known, length)
        tier = tier if most is None else min(most, tier or most)
        found.append(each)
    return tuple(replace(each, most=tier) if each.name == "input_tokens" else each for each in found)


def number_behind(value: Value, known: Known) -> Number | None:
    """The number that a stated value is or refers to."""
    if isinstance(value, PriceOf | FactOf | NumberOf):
        return _referred(value, known, 0.0).value
    assert not isinstance(value, str)
    return value


def claims_behind(claim: Claim) -> Iterator[str]:
    """Other claims that must be audited first."""
    yield from claim.members
    if claim.against is not None:
        yield claim.against
    values = [given.value for given in claim.inputs.values()]
    values += [given.value for each in claim.evidence for given in each.inputs.values()]
    values += [given.value for given in (claim.expected, claim.without) if given is not None]
    values += [] if claim.stated is None else [claim.stated.value]
    yield from (value.claim for value in values if isinstance(value, NumberOf))


def _input(given: Given, known: Known, input_tokens: float) -> tuple[Input, float | None]:
    value = given.value
    if not isinstance(value, PriceOf | FactOf | NumberOf):
        return Input(name=given.name, value=value, unit=given.unit, source=given.source), None
    try:
        found = _referred(value, known, input_tokens)
    except InputError as error:
        raise InputError(f"{given.name}: {error}") from error
    each = Input(
        name=given.name,
        value=found.value,
        unit=given.unit,
        source=given.source or found.source,
        of=value.model if isinstance(value, PriceOf) else "",
        assumptions=found.assumptions,
    )
    return each, found.most


def _referred(reference: Reference, known: Known, input_tokens: float) -> _Found:
    match reference:
        case PriceOf():
            return _price(reference, known.as_of, input_tokens)
        case FactOf():
            return _fact(reference)
        case NumberOf():
            return _number(reference, known)
    assert_never(reference)


def _price(wanted: PriceOf, as_of: date, input_tokens: float) -> _Found:
    price = find_price(wanted.model, as_of)
    if isinstance(price, NoPrice):
        raise InputError(price.sentence)
    rate = getattr(price.rates_for(input_tokens), f"{wanted.rate}_usd_per_mtok")
    if rate is None:
        raise InputError(f"{wanted.model!r} has no {wanted.rate} price for {as_of}. Give the number and its source.")
    higher = [float(tier.above_input_tokens) for tier in price.tiers if tier.above_input_tokens >= input_tokens]
    return _Found(
        value=float(rate),
        source=f"list price of {wanted.model}, {price.catalogue}, as of {as_of}",
        most=min(higher, default=None),
        assumptions=price.assumptions,
    )


def _fact(wanted: FactOf) -> _Found:
    if wanted.table == "model":
        model = model_facts(wanted.name)
        return _Found(value=float(model.parameters), source=f"{model.name}: {model.source}")
    machine = hardware(wanted.name)
    values = {
        "memory_gb": machine.memory_gb,
        "bandwidth_gb_per_s": machine.bandwidth_gb_per_s,
        "tflops_bf16": machine.flops("bf16") / 1e12,
        "tflops_fp8": machine.flops("fp8") / 1e12,
    }
    return _Found(value=float(values[wanted.fact]), source=f"{machine.name}: {machine.source}")


def _number(wanted: NumberOf, known: Known) -> _Found:
    finding = known.findings.get(wanted.claim)
    if finding is None:
        raise InputError(f"there is no claim {wanted.claim!r}")
    numbers: dict[str, Number | None] = {
        "stated": finding.stated,
        "recomputed": finding.recomputed,
        "solved": finding.solution(wanted.input or ""),
    }
    what = f"solved for {wanted.input}" if wanted.of == "solved" else wanted.of
    value = numbers[wanted.of]
    if value is None:
        raise InputError(f"claim {wanted.claim!r} has no number that is {what}")
    return _Found(value=value, source=f"claim {wanted.claim}, {what}")
