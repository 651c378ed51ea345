"""What an audit says of a task, worked out call by call from the rows alone: slow, obvious, and another way round.

Nothing here asks the database, the cube or the price catalogue; rates are written out by whoever asks.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from freehold.core.call import Call

Rates = tuple[str, str | None, str | None]
"""US dollars per million tokens: input, input read from a cache, output."""
MONTH_DAYS = Fraction(730, 24)


@dataclass(frozen=True)
class Prices:
    """What a call costs on its own day, and what it would cost on the day of the prices, now and in a batch."""

    then: Callable[[Call], Rates | None]
    now: Callable[[Call], Rates | None]
    in_batch: Callable[[Call], Rates | None]


def utc(call: Call) -> datetime:
    """The moment of a call that has one."""
    assert call.started_at is not None
    return call.started_at.astimezone(UTC)


def model_of(call: Call) -> str:
    """The model that answered, else the one that was asked."""
    return call.model_served or call.model_requested or "unknown"


def cost(call: Call, rates: Rates | None) -> Fraction | None:
    """Exactly; None: a count or a rate is not there."""
    if rates is None or call.input_tokens is None:
        return None
    if call.output_tokens is None and rates[2] is not None:
        return None
    plain, read, made = (None if each is None else Fraction(each) for each in rates)
    assert plain is not None
    cached = call.cache_read_tokens or 0
    usd = (call.input_tokens - cached) * plain + cached * (plain if read is None else read)
    return (usd + (call.output_tokens or 0) * (made or 0)) / 1_000_000


def is_failed(call: Call) -> bool:
    """Refused or broken."""
    return call.error_type is not None or (call.status or 0) >= 400


def is_unbilled(call: Call) -> bool:
    """It failed and nothing says that it used a token."""
    return is_failed(call) and call.input_tokens is None


def standing(call: Call) -> str:
    """What kind of row it is."""
    if call.status is None and call.error_type is None and call.output_tokens is None and not call.route:
        return "labelled"
    return {"own": "own", "canary": "own", "shadow": "shadow"}.get(call.route or "", "rented")


def nearest_rank(values: Sequence[float], percent: int) -> float | None:
    """The smallest value that no less than so many percent of all are at or below."""
    ordered = sorted(values)
    return ordered[ceil(len(ordered) * percent / 100) - 1] if ordered else None


def task_record(rows: Sequence[Call], prices: Prices) -> dict[str, Any]:  # Any: JSON
    """Fields of one task as `audit --json` names them."""
    calls = [row for row in rows if standing(row) == "rented"]
    dated = [call for call in calls if call.started_at is not None]
    costs = {call.id: cost(call, prices.then(call)) for call in calls}
    failed = [call for call in calls if is_failed(call)]
    retries = [call for call in calls if call.parent_id is not None and call.route in {None, "rent"}]
    found: dict[str, Any] = {
        "calls": len(calls),
        **{f"{name}_calls": sum(standing(row) == name for row in rows) for name in ("own", "shadow")},
        "labelled_rows": sum(standing(row) == "labelled" for row in rows),
        "errors": len(failed),
        "error_rate": len(failed) / len(calls),
        "models": dict(Counter(map(model_of, calls))),
        "cost_usd": _dollars(costs.values()),
        "priced_calls": sum(each is not None for each in costs.values()),
        "unpriced_calls": sum(costs[call.id] is None and not is_unbilled(call) for call in calls),
        "unbilled_failures": sum(map(is_unbilled, calls)),
        "errors_usd": _dollars(usd for call in failed if (usd := costs[call.id])),
        "retries": len(retries),
        "retries_usd": _dollars(costs[call.id] for call in retries),
        "p50_ms": _rank(calls, "duration_ms", 50),
        "p95_ms": _rank(calls, "duration_ms", 95),
        "active_days": len({utc(call).date() for call in dated}),
        "first_day": min(utc(call).date() for call in dated).isoformat(),
        "last_day": max(utc(call).date() for call in dated).isoformat(),
        "hour_calls": [sum(utc(call).hour == hour for call in dated) for hour in range(24)],
        "weekday_calls": [sum(utc(call).weekday() == day for call in dated) for day in range(7)],
    }
    for name in ("input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens"):
        known = _known(calls, name)
        found[name] = sum(known) if known else None
    reporting = [call for call in calls if call.cache_read_tokens is not None]
    reported = sum(call.input_tokens or 0 for call in reporting)
    found["cached_share"] = sum(call.cache_read_tokens or 0 for call in reporting) / reported if reported else None
    found["tokens"] = {
        f"{side}_{what}": value
        for side in ("input", "output")
        for what, value in (
            ("p95", _rank(calls, f"{side}_tokens", 95)),
            ("mean", _mean(_known(calls, f"{side}_tokens"))),
        )
    }
    found["by_day"] = _parts(calls, costs, lambda call: utc(call).date().isoformat() if call.started_at else "undated")
    found["by_model"] = _parts(calls, costs, model_of)
    return found | _rhythm(dated) | _savings(calls, dated, prices)


def _rhythm(dated: Sequence[Call]) -> dict[str, Any]:  # Any: JSON
    minutes = Counter(utc(call).replace(second=0, microsecond=0) for call in dated)
    hours = Counter(moment.replace(minute=0) for moment in minutes.elements())
    span = max(minutes) - min(minutes) + timedelta(minutes=1)
    hour_span = (max(hours) - min(hours)) // timedelta(hours=1) + 1
    days = (max(minutes).date() - min(minutes).date()).days + 1
    half = days // 2
    first = min(minutes).date()
    early = sum((utc(call).date() - first).days < half for call in dated)
    late = sum((max(minutes).date() - utc(call).date()).days < half for call in dated)
    a_month = len(dated) / days * float(MONTH_DAYS)
    return {
        "peak_to_mean": max(minutes.values()) * (span / timedelta(minutes=1)) / len(dated),
        "burstiness": max(hours.values()) * hour_span / len(dated),
        "calls_per_month": a_month,
        "growth": late / early - 1 if early else None,
        "tier": "low" if a_month < 100_000 else "high" if a_month > 500_000 else "mid",
    }


def _savings(calls: Sequence[Call], dated: Sequence[Call], prices: Prices) -> dict[str, Any]:  # Any: JSON
    days = (max(map(utc, dated)).date() - min(map(utc, dated)).date()).days + 1
    a_month = len(dated) / days * float(MONTH_DAYS) / len(calls)
    now = {call.id: cost(call, prices.now(call)) for call in calls}
    priced = [call for call in calls if now[call.id] is not None]
    can_wait = [call for call in priced if not call.stream and call.service_tier in {None, "default", "auto"}]
    waited = [(now[call.id], cost(call, prices.in_batch(call))) for call in can_wait]
    batch = [float(usd - later) for usd, later in waited if usd is not None and later is not None]
    asked, repeats = _repeats([call for call in calls if call.request is not None and not is_failed(call)])
    then = [cost(call, prices.then(call)) for call in repeats]
    return {
        "usd_per_month": sum(float(each or 0) for each in now.values()) * a_month,
        "batchable_share": len(can_wait) / len(priced) if priced else None,
        "batch_saving_usd": sum(batch) * a_month if batch or not can_wait else None,
        "cacheable_share": len(repeats) / asked if asked else None,
        "cache_saving_usd": sum(float(each or 0) for each in then) * a_month if asked else None,
    }


def _repeats(calls: Sequence[Call]) -> tuple[int, list[Call]]:
    """How many calls have a question, and those of them that were asked within the week before."""
    asked: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        asked[json.dumps([call.model_requested or call.model_served, call.request], sort_keys=True)].append(call)
    found = []
    for same in asked.values():
        ordered = sorted((call for call in same if call.started_at is not None), key=utc)
        found += [b for a, b in pairwise(ordered) if utc(b) - utc(a) <= timedelta(days=7)]
        undated = [call for call in same if call.started_at is None]
        found += undated if ordered else undated[1:]
    return len(calls), found


def _parts(calls: Sequence[Call], costs: Mapping[str, Fraction | None], key: Callable[[Call], str]) -> Any:
    groups: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        groups[key(call)].append(call)
    return {
        name: (
            len(group),
            sum(costs[each.id] is not None for each in group),
            _dollars(costs[each.id] for each in group),
        )
        for name, group in groups.items()
    }


def _dollars(values: Any) -> float | None:  # Any: fractions and nothings
    known = [each for each in values if each is not None]
    return float(sum(known)) if known else None


def _rank(calls: Sequence[Call], name: str, percent: int) -> float | None:
    known = _known(calls, name)
    found = nearest_rank(known, percent)
    return None if found is None else float(round(found))


def _known(calls: Sequence[Call], name: str) -> list[int]:
    return [value for call in calls if (value := getattr(call, name)) is not None]


def _mean(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None
