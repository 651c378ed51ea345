"""Growth of a task and its next three months, from its calls a day.

The trend is a log-linear Poisson regression on the day with a weekly shape, its errors widened by how much more the
days and weeks scatter than chance alone would make them (quasi-Poisson). The forecast is the better of two: the level
of the last four weeks, and that trend, shrunk by its error and
damped. Which one, and how wide its interval is, a back-test on the log itself
says: the forecast is made at earlier days and compared with what came.

Sources: McCullagh and Nelder, Generalized Linear Models, 1989, section 6.2 (overdispersion); Gardner and McKenzie,
Management Science 31(10), 1985 (damped trends); Tashman, International Journal of Forecasting 16(4), 2000 (rolling
origins).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from freehold.audit.task_audit import DAYS_PER_MONTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_DAYS = 14
FEWEST_CALLS = 50
CONFIDENCE = 0.9
MONTHS = 3
_Z_FORECAST = 1.6449
_Z_GROWTH = 1.6449
GROWTH_CONFIDENCE = 0.9
_DAMPING = 0.8
"""Of the trend, a month: what grew by 10 % grows by 8 % the month after (assumption)."""
_LEVEL_DAYS = 28
_ORIGINS = 6
_LONG_DAYS = 56
"""From here on how far off a forecast is grows with the time ahead as a random walk does; what a shorter log scatters
by is mostly chance, and does not."""
_WIDEST = 3.0
"""Log units: beyond a factor of twenty either way an interval says nothing more."""
_STEPS, _CLOSE_ENOUGH = 50, 1e-8
_WEEKS_TOLD = 8
"""From so many on, a level that comes back is told from one that wanders."""
_WEEKDAY_PRIOR = 1.0
"""Weight of the assumption that all weekdays are alike, in calls of a day."""
_STEEPEST = math.log(1000.0)
"""Growth a month that the regression may find."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Relative change of the calls in a month: 0.1 is ten percent more."""

    per_month: float
    low: float
    high: float

    def as_record(self) -> dict[str, float]:
        """As the audit lists it."""
        return {"low": self.low, "high": self.high, "confidence": GROWTH_CONFIDENCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """Forecasts made on earlier days of the log, against what came."""

    origins: int
    horizon_days: int
    error: float
    """Mean of how far the total was off: 0.2 is a factor of 1.2 either way."""
    level_error: float
    trend_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """Calls of one coming month of 730 hours."""

    calls: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The next months."""

    method: Literal["level", "trend"]
    months: tuple[Month, ...]
    backtest: Backtest
    days: int
    """Of the log that it rests on."""

    def as_record(self, usd_per_call: float | None) -> dict[str, Any]:  # Any: JSON
        """As the audit lists it; money where the price of all calls is known."""
        return {
            "method": self.method,
            "confidence": CONFIDENCE,
            "days_of_log": self.days,
            "months": [
                {
                    "month": number,
                    "calls": month.calls,
                    "low": month.low,
                    "high": month.high,
                    "cost_usd": None if usd_per_call is None else month.calls * usd_per_call,
                }
                for number, month in enumerate(self.months, start=1)
            ],
            "backtest": {
                "origins": self.backtest.origins,
                "horizon_days": self.backtest.horizon_days,
                "error": self.backtest.error,
                "level_error": self.backtest.level_error,
                "trend_error": self.backtest.trend_error,
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Calls of consecutive days, days without a call among them."""

    calls: Floats
    exposure: Floats
    """Share of each day that the log covers; the first and the last may be cut."""
    first_weekday: int
    """0 is Monday."""

    def upto(self, days: int) -> Series:
        """Its beginning."""
        return Series(calls=self.calls[:days], exposure=self.exposure[:days], first_weekday=self.first_weekday)

    def lacks(self) -> str | None:
        """Why nothing can be said of its trend; None: enough is there."""
        if len(self.calls) < FEWEST_DAYS:
            days = f"{len(self.calls)} day{'' if len(self.calls) == 1 else 's'}"
            return f"The calls span {days}; growth and a forecast need {FEWEST_DAYS}."
        active = int((self.calls > 0).sum())
        if 2 * active < len(self.calls):
            return f"Calls came on {active} of {len(self.calls)} days; growth and a forecast need half of them."
        if self.calls.sum() < FEWEST_CALLS:
            return f"{self.calls.sum():.0f} calls with a time are too few for growth and a forecast ({FEWEST_CALLS})."
        return None


def growth_of(series: Series) -> Growth | None:
    """Growth a month with its interval; None where the log is too short (see `Series.lacks`)."""
    if series.lacks() is not None:
        return None
    slope, error = _trend(series)[:2]
    error = _error_of(series, error)
    ends = (slope - _Z_GROWTH * error, slope + _Z_GROWTH * error)
    low, high = (math.expm1(min(_STEEPEST, max(-_STEEPEST, end))) for end in ends)
    return Growth(per_month=math.expm1(slope), low=low, high=high)


def forecast_of(series: Series) -> Forecast | None:
    """The next three months; None where the log is too short."""
    if series.lacks() is not None:
        return None
    days = len(series.calls)
    horizon = min(30, days // 3)
    step = max(1, horizon // 2)
    origins = [days - horizon - step * back for back in range(_ORIGINS)]
    origins = [origin for origin in origins if origin >= max(7, days // 2)]
    errors: dict[str, list[float]] = {"level": [], "trend": []}
    for origin in origins:
        known = series.upto(origin)
        came = float(series.calls[origin : origin + horizon].sum())
        covered = float(series.exposure[origin : origin + horizon].sum())
        for name, rate in (("level", _level(known)), ("trend", _ahead(known, horizon))):
            errors[name].append(math.log((came + 0.5) / (rate * covered + 0.5)))
    mean = {name: float(np.mean(np.abs(each))) for name, each in errors.items()}
    method: Literal["level", "trend"] = "trend" if mean["trend"] < mean["level"] else "level"
    scatter = math.sqrt(float(np.mean(np.square(errors[method]))))
    months, wander = [], _wander(series)
    _, error, _, end = _trend(series)
    for number in range(1, MONTHS + 1):
        ahead = number * DAYS_PER_MONTH
        rate = _level(series) if method == "level" else _ahead(series, DAYS_PER_MONTH, first=ahead - DAYS_PER_MONTH)
        calls = rate * DAYS_PER_MONTH
        chance = 1.0 / math.sqrt(max(1.0, calls))
        # A level that wanders is off by the square root of the time ahead; one origin alone proves little.
        wandered = math.sqrt(wander * (number - 0.5))
        times = max(1.0, (ahead - DAYS_PER_MONTH / 2) / horizon)
        tested = scatter * math.sqrt(times ** (0.5 if days < _LONG_DAYS else 1.0) * (1 + 1 / len(origins)))
        # How steep it is, is not known exactly either, and counts the more the further ahead.
        sloped = error * (end + number - 0.5) if days >= _LONG_DAYS else 0.0
        width = min(_WIDEST, _Z_FORECAST * math.hypot(wandered, tested, chance, sloped))
        # What the log shows may go on all the same: the interval reaches as far as that, undamped, within its widest.
        shown = math.log(
            max(1e-9, _ahead(series, DAYS_PER_MONTH, first=ahead - DAYS_PER_MONTH, is_bold=True)) / max(1e-9, rate)
        )
        below, above = (min(_WIDEST, width + max(0.0, side)) for side in (-shown, shown))
        months.append(Month(calls=calls, low=calls * math.exp(-below), high=calls * math.exp(above)))
    return Forecast(
        method=method,
        months=tuple(months),
        backtest=Backtest(
            origins=len(origins),
            horizon_days=horizon,
            error=math.expm1(mean[method]),
            level_error=math.expm1(mean["level"]),
            trend_error=math.expm1(mean["trend"]),
        ),
        days=days,
    )


def _level(series: Series) -> float:
    """Calls a day of the last four weeks, whole weeks where there are any."""
    days = min(_LEVEL_DAYS, len(series.calls))
    days = days // 7 * 7 or days
    return float(series.calls[-days:].sum() / max(1e-9, series.exposure[-days:].sum()))


def _error_of(series: Series, error: float) -> float:
    """Standard error of a slope, with the slope that a wandering level shows by chance.

    That has 6/5 of the level's variance a month over the months seen.
    """
    return math.hypot(error, math.sqrt(1.2 * _wander(series) * DAYS_PER_MONTH / len(series.calls)))


def _ahead(series: Series, days: float, *, first: float = 0.0, is_bold: bool = False) -> float:
    """Mean calls a day of a span ahead, by the damped trend: the log of the level moves by ever smaller steps.

    The slope is shrunk by the share of its square that is error (James and Stein): where growth cannot be told from
    none, this is the level. It goes on for no longer than the log has shown it; after that the level stays.
    Bold: neither shrunk nor stopped nor damped.
    """
    slope, error, level, end = _trend(series)
    middle = (first + days / 2) / DAYS_PER_MONTH
    if not is_bold:
        error = _error_of(series, error)
        middle = min(middle, 2 * end)
        slope *= max(0.0, 1 - (error / slope) ** 2) if slope else 0.0
    if not slope:
        return _level(series)
    ahead = middle if is_bold else (1 - _DAMPING**middle) / -math.log(_DAMPING)
    return level * math.exp(min(_STEEPEST, max(-_STEEPEST, slope * (end + ahead))))


def _trend(series: Series) -> tuple[float, float, float, float]:
    """Slope of the log of the calls a month, its standard error, and the level of an average weekday at a time.

    The last two are that level at the mean day, and how many months lie between it and the end of the series.
    """
    calls, days = series.calls, len(series.calls)
    months = (np.arange(days) - (days - 1) / 2) / DAYS_PER_MONTH
    weekday = (np.arange(days) + series.first_weekday) % 7
    columns = [np.ones(days), months]
    has_week = days >= FEWEST_DAYS
    if has_week:
        columns += [(weekday == day).astype(float) - (weekday == 6) for day in range(6)]
    design = np.column_stack(columns)
    prior = np.zeros(design.shape[1])
    prior[1] = 1e-6
    prior[2:] = _WEEKDAY_PRIOR
    coefficients, fitted, covariance = _poisson(design, calls, np.maximum(series.exposure, 1e-3), prior)
    spread = _overdispersion(calls, fitted, design.shape[1])
    slope = float(np.clip(coefficients[1], -_STEEPEST, _STEEPEST))
    total = float(fitted.sum())
    shape = np.exp(design @ coefficients) * series.exposure
    level = math.exp(float(coefficients[0])) * (total / max(1e-9, float(shape.sum())))
    if has_week:  # the mean weekday, not the mean of the logs
        week = np.append(coefficients[2:], -coefficients[2:].sum())
        level *= float(np.exp(week).mean())
    return slope, math.sqrt(max(0.0, float(covariance[1, 1])) * spread), level, (days - 1) / 2 / DAYS_PER_MONTH


def _poisson(
    design: Floats, calls: Floats, exposure: Floats, prior: Floats
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:  # Any: numpy does not tell how precise a solution is
    """Coefficients, fitted means and their covariance, by iteratively reweighted least squares."""
    coefficients = np.zeros(design.shape[1])
    coefficients[0] = math.log(max(1e-9, float(calls.sum() / exposure.sum())))
    offset = np.log(exposure)
    for _ in range(_STEPS):
        linear = np.clip(design @ coefficients + offset, -30, 30)
        fitted = np.exp(linear)
        precision = design.T @ (design * fitted[:, None]) + np.diag(prior + 1e-9)
        step = np.linalg.solve(precision, design.T @ (calls - fitted) - prior * coefficients)
        coefficients = coefficients + np.clip(step, -2, 2)
        if np.abs(step).max() < _CLOSE_ENOUGH:
            break
    fitted = np.exp(np.clip(design @ coefficients + offset, -30, 30))
    precision = design.T @ (design * fitted[:, None]) + np.diag(prior + 1e-9)
    return coefficients, fitted, np.linalg.inv(precision)


def _wander(series: Series) -> float:
    """Variance a month of the log of the level, if it is taken to be a random walk: from one week to the next.

    What counting alone would scatter is taken off.
    """
    weeks = len(series.calls) // 7
    if len(series.calls) < 9:  # one step alone has no variance
        return 0.0
    if weeks >= 4:
        seen = series.calls[-7 * weeks :].reshape(weeks, 7).sum(axis=1) + 0.5
        before, after, smoothed = seen[:-1], seen[1:], 1.5
    else:
        before, after, smoothed = series.calls[:-7] + 0.5, series.calls[7:] + 0.5, 1.0
    steps = np.log(after / before)
    if weeks >= _WEEKS_TOLD:
        # What moves and comes back is no wandering: it makes steps that follow each other opposite.
        moved = steps - steps.mean()
        covariance = float((moved[1:] * moved[:-1]).sum() / (len(steps) - 1))
        return max(0.0, float(np.var(steps, ddof=1)) + 2 * covariance) * DAYS_PER_MONTH / 7
    by_chance = float(np.mean(1 / before + 1 / after))
    # Sums of whole weeks move by two thirds of what the level moves in a week.
    return max(0.0, float(np.var(steps, ddof=1)) - by_chance) * smoothed * DAYS_PER_MONTH / 7


def _overdispersion(calls: Floats, fitted: Floats, parameters: int) -> float:
    """Variance over mean, of days and of weeks, whichever is larger: days that follow each other are alike."""
    days = float(np.sum((calls - fitted) ** 2 / np.maximum(fitted, 1e-9)) / max(1, len(calls) - parameters))
    weeks = len(calls) // 7
    if weeks < 3:
        return max(1.0, days)
    shape = (weeks, 7)
    seen, meant = (each[-7 * weeks :].reshape(shape).sum(axis=1) for each in (calls, fitted))
    found = float(np.sum((seen - meant) ** 2 / np.maximum(meant, 1e-9)) / max(1, weeks - 2))
    return max(1.0, days, found)
