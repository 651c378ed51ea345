"""Capacity and cost of tuning as plain text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import plain_table
from freehold.report.numbers import interval, rate_usd, usd
from freehold.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMITS = {
    "compute": "arithmetic: a lower precision or more devices would speed it up",
    "memory": "reading memory: more requests at a time, a lower precision or more devices would speed it up",
    "kv": "room for keys and values: more memory would let more requests in",
    "engine": "the engine's own work between kernels: more requests at a time would speed it up",
}
_SHOWN_ROWS = 200
_COLUMNS = (
    Column("line"),
    Column("model"),
    Column("gpu"),
    Column("gpus", is_number=True),
    Column("precision"),
    *(Column(name, is_number=True) for name in ("in", "out", "clients", "tokens/s", "p5", "p95")),
)


def capacity_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """One replica: what was asked, what it delivers, and what limits it."""
    together = record["concurrency"]
    clients = "a batch job, as many requests as fit" if together is None else f"{together:,.0f} clients"
    low, high = record["interval"]["p5"], record["interval"]["p95"]
    rows = [
        ("output tokens per second", f"{record['output_tokens_per_s']:,.0f}   (90 %: {low:,.0f} to {high:,.0f})"),
        ("requests per second", f"{record['requests_per_s']:,.3g}"),
        ("time to first token", f"{record['ttft_ms']:,.0f} ms"),
        ("time per further token", f"{record['tpot_ms']:,.1f} ms"),
        ("requests at a time", f"{record['batch']:,.0f}   ({record['kv_limited_concurrency']:,.0f} fit in memory)"),
        ("limited by", LIMITS[record["bound_by"]]),
    ]
    heading = (
        f"{record['model']} in {record['precision']} on {record['gpus']} × {record['gpu']}, "
        f"{record['input_tokens']:,.0f} tokens in and {record['output_tokens']:,.0f} out, {clients}"
    )
    width = max(len(name) for name, _ in rows)
    return "\n".join([heading, "", *(f"  {name:{width}}  {value}" for name, value in rows)]) + "\n"


def points_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """A table of many replicas; rows that cannot be answered say why below it."""
    rows = record["rows"]
    answered = [row for row in rows if "error" not in row]
    lines = tuple(_point_cells(row) for row in answered[:_SHOWN_ROWS])
    parts = [plain_table(Table("Output tokens per second of one replica, with 90 % interval", _COLUMNS, lines))]
    if len(answered) > _SHOWN_ROWS:
        parts.append(f"... and {len(answered) - _SHOWN_ROWS:,} more rows; --json has them all.")
    faults = [f"line {row['line']}: {row['error']}" for row in rows if "error" in row]
    if faults:
        parts.append(f"\n{len(faults)} of {len(rows)} rows cannot be answered:")
        parts += faults[:_SHOWN_ROWS]
    return "\n".join(part for part in parts if part) + "\n"


def _point_cells(row: Mapping[str, Any]) -> tuple[str, ...]:  # Any: JSON
    return (
        str(row["line"]),
        row["model"],
        row["gpu"],
        str(row["gpus"]),
        row["precision"],
        f"{row['isl']:,.0f}",
        f"{row['osl']:,.0f}",
        "most" if row["concurrency"] is None else f"{row['concurrency']:,.0f}",
        f"{row['output_tokens_per_s']:,.0f}",
        f"{row['interval']['p5']:,.0f}",
        f"{row['interval']['p95']:,.0f}",
    )


def finetuning_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """One run of training: hours, dollars, memory."""
    low, high = record["interval"]["p5"], record["interval"]["p95"]
    paid = record["usd"]
    if paid is None:
        price = f"not known: {record['reason']}"
    else:
        dated = f", {record['price_as_of']}" if record["price_as_of"] else ""
        price = (
            f"{usd(paid['typical'])}   (90 %: {interval(paid['p5'], paid['p95'], usd)}; "
            f"{rate_usd(record['usd_per_gpu_hour'])} per GPU-hour{dated})"
        )
    rows = [
        ("GPU-hours", f"{record['gpu_hours']:,.3g}   (90 %: {low:,.3g} to {high:,.3g})"),
        ("hours", f"{record['hours']:,.3g}"),
        ("tokens per second", f"{record['tokens_per_s']:,.0f}"),
        ("dollars", price),
        ("state over all devices", f"{record['state_gb']:,.0f} GB of weights, gradients and optimizer"),
        ("memory per device", f"{record['memory_gb_per_gpu']:,.1f} GB"),
        ("fits", "yes" if record["fits"] else f"no; what would make it fit: {record['remedy']}"),
    ]
    heading = (
        f"{record['method']} of {record['model']} on {record['gpus']} × {record['gpu']}, "
        f"{record['trained_tokens']:,.0f} trained tokens, {record['trainer']} trainer"
    )
    width = max(len(name) for name, _ in rows)
    return "\n".join([heading, "", *(f"  {name:{width}}  {value}" for name, value in rows)]) + "\n"
