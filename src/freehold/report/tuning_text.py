"""What `tune` prints: the plan of a run that was not made, and the finished run beside its forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import bullets, joined, plain_table, sentence
from freehold.report.numbers import NOT_MEASURED, count, duration, interval, number, plain_number, rate_usd, usd
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = {
    "weights": "base and adapter as they lie there",
    "quantization": "scales of 4-bit blocks, one matrix unpacked",
    "gradients": "of the weights that learn",
    "optimizer": "moments of the weights that learn",
    "activations": "kept for the backward pass, and the layer at work",
    "logits": "of the answer tokens whose loss is computed at a time",
    "gathered": "weights and buffers that devices exchange",
    "stored": "states of frozen lower layers",
    "workspace": "libraries' own",
}


def plan_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What a run would take, whether it fits, and what would make it fit."""
    rows, devices = record.get("rows") or {}, record.get("devices")
    where = visible(record.get("hardware"), 80)
    heading = (
        f"{record.get('method')} of {visible(record.get('base'), 80)} on {count(devices)} × {where}, "
        f"{count(rows.get('train'))} rows of {plain_number(record.get('row_tokens'))} tokens "
        f"({visible(record.get('row_tokens_source'), 60)})"
    )
    return joined(
        sentence(heading),
        "\n".join(f"{name:<12} {value}" for name, value in _facts(record)),
        plain_table(_parts(record)),
        sentence(f"What would make it fit: {record['suggestion']}") if record.get("suggestion") else "",
        plain_table(_alternatives(record)),
    )


def tune_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """One tuning run, and what was foreseen of it."""
    return joined(
        sentence(f"Model {record.get('model')}"),
        f"Examples    {count(record.get('examples')):>12}\n"
        f"Time        {duration(record.get('seconds')):>12}\n"
        f"CPU time    {duration(record.get('cpu_seconds')):>12}\n"
        f"Final loss  {plain_number(record.get('final_loss')):>12}",
        _beside(record),
        bullets("Warnings", record.get("warnings") or ()),
    )


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:  # Any: JSON
    spread, price = record.get("interval") or {}, record.get("price")
    hours = spread.get("hours") or {}
    paid = spread.get("usd") or {}
    if price is None:
        cost = "not known: there is no dated price of this device"
    else:
        dated = f", {visible(price.get('as_of'))}" if price.get("as_of") else ""
        cost = (
            f"{usd(record.get('usd'))} (90 %: {interval(paid.get('p5'), paid.get('p95'), usd)}; "
            f"{rate_usd(price.get('usd_per_device_hour'))} an hour and device{dated})"
        )
    return [
        ("Time", f"{_hours(record.get('hours'))} (90 %: {_hours(hours.get('p5'))} to {_hours(hours.get('p95'))})"),
        ("By", visible(record.get("hours_source"), 80)),
        ("Dollars", cost),
        ("Rows", f"{plain_number(record.get('samples_per_s'))} a second"),
        ("Tokens", f"{count(record.get('tokens_per_s'))} a second"),
        ("Memory", f"{_gib((record.get('memory_gib') or {}).get('total'))} of {_gib(record.get('room_gib'))} a device"),
        *(
            [("Host memory", f"{_gib(record.get('host_memory_gib'))} over all devices")]
            if record.get("host_memory_gib")
            else []
        ),
        ("Fits", "yes" if record.get("fits") else "no"),
    ]


def _parts(record: Mapping[str, Any]) -> Table:  # Any: JSON
    memory = record.get("memory_gib") or {}
    shown = [(name, what) for name, what in PARTS.items() if memory.get(name)]
    return Table(
        "Memory of one device at the peak",
        (Column("part"), Column("GiB", is_number=True), Column("what it is")),
        tuple((name, f"{memory[name]:,.2f}", what) for name, what in shown),
    )


def _alternatives(record: Mapping[str, Any]) -> Table:  # Any: JSON
    return Table(
        "Changes that would make it fit, the cheapest first",
        (
            Column("change"), Column("GiB", is_number=True), Column("time", is_number=True),
            Column("dollars", is_number=True), Column("same result"),
        ),
        tuple(
            (
                visible(" ".join(each.get("overrides") or ()), 200),
                f"{each.get('memory_gib') or 0:,.1f}",
                _hours(each.get("hours")),
                usd(each.get("usd")),
                "yes" if each.get("same_result") else "no",
            )
            for each in record.get("alternatives") or ()
        ),
    )  # fmt: skip


def _beside(record: Mapping[str, Any]) -> str:  # Any: JSON
    """Forecast and actual, one line each; empty where nothing was measured."""
    forecast, actual = record.get("forecast"), record.get("actual")
    if not actual:
        return ""
    ratio = actual.get("ratio") or {}
    told = f"{_taken(forecast, {})}; by {visible(forecast.get('source'), 80)}" if forecast else NOT_MEASURED
    return f"Foreseen    {told}\nActual      {_taken(actual, ratio)}"


def _taken(record: Mapping[str, Any], ratio: Mapping[str, Any]) -> str:  # Any: JSON
    """Time, memory and dollars, each with how many times the forecast it was."""
    shown = (("seconds", duration), ("memory_gib", _gib), ("usd", usd))
    return ", ".join(
        f"{form(record.get(name))}{f' ({plain_number(ratio[name], 3)} times)' if ratio.get(name) else ''}"
        for name, form in shown
    )


def _hours(value: Any) -> str:  # Any: a field of a JSON record
    amount = number(value)
    return NOT_MEASURED if amount is None else duration(amount * 3600.0)


def _gib(value: Any) -> str:  # Any: a field of a JSON record
    amount = number(value)
    return NOT_MEASURED if amount is None else f"{amount:,.1f} GiB"
