"""The numbers of every task, from the cube and a few passes over the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from freehold.audit.task_audit import DAYS_PER_MONTH, Latency, Part, TaskAudit

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from freehold.audit.cube import Scale

_Row = dict[str, Any]  # Any: a row of a query
_RENTED = "standing = 'rented'"
_UNBILLED = "(units is null and is_error and not is_counted)"
_MODEL = "coalesce(nullif(served, ''), nullif(asked, ''), 'unknown')"
_SHARES = (0.5, 0.95, 0.99)
_UNDATED = "undated"


@dataclass(slots=True)
class _Found:
    """What the queries say of one task."""

    totals: _Row
    models: list[_Row] = field(default_factory=list)
    days: list[_Row] = field(default_factory=list)
    hours: _Row = field(default_factory=dict)
    hour_calls: list[int] = field(default_factory=lambda: [0] * 24)
    minutes: _Row = field(default_factory=dict)
    percentiles: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Column -> values at `_SHARES`, and how many there are."""


def measure(connection: duckdb.DuckDBPyConnection, scale: Scale, *, has_corrections: bool) -> list[TaskAudit]:
    """Every task of the rows, by name; the tables of `cube.build_cube` must be there."""
    found = {row["task"]: _Found(row) for row in _rows(connection, _TOTALS)}
    for row in _rows(connection, _BY_MODEL):
        found[row["task"]].models.append(row)
    for row in _rows(connection, _BY_DAY):
        found[row["task"]].days.append(row)
    for row in _rows(connection, _HOURS):
        found[row["task"]].hours = row
    for row in _rows(connection, _HOURS_OF_DAY):
        found[row["task"]].hour_calls[row["hour"]] = row["calls"]
    for row in _rows(connection, _PEAK_MINUTE):
        found[row["task"]].minutes = row
    for column in ("duration_ms", "ttft_ms", "input_tokens", "output_tokens"):
        for row in _rows(connection, _percentiles(column)):
            found[row["task"]].percentiles[column] = tuple(row[name] for name in ("p50", "p95", "p99", "n"))
    (covered,) = connection.execute(_VOLUME_SPAN).fetchall()
    return [_task(found[task], scale, covered, has_corrections=has_corrections) for task in sorted(found)]


