"""What a verdict is made from: the customer's policy, the measured quality and the cost record."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 -- pydantic reads it when it runs
from dataclasses import asdict, dataclass, field
from math import sqrt
from statistics import NormalDist
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from freehold.core.errors import InputError
from freehold.evaluation.result import faults_of

OptionName = Literal["rent", "rent-open", "rent-tuned", "own", "own-bought", "hybrid"]

COST_SCHEMA = "freehold.breakeven/1"
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_OPEN = ConfigDict(extra="ignore", allow_inf_nan=False)
_Z_P95 = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Fixed by the customer before anything is measured."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    margin_points: float = 2.0
    """How many points worse the own model may be and still count as good enough."""
    confidence: float = 0.95
    """Of each quality interval."""
    min_test_cases: int = 20
    """With fewer paired cases the verdict is undecided."""
    cost_certainty: float = 0.8
    """Probability from which one option counts as cheaper than another."""

    def as_record(self) -> dict[str, float | int]:
        """The policy as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """A distribution in three numbers."""

    __pydantic_config__: ClassVar[ConfigDict] = _OPEN

    p5: float
    p50: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """Where owning begins to pay, as a distribution. None: no finite volume."""

    __pydantic_config__: ClassVar[ConfigDict] = _OPEN

    p5: float | None
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostOption:
    """What one way of serving the task costs."""

    __pydantic_config__: ClassVar[ConfigDict] = _OPEN

    name: OptionName
    usd_per_month: Quantiles | None
    """None: not known, since a price is missing."""
    probability_cheaper_than_rent: float | None = None
    """From the simulation in which both share their draws; None: derived from the quantiles."""
    replicas: int | None = None
    """Of the own model at this volume."""
    load: float | None = None
    """Share of what these replicas can answer that the busiest hour asks of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The part of a cost record that a verdict rests on; other fields are kept but not read."""

    __pydantic_config__: ClassVar[ConfigDict] = _OPEN

    schema: Literal["freehold.breakeven/1"]
    queries_per_month: float
    options: tuple[CostOption, ...]
    probability_own_is_cheapest: float | None = None
    breakeven_queries_per_month: Volumes | None = None
    breakeven_reason: str | None = None
    rented_latency_p95_ms: float | None = None
    """From the log, where whoever made the record put it there."""

    def usd_per_month(self, name: OptionName) -> Quantiles | None:
        """Cost of one option; None when it is unknown or not offered."""
        return next((each.usd_per_month for each in self.options if each.name == name), None)

    def chance_cheaper_than_rent(self, name: OptionName) -> float | None:
        """Probability that an option costs less than renting; None when either cost is unknown.

        Taken from the simulation where it says so. Else from the quantiles as if both costs were independent
        and normal on the sides that face each other, which overstates their spread and so errs towards
        undecided.
        """
        rent, other = self.usd_per_month("rent"), self.usd_per_month(name)
        if rent is None or other is None:
            return None
        stated = next(each.probability_cheaper_than_rent for each in self.options if each.name == name)
        if stated is not None:
            return stated
        if name == "own" and self.probability_own_is_cheapest is not None and not self._has_further_rivals():
            return self.probability_own_is_cheapest
        gap = rent.p50 - other.p50
        sides = (rent.p50 - rent.p5, other.p95 - other.p50) if gap > 0 else (rent.p95 - rent.p50, other.p50 - other.p5)
        spread = sqrt(sides[0] ** 2 + sides[1] ** 2) / _Z_P95
        if spread == 0:
            return 0.5 if gap == 0 else float(gap > 0)
        return NormalDist().cdf(gap / spread)

    def _has_further_rivals(self) -> bool:
        """Something else than renting could be cheaper than owning; a hybrid never is, it owns and rents."""
        return any(self.usd_per_month(name) is not None for name in ("rent-open", "rent-tuned"))


_COST = TypeAdapter(Cost)
_POLICY = TypeAdapter(Policy)


def read_cost(record: Mapping[str, Any]) -> Cost:  # Any: JSON
    """The cost record of the economics room.

    Raises:
        InputError: it is no such record; all faults are listed.
    """
    try:
        cost = _COST.validate_python(record)
    except ValidationError as error:
        raise InputError(f"This is no cost record of schema {COST_SCHEMA!r}: {faults_of(error)}.") from error
    names = [each.name for each in cost.options]
    if len(set(names)) < len(names):
        raise InputError(f"The cost record names an option twice: {', '.join(names)}.")
    return cost


def read_policy(record: Mapping[str, Any]) -> Policy:  # Any: JSON
    """The policy that `Policy.as_record` wrote.

    Raises:
        InputError: it is no such record; all faults are listed.
    """
    try:
        return _POLICY.validate_python(record)
    except ValidationError as error:
        raise InputError(f"This is no policy: {faults_of(error)}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionInputs:
    """Everything that the verdict is a function of."""

    evaluation: Mapping[str, Any]  # Any: JSON
    """Record of schema freehold.evaluate/1."""
    cost: Mapping[str, Any]  # Any: JSON
    """Record of schema freehold.breakeven/1 at the volume that is asked about."""
    policy: Policy
    versions: Mapping[str, str]
    """Program -> version; stored, not reasoned with."""
    other_volumes: tuple[Mapping[str, Any], ...] = field(default=())  # Any: JSON
    """Cost records of the same task at other volumes."""
