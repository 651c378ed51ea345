"""LiteLLM's price list, as its original JSON file or as JSON Lines with rates per million tokens."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from freehold.core.errors import InputError
from freehold.economics.price_check import ListedPrice

PER_MTOK = {
    "input_per_mtok": "input_usd_per_mtok",
    "output_per_mtok": "output_usd_per_mtok",
    "cache_read_per_mtok": "cache_read_usd_per_mtok",
    "cache_write_per_mtok": "cache_write_usd_per_mtok",
    "batch_input_per_mtok": "batch_input_usd_per_mtok",
    "batch_output_per_mtok": "batch_output_usd_per_mtok",
}
PER_TOKEN = {
    "input_cost_per_token": "input_usd_per_mtok",
    "output_cost_per_token": "output_usd_per_mtok",
    "cache_read_input_token_cost": "cache_read_usd_per_mtok",
    "cache_creation_input_token_cost": "cache_write_usd_per_mtok",
    "input_cost_per_token_batches": "batch_input_usd_per_mtok",
    "output_cost_per_token_batches": "batch_output_usd_per_mtok",
}
_ABOVE = re.compile(r"^(.+)_above_(\d+)k_tokens$")
_MTOK = Decimal(1_000_000)
MOST_FAULTS = 20


def parse_listed(text: str, where: str) -> list[ListedPrice]:
    """The models of a price list in either form, in its order; `where` names the file in errors.

    Raises:
        InputError: it is neither form, or rows of it cannot be used; the first twenty, each with line or name.
    """
    original = _original(text)
    rows = list(original.items()) if original is not None else _lines(text, where)
    faults: list[str] = []
    listed: list[ListedPrice] = []
    for place, row in rows:
        try:
            price = _from_original(place, row) if original is not None else _from_line(row)
        except ValueError as error:
            faults.append(f"{place}: {error}")
            continue
        if price is not None:
            listed.append(price)
    if faults:
        more = "" if len(faults) <= MOST_FAULTS else f"; and {len(faults) - MOST_FAULTS} more"
        raise InputError(f"{where}: " + "; ".join(faults[:MOST_FAULTS]) + more + ".")
    if not listed:
        raise InputError(f"{where} holds no prices. Give LiteLLM's JSON file, or JSON Lines with model and provider.")
    return listed


def _original(text: str) -> dict[str, Any] | None:
    """The original file is one JSON object of objects, by model."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_one_row = isinstance(found, dict) and isinstance(found.get("model"), str)
    return None if is_one_row or not isinstance(found, dict) else found


def _lines(text: str, where: str) -> list[tuple[str, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append((f"line {number}", json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}, line {number}: this is no JSON; give LiteLLM's file or JSON Lines.") from error
    return rows


def _from_line(row: object) -> ListedPrice | None:
    if not isinstance(row, dict) or not isinstance(row.get("model"), str):
        raise ValueError("a row needs 'model'")
    rates = {name: _rate(row[key], key) for key, name in PER_MTOK.items() if row.get(key) is not None}
    return ListedPrice(model=row["model"], provider=str(row.get("provider") or "unknown"), rates=rates, tiers={})


def _from_original(model: str, row: object) -> ListedPrice | None:
    """One model of the original file; None: it is the file's own example of a row."""
    if model == "sample_spec":
        return None
    if not isinstance(row, dict):
        raise ValueError("it must be an object of prices")
    rates = {name: _rate(row[key], key) * _MTOK for key, name in PER_TOKEN.items() if row.get(key) is not None}
    tiers: dict[int, dict[str, Decimal]] = {}
    for key, value in row.items():
        found = _ABOVE.match(key)
        if found and found[1] in PER_TOKEN and value is not None:
            tiers.setdefault(int(found[2]) * 1000, {})[PER_TOKEN[found[1]]] = _rate(value, key) * _MTOK
    return ListedPrice(model=model, provider=str(row.get("litellm_provider", "unknown")), rates=rates, tiers=tiers)


def _rate(value: object, key: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError(f"{key} is {str(value)[:40]!r}; it must be a number from 0 up")
    return Decimal(str(value)).normalize()