_TOTALS = f"""
    select task,
        {
    ", ".join(
        f"coalesce(sum(calls) filter (standing = '{standing}'), 0) as {name}"
        for standing, name in (
            ("rented", "calls"),
            ("labelled", "labelled"),
            ("own", "own"),
            ("held-out", "held_out"),
            ("shadow", "shadow"),
        )
    )
},
        coalesce(sum(calls) filter ({_RENTED} and is_error), 0) as errors,
        sum(units) filter ({_RENTED}) as units,
        sum(units) filter ({_RENTED} and is_error and units > 0) as error_units,
        coalesce(sum(calls) filter ({_RENTED} and is_retry), 0) as retries,
        sum(units) filter ({_RENTED} and is_retry) as retry_units,
        coalesce(sum(calls) filter ({_RENTED} and units is not null), 0) as priced,
        coalesce(sum(calls) filter ({_RENTED} and {_UNBILLED}), 0) as unbilled,
        coalesce(sum(corrected) filter ({_RENTED}), 0) as corrected,
        coalesce(sum(absurd) filter ({_RENTED}), 0) as absurd,
        coalesce(sum(volume_calls) filter ({_RENTED}), 0) as volume_calls,
        {
    ", ".join(
        f"sum({name}) filter ({_RENTED}) as {name}"
        for name in (
            "input_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "output_tokens",
            "reasoning_tokens",
            "input_calls",
            "output_calls",
            "cacheable_tokens",
        )
    )
}
    from cube group by task
"""  # noqa: S608 (names of our own, as in all that follows)
_BY_MODEL = f"""
    select task, {_MODEL} as name, sum(calls) as calls, sum(units) as units,
        coalesce(sum(calls) filter (units is not null), 0) as priced,
        coalesce(sum(calls) filter (units is null and not {_UNBILLED}), 0) as unpriced
    from cube where {_RENTED} group by all order by task, units desc nulls last, calls desc, name
"""  # noqa: S608
_BY_DAY = f"""
    select task, case when year(day) > 1 then day end as day, sum(calls) as calls, sum(units) as units,
        coalesce(sum(calls) filter (units is not null), 0) as priced
    from cube where {_RENTED} group by task, 2 order by task, day nulls last
"""  # noqa: S608
_HOURS = f"""
    select task, min(hour) as first, max(hour) as last, max(calls) as peak, sum(calls) as calls from (
        select task, hour, sum(calls) as calls from cube where {_RENTED} and hour is not null group by all
    ) where calls > 0 group by task
"""  # noqa: S608
_HOURS_OF_DAY = f"""
    select task, hour(hour) as hour, sum(calls) as calls from cube
    where {_RENTED} and hour is not null group by task, hour(hour)
"""  # noqa: S608
# A window of a volume counts at its mean: its own peak is unknown.
_PEAK_MINUTE = f"""
    select task, max(calls) as peak, min(minute) as first, max(minute) + interval 1 minute as last from (
        select task, date_trunc('minute', moment) as minute, sum(calls / greatest(1.0, coalesce(window_s, 60) / 60))
            as calls
        from counted_rows where {_RENTED} and moment is not null and calls > 0 group by all
    ) group by task
"""  # noqa: S608
_VOLUME_SPAN = "select min(moment), max(moment + to_microseconds((window_s * 1e6)::bigint)) from covered_windows"


def _percentiles(column: str) -> str:
    """The smallest value that is no less than each share of all values, from counts of whole numbers."""
    shares = ", ".join(f"min(value) filter (seen >= {share} * n)::bigint as p{round(100 * share)}" for share in _SHARES)
    return f"""
        select task, {shares}, any_value(n) as n from (
            select task, value, sum(calls) over (partition by task order by value) as seen,
                sum(calls) over (partition by task) as n
            from (
                select task, round({column})::bigint as value, count(*) as calls from counted_rows
                where {_RENTED} and {column} is not null and window_s is null group by all
            )
        ) group by task
    """  # noqa: S608


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[_Row]:
    found = connection.execute(query)
    names = [column[0] for column in found.description or ()]
    while rows := found.fetchmany(10_000):
        for row in rows:
            yield dict(zip(names, row, strict=True))


def _task(found: _Found, scale: Scale, covered: tuple[datetime | None, ...], *, has_corrections: bool) -> TaskAudit:
    totals = found.totals
    calls = int(totals["calls"])
    dated = [row for row in found.days if row["day"] is not None and row["calls"]]
    days: dict[date, int] = {row["day"]: int(row["calls"]) for row in dated}
    first, last = _period(days, found.minutes, covered if totals["volume_calls"] else (None, None))
    weekdays = [0] * 7
    for day, count in days.items():
        weekdays[day.weekday()] += count
    span = None if first is None or last is None else (last - first) / timedelta(days=1)
    return TaskAudit(
        task=totals["task"],
        calls=calls,
        labelled_rows=int(totals["labelled"]),
        own_calls=int(totals["own"]),
        held_out_calls=int(totals["held_out"]),
        shadow_calls=int(totals["shadow"]),
        errors=int(totals["errors"]),
        models={row["name"]: int(row["calls"]) for row in found.models if row["calls"]},
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        weekday_calls=tuple(weekdays),
        **_tokens(found),
        cost_usd=scale.usd(totals["units"]) if totals["priced"] else None,
        priced_calls=int(totals["priced"]),
        unpriced={row["name"]: int(row["unpriced"]) for row in found.models if row["unpriced"]},
        latency=_latency(found, "duration_ms"),
        first_token=_latency(found, "ttft_ms"),
        growth=_growth(days),
        burstiness=_hourly_peak(found.hours),
        peak_to_mean=found.minutes["peak"] * _minutes(span) / sum(days.values()) if span and days else None,
        calls_per_month=_calls_per_month(days, first, last),
        corrected_share=int(totals["corrected"]) / calls if has_corrections and calls else None,
        hour_calls=tuple(found.hour_calls),
        days=tuple(_part(str(row["day"] or _UNDATED), row, scale) for row in found.days if row["calls"]),
        by_model=tuple(_part(row["name"], row, scale) for row in found.models if row["calls"]),
        unbilled_failures=int(totals["unbilled"]),
        retries=int(totals["retries"]),
        retries_usd=scale.usd(totals["retry_units"]),
        errors_usd=scale.usd(totals["error_units"]),
        volume_calls=int(totals["volume_calls"]),
        absurd_calls=int(totals["absurd"]),
        covered=None if first is None or last is None else (first, last),
        active_days=len(days),
    )


