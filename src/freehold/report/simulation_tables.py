"""The simulation's record as a sentence and as tables, for the terminal and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import bullets, joined, plain_table, sentence
from freehold.report.numbers import NOT_MEASURED, count, duration, number, plain_number, share, usd
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping


def simulation_finding(record: Mapping[str, Any]) -> str:  # Any: JSON
    """The answer in a sentence."""
    inputs, goals = record.get("inputs") or {}, record.get("goals") or {}
    shown = record.get("simulated_replicas")
    devices = inputs.get("gpus") or 1
    fleet = (
        f"{count(shown)} {'replica' if shown == 1 else 'replicas'} of {count(devices)} × {visible(inputs.get('gpu'))}"
    )
    level = (
        f"{wait(goals.get('ttft_p95_ms'))} to the first token and {wait(goals.get('tpot_p95_ms'))} for each further one"
    )
    if record.get("replicas") is None:
        return f"No number of replicas holds {level}. {visible(record.get('reason') or '', 1_000)}"
    verb = "holds" if shown == 1 else "hold"
    if not record.get("meets_slo"):
        verb = "does not hold" if shown == 1 else "do not hold"
    least = ", the fewest that do" if record.get("searched") else ""
    cost = number(record.get("usd_per_1000_calls"))
    money = "" if cost is None else f", at {usd(cost)} for 1,000 calls"
    return f"{fleet} {verb} {level} (p95){least}{money}."


def latency_table(record: Mapping[str, Any]) -> Table:  # Any: JSON
    """Percentiles of the three waits."""
    names = {"ttft_ms": "first token", "tpot_ms": "each further token", "queue_ms": "before the first: in the queue"}
    goals = {"ttft_ms": "ttft_p95_ms", "tpot_ms": "tpot_p95_ms"}
    rows = [
        (
            text,
            *(_percentile((record.get(field) or {}).get(name)) for name in ("p50", "p95", "p99")),
            wait((record.get("goals") or {})[goals[field]]) if field in goals else "",
        )
        for field, text in names.items()
    ]
    columns = ("p50", "p95", "p99", "goal for p95")
    return Table(
        caption="How long callers wait",
        columns=(Column("what"), *(Column(name, is_number=True) for name in columns)),
        rows=tuple(rows),
    )


def load_table(record: Mapping[str, Any]) -> Table:  # Any: JSON
    """Traffic and work."""
    facts = (
        ("calls", count(record.get("calls"))),
        ("time that the trace covers", duration(record.get("trace_s"))),
        ("calls a second, mean", plain_number(record.get("calls_per_s"), 3)),
        ("busiest minute against the mean one", plain_number(record.get("peak_to_mean"), 3)),
        ("mean tokens of a prompt and of an answer", f"{_mean(record, 'input')} and {_mean(record, 'output')}"),
        ("calls too long for the replica", count(record.get("too_long_calls"))),
        ("output tokens a second", plain_number(record.get("output_tokens_per_s"), 3)),
        ("time in which a replica works", share(record.get("utilisation"))),
        ("of what the replicas can deliver", share(record.get("capacity_used"))),
        ("memory for contexts, largest use", share(record.get("kv_peak"))),
        ("calls put back for want of memory", count(record.get("preemptions"))),
        ("US dollars an hour", usd(record.get("usd_per_hour"))),
    )
    return Table(caption="Load", columns=(Column("what"), Column("value", is_number=True)), rows=facts)


def known_table(record: Mapping[str, Any], *, with_source: bool) -> Table:  # Any: JSON
    """What was assumed or is known beside the trace."""
    rows = tuple(
        (
            visible(each.get("name"), 48),
            _known(each.get("value")),
            visible(each.get("unit"), 60),
            "assumption" if each.get("is_assumption") else "known",
            *((visible(each.get("source"), 400),) if with_source else ()),
        )
        for each in record.get("assumptions") or ()
    )
    heads = ("what", "value", "unit", "status", *(("source",) if with_source else ()))
    columns = tuple(Column(name, is_number=name == "value") for name in heads)
    return Table(caption="What the replay rests on", columns=columns, rows=rows)


def load_finding(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What the picture shows."""
    ratio, used = number(record.get("peak_to_mean")), share(record.get("utilisation"))
    peak = "" if ratio is None else f"The busiest minute brings {ratio:.1f} times the calls of the mean one; "
    shown = record.get("simulated_replicas")
    text = f"{peak}{count(shown)} {'replica is' if shown == 1 else 'replicas are'} at work {used} of the time"
    return text[:1].upper() + text[1:]


def hourly_sentence(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What a fleet that follows the traffic would pay for; empty where nobody asked."""
    found = record.get("by_hour") or {}
    hours = [number(each.get("replicas")) or 0.0 for each in found.get("hours") or ()]
    if not hours:
        return ""
    mean = plain_number(sum(hours) / len(hours), 3)
    paid = number(found.get("usd_per_1000_calls"))
    cost = "" if paid is None else f", {usd(paid)} for 1,000 calls"
    return (
        f"Hour by hour {count(min(hours))} to {count(max(hours))} replicas are enough, {mean} in the mean: "
        f"{count(found.get('replica_hours'))} hours of a replica{cost}. Starting one is taken to need no time."
    )


def wait(value: Any) -> str:  # Any: JSON
    """A latency with three significant digits: 5.19 ms, 346 ms, 1.2 s."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    return f"{plain_number(amount, 3)} ms" if amount < 999.5 else duration(amount / 1000)


def simulation_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """The whole record for a terminal."""
    interval = record.get("replicas_interval")
    spread = ""
    if interval:
        fast, slow = ("none" if each is None else count(each) for each in interval)
        spread = f"Replicas with an engine at the 95th percentile of measured speeds: {fast}; at the 5th: {slow}."
    unknown = record.get("usd_reason")
    return joined(
        sentence(simulation_finding(record)),
        plain_table(latency_table(record)),
        plain_table(load_table(record)),
        sentence(spread) if spread else "",
        sentence(hourly_sentence(record)),
        sentence(f"Cost is not known: {visible(unknown, 500)}") if unknown else "",
        bullets("Warnings", record.get("warnings") or ()),
        plain_table(known_table(record, with_source=False)),
        f"Seed {record.get('seed', NOT_MEASURED)}; {duration(record.get('wall_s'))}. Sources of the numbers: --json.",
    )


def _percentile(value: Any) -> str:  # Any: JSON
    """None stands for a call that is never answered."""
    return "never" if value is None else wait(value)


def _known(value: Any) -> str:  # Any: JSON
    if isinstance(value, list):
        return " / ".join(_known(each) for each in value)
    return plain_number(value) if number(value) is not None else visible(value, 40)


def _mean(record: Mapping[str, Any], which: str) -> str:  # Any: JSON
    return plain_number(record.get(f"mean_{which}_tokens"), 4)
