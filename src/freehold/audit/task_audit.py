"""What a log says about one task in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.economics.workload import Workload

if TYPE_CHECKING:
    from datetime import date, datetime
    from decimal import Decimal

DAYS_PER_MONTH = 730 / 24
"""A month of 730 hours, as in the cost model."""

FEWEST_CALLS_PER_HOUR = 10
"""Below this mean the busiest hour of a log is chance, and a larger volume would be smoother."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Percentiles of the calls for which a time is known, in whole milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    calls: int

    def as_record(self) -> dict[str, float]:
        """As the audit lists it."""
        return {"p50": self.p50_ms, "p95": self.p95_ms, "p99": self.p99_ms, "calls": self.calls}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A share of a task's rented calls: those of one model, of one day."""

    name: str
    calls: int
    priced_calls: int
    cost_usd: Decimal | None
    """Of the calls whose cost is known; None: of none."""

    def as_record(self, key: str) -> dict[str, Any]:  # Any: JSON
        """As the audit lists it, named by what it is a share of."""
        return {
            key: self.name,
            "calls": self.calls,
            "priced_calls": self.priced_calls,
            "cost_usd": None if self.cost_usd is None else float(self.cost_usd),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAudit:
    """What a log says about one task. None means that the log does not tell."""

    task: str
    calls: int
    """Attempts at a rented model, failed ones included; labelled, held-out, own and shadow rows are not among them."""
    labelled_rows: int
    own_calls: int
    """Answered by an own model; they stand beside all other numbers and change none."""
    held_out_calls: int
    """Brought as test cases, so not known to be traffic; as above."""
    shadow_calls: int
    """Repeat a call for comparison; as above."""
    errors: int
    models: dict[str, int]
    """Rented model -> calls."""
    first_day: date | None
    last_day: date | None
    weekday_calls: tuple[int, ...]
    """Monday to Sunday."""
    input_tokens: int | None
    output_tokens: int | None
    mean_input_tokens: float | None
    mean_output_tokens: float | None
    p95_input_tokens: int | None
    p95_output_tokens: int | None
    cached_share: float | None
    """Of the input tokens of calls that report cache reads."""
    cost_usd: Decimal | None
    """Rented calls whose price is known; None: there is none."""
    priced_calls: int
    unpriced: dict[str, int]
    """Model -> rented calls whose cost is unknown; with the priced ones and `unbilled_failures` they are all calls."""
    latency: Latency | None
    growth: float | None
    """Calls of the second half of the days over those of the first, minus one."""
    burstiness: float | None
    """Busiest hour over mean hour, nights and weekends included; None: the log tells no hours."""
    calls_per_month: float | None
    """The days that were seen, stretched to 730 hours."""
    corrected_share: float | None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Part of the output."""
    first_token: Latency | None = None
    """Time to the first token."""
    peak_to_mean: float | None = None
    """Busiest minute over mean minute; of volumes, the busiest window's mean minute, which is the least it can be."""
    hour_calls: tuple[int, ...] = (0,) * 24
    """By hour of the day, UTC; calls that are known by a longer window alone are in none."""
    days: tuple[Part, ...] = ()
    """By day; what has no time is under `undated`."""
    by_model: tuple[Part, ...] = ()
    """By model, the dearest first."""
    retries: int | None = 0
    """Attempts that repeat a failed one; None: calls failed, and the log tells neither attempts nor prompts."""
    inferred_retries: int = 0
    """Of the retries, those that the log does not call so: the same was asked soon after a failed call."""
    retries_usd: Decimal | None = None
    unbilled_failures: int = 0
    """Failed calls without counts of tokens: nothing says that they cost anything, and they are not unpriced."""
    errors_usd: Decimal | None = None
    """Failed calls that cost something all the same."""
    volume_calls: int = 0
    """Of the calls, those that are known by their sum only."""
    absurd_calls: int = 0
    """Their counts of tokens are below zero or beyond any model; they are unpriced, and the counts are left out."""
    covered: tuple[datetime, datetime] | None = None
    """From the minute of the first call to the end of that of the last, or what the volumes cover; UTC."""
    active_days: int = 0

    @property
    def span_days(self) -> float | None:
        """Length of what is covered."""
        return None if self.covered is None else (self.covered[1] - self.covered[0]).total_seconds() / 86_400

    @property
    def error_rate(self) -> float | None:
        """Share of the calls that failed."""
        return self.errors / self.calls if self.calls else None

    @property
    def unpriced_calls(self) -> int:
        """Calls whose cost is unknown; those that failed before they used a token are none of them."""
        return sum(self.unpriced.values())

    @property
    def cost_per_call_usd(self) -> Decimal | None:
        """Mean of the calls whose cost is known."""
        return None if self.cost_usd is None else self.cost_usd / self.priced_calls

    def workload(self) -> Workload | None:
        """The traffic as the cost model takes it; None where volume or tokens are unknown."""
        if not (self.calls_per_month and self.mean_input_tokens and self.mean_output_tokens):
            return None
        return Workload(
            queries_per_month=self.calls_per_month,
            input_tokens=self.mean_input_tokens,
            output_tokens=self.mean_output_tokens,
            cached_share=None if self.cached_share is None else min(1.0, self.cached_share),
            peak_to_mean=self.burstiness if self._is_dense() else None,
        )

    def _is_dense(self) -> bool:
        return (self.calls_per_month or 0.0) / (24 * DAYS_PER_MONTH) >= FEWEST_CALLS_PER_HOUR

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The task as the audit lists it."""
        return {
            "task": self.task,
            "calls": self.calls,
            "labelled_rows": self.labelled_rows,
            "own_calls": self.own_calls,
            "held_out_calls": self.held_out_calls,
            "shadow_calls": self.shadow_calls,
            "errors": self.errors,
            "models": dict(sorted(self.models.items())),
            "first_day": None if self.first_day is None else self.first_day.isoformat(),
            "last_day": None if self.last_day is None else self.last_day.isoformat(),
            "weekday_calls": dict(zip(WEEKDAYS, self.weekday_calls, strict=True)),
            "tokens": {
                "input": self.input_tokens,
                "output": self.output_tokens,
                "input_mean": self.mean_input_tokens,
                "output_mean": self.mean_output_tokens,
                "input_p95": self.p95_input_tokens,
                "output_p95": self.p95_output_tokens,
            },
            "input_tokens": self.input_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "cached_share": self.cached_share,
            "cost_usd": _number(self.cost_usd),
            "cost_per_call_usd": _number(self.cost_per_call_usd),
            "priced_calls": self.priced_calls,
            "unpriced": {"calls": self.unpriced_calls, "models": dict(sorted(self.unpriced.items()))},
            "unpriced_calls": self.unpriced_calls,
            "unbilled_failures": self.unbilled_failures,
            "by_model": [part.as_record("model") for part in self.by_model],
            "by_day": [part.as_record("day") for part in self.days],
            "latency_ms": None if self.latency is None else self.latency.as_record(),
            "p50_ms": None if self.latency is None else self.latency.p50_ms,
            "p95_ms": None if self.latency is None else self.latency.p95_ms,
            "ttft_ms": None if self.first_token is None else self.first_token.as_record(),
            "error_rate": self.error_rate,
            "errors_usd": _number(self.errors_usd),
            "retries": self.retries,
            "inferred_retries": self.inferred_retries,
            "retries_usd": _number(self.retries_usd),
            "growth": self.growth,
            "burstiness": self.burstiness,
            "peak_to_mean": self.peak_to_mean,
            "hour_calls": list(self.hour_calls),
            "active_days": self.active_days,
            "volume_calls": self.volume_calls,
            "absurd_calls": self.absurd_calls,
            "calls_per_month": self.calls_per_month,
            "corrected_share": self.corrected_share,
        }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