def _tokens(found: _Found) -> _Row:
    totals = found.totals
    known = {
        name: None if totals[name] is None else int(totals[name])
        for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    }
    cacheable = int(totals["cacheable_tokens"] or 0)
    return {
        **known,
        "mean_input_tokens": _mean(known["input_tokens"], totals["input_calls"]),
        "mean_output_tokens": _mean(known["output_tokens"], totals["output_calls"]),
        "p95_input_tokens": found.percentiles["input_tokens"][1] if "input_tokens" in found.percentiles else None,
        "p95_output_tokens": found.percentiles["output_tokens"][1] if "output_tokens" in found.percentiles else None,
        "cached_share": (known["cache_read_tokens"] or 0) / cacheable if cacheable else None,
    }


def _mean(total: int | None, calls: int | None) -> float | None:
    return None if total is None or not calls else total / int(calls)


def _latency(found: _Found, column: str) -> Latency | None:
    if column not in found.percentiles:
        return None
    p50, p95, p99, calls = found.percentiles[column]
    return Latency(p50_ms=float(p50), p95_ms=float(p95), p99_ms=float(p99), calls=int(calls))


def _part(name: str, row: _Row, scale: Scale) -> Part:
    priced = int(row["priced"])
    return Part(name=name, calls=int(row["calls"]), priced_calls=priced,
                cost_usd=scale.usd(row["units"]) if priced else None)  # fmt: skip


def _period(
    days: dict[date, int], minutes: _Row, covered: tuple[datetime | None, ...]
) -> tuple[datetime | None, datetime | None]:
    """First and last minute; of volumes, what they cover: a window that is not there had no call."""
    if not days:
        return None, None
    first, last = minutes["first"], minutes["last"]
    return min(first, covered[0] or first), max(last, covered[1] or last)


def _minutes(span_days: float) -> float:
    return max(1.0, span_days * 24 * 60)


def _hourly_peak(hours: _Row) -> float | None:
    if not hours:
        return None
    spanned = (hours["last"] - hours["first"]) // timedelta(hours=1) + 1
    return float(int(hours["peak"]) * spanned / int(hours["calls"]))


def _growth(days: dict[date, int]) -> float | None:
    """Second half over first half of the days, the middle day of an odd number left out."""
    if not days:
        return None
    first, last = min(days), max(days)
    half = ((last - first).days + 1) // 2
    early = sum(count for day, count in days.items() if (day - first).days < half)
    late = sum(count for day, count in days.items() if (last - day).days < half)
    return late / early - 1.0 if early else None


def _calls_per_month(days: dict[date, int], first: datetime | None, last: datetime | None) -> float | None:
    """The days that were seen, first and last included, stretched to a month."""
    if first is None or last is None:
        return None
    end = (last - timedelta(microseconds=1)).date()
    return sum(days.values()) / ((end - first.date()).days + 1) * DAYS_PER_MONTH
