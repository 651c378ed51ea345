"""Counters of one task while the calls go by, and what they say at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from freehold.economics.workload import Workload

if TYPE_CHECKING:
    from freehold.core.call import Call

DAYS_PER_MONTH = 730 / 24
"""A month of 730 hours, as in the cost model."""

FIRST_BAD_STATUS = 400

FEWEST_CALLS_PER_HOUR = 10
"""Below this mean the busiest hour of a log is chance, and a larger volume would be smoother."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Percentiles of the calls whose duration is known."""

    p50_ms: float
    p95_ms: float
    calls: int


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
    """Model -> rented calls whose cost is unknown."""
    latency: Latency | None
    growth: float | None
    """Calls of the second half of the days over those of the first, minus one."""
    burstiness: float | None
    """Busiest hour over mean hour, nights and weekends included."""
    calls_per_month: float | None
    """The days that were seen, stretched to 730 hours."""
    corrected_share: float | None

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
            "cached_share": self.cached_share,
            "cost_usd": None if self.cost_usd is None else float(self.cost_usd),
            "cost_per_call_usd": None if self.cost_usd is None else float(self.cost_usd / self.priced_calls),
            "priced_calls": self.priced_calls,
            "unpriced": {"calls": sum(self.unpriced.values()), "models": dict(sorted(self.unpriced.items()))},
            "latency_ms": None
            if self.latency is None
            else {"p50": self.latency.p50_ms, "p95": self.latency.p95_ms, "calls": self.latency.calls},
            "growth": self.growth,
            "burstiness": self.burstiness,
            "calls_per_month": self.calls_per_month,
            "corrected_share": self.corrected_share,
        }


@dataclass(slots=True)
class Tally:
    """Running counts of one task."""

    calls: int = 0
    labelled_rows: int = 0
    own_calls: int = 0
    held_out_calls: int = 0
    shadow_calls: int = 0
    errors: int = 0
    corrected: int | None = None
    priced_calls: int = 0
    cost_usd: Decimal = Decimal(0)
    cached_tokens: int = 0
    cacheable_tokens: int = 0
    """Input tokens of the calls that report cache reads."""
    unpriced: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    input_tokens: Counter[int] = field(default_factory=Counter)
    output_tokens: Counter[int] = field(default_factory=Counter)
    milliseconds: Counter[int] = field(default_factory=Counter)
    hours: Counter[datetime] = field(default_factory=Counter)

    @staticmethod
    def is_error(call: Call) -> bool:
        """The provider refused or failed."""
        return call.error_type is not None or (call.status is not None and call.status >= FIRST_BAD_STATUS)

    def add(self, call: Call) -> None:
        """Count one attempt at a rented model, its cost apart."""
        self.calls += 1
        self.errors += self.is_error(call)
        self.models[call.model_served or call.model_requested or "unknown"] += 1
        if call.input_tokens is not None:
            self.input_tokens[call.input_tokens] += 1
            if call.cache_read_tokens is not None:
                self.cached_tokens += call.cache_read_tokens
                self.cacheable_tokens += call.input_tokens
        if call.output_tokens is not None:
            self.output_tokens[call.output_tokens] += 1
        if call.duration_ms is not None:
            self.milliseconds[round(call.duration_ms)] += 1
        if call.started_at is not None:
            self.hours[in_utc(call.started_at).replace(minute=0, second=0, microsecond=0)] += 1

    def result(self, task: str) -> TaskAudit:
        """What the counts say."""
        days = self._days()
        return TaskAudit(
            task=task,
            calls=self.calls,
            labelled_rows=self.labelled_rows,
            own_calls=self.own_calls,
            held_out_calls=self.held_out_calls,
            shadow_calls=self.shadow_calls,
            errors=self.errors,
            models=dict(self.models),
            first_day=min(days, default=None),
            last_day=max(days, default=None),
            weekday_calls=tuple(
                sum(count for day, count in days.items() if day.weekday() == weekday) for weekday in range(7)
            ),
            input_tokens=_sum(self.input_tokens) if self.input_tokens else None,
            output_tokens=_sum(self.output_tokens) if self.output_tokens else None,
            mean_input_tokens=_mean(self.input_tokens),
            mean_output_tokens=_mean(self.output_tokens),
            p95_input_tokens=_percentile(self.input_tokens, 0.95),
            p95_output_tokens=_percentile(self.output_tokens, 0.95),
            cached_share=self.cached_tokens / self.cacheable_tokens if self.cacheable_tokens else None,
            cost_usd=self.cost_usd if self.priced_calls else None,
            priced_calls=self.priced_calls,
            unpriced=dict(self.unpriced),
            latency=self._latency(),
            growth=_growth(days),
            burstiness=self._burstiness(),
            calls_per_month=_calls_per_month(days),
            corrected_share=self.corrected / self.calls if self.corrected is not None else None,
        )

    def _days(self) -> Counter[date]:
        days: Counter[date] = Counter()
        for hour, count in self.hours.items():
            days[hour.date()] += count
        return days

    def _latency(self) -> Latency | None:
        p50, p95 = _percentile(self.milliseconds, 0.5), _percentile(self.milliseconds, 0.95)
        if p50 is None or p95 is None:
            return None
        return Latency(p50_ms=float(p50), p95_ms=float(p95), calls=self.milliseconds.total())

    def _burstiness(self) -> float | None:
        if not self.hours:
            return None
        hours = (max(self.hours) - min(self.hours)) // timedelta(hours=1) + 1
        return max(self.hours.values()) * hours / self.hours.total()


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC; one without a zone is UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _sum(counts: Counter[int]) -> int:
    return sum(value * count for value, count in counts.items())


def _mean(counts: Counter[int]) -> float | None:
    return _sum(counts) / counts.total() if counts else None


def _percentile(counts: Counter[int], share: float) -> int | None:
    """Smallest value that is no less than this share of all values."""
    needed, seen = share * counts.total(), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= needed:
            return value
    return None


def _growth(days: Counter[date]) -> float | None:
    """Second half over first half of the days, the middle day of an odd number left out."""
    if not days:
        return None
    first, last = min(days), max(days)
    half = ((last - first).days + 1) // 2
    early = sum(count for day, count in days.items() if (day - first).days < half)
    late = sum(count for day, count in days.items() if (last - day).days < half)
    return late / early - 1.0 if early else None


def _calls_per_month(days: Counter[date]) -> float | None:
    if not days:
        return None
    return days.total() / ((max(days) - min(days)).days + 1) * DAYS_PER_MONTH
