"""OpenAI's usage and costs API: how much was used in each hour or day, without a single prompt.

`/v1/organization/usage/completions` and its sisters give buckets of tokens and requests, `/v1/organization/costs`
buckets of dollars. Each result of a bucket becomes one volume.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from freehold.core.chat import Usage
from freehold.core.identity import content_hash
from freehold.ledger.logs.format import BadRow, Format, Skipped, Volume
from freehold.ledger.logs.formats._each_row import each_row
from freehold.ledger.logs.formats._fields import (
    Values,
    count,
    flag,
    list_of,
    mapping_of,
    milliseconds,
    moment,
    objects,
    present,
    text,
)
from freehold.ledger.logs.formats._usage import inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from freehold.ledger.logs.format import Context, Item
    from freehold.ledger.logs.formats._each_row import Row

_USAGE, _COSTS = "organization.usage.", "organization.costs."
_NO_MODEL = frozenset({"vector_stores", "code_interpreter_sessions"})
"""Sums of storage and of sessions: no model was called."""
_NAMES = ("model", "batch", "service_tier", "project_id", "user_id", "api_key_id", "line_item", "organization_id")
"""What tells the results of one bucket apart, as far as the export was grouped by it."""
_COUNTED = ("num_model_requests", "num_requests")
_LONGEST_COST = 30
BATCH = "batch"


def read_bucket(row: Row, context: Context) -> Iterator[Item]:
    """Every result of one bucket; half a bucket would be taken for the whole of it."""
    del context
    start, end = moment(row, "start_time"), moment(row, "end_time")
    if start is None:
        raise BadRow("a bucket without 'start_time'")
    lasts_ms = milliseconds(start, end)
    window_s = None if lasts_ms is None else lasts_ms / 1000
    results = list(objects(row["results"])) if "results" in row else [row]
    if "results" in row and len(results) != len(list_of(row["results"])):
        raise BadRow("'results' of a bucket holds something else than objects")
    for result in results:
        yield _volume(present(result), start, window_s)


def _volume(result: Values, start: datetime, window_s: float | None) -> Item:
    kind = str(result.get("object", "")).removeprefix(_USAGE).removesuffix(".result")
    if kind in _NO_MODEL:
        return Skipped(f"usage of {kind.replace('_', ' ')}: no model was called")
    names = {name: found for name in _NAMES if (found := result.get(name)) is not None}
    identity = content_hash([start.isoformat(), window_s, kind, {name: str(names[name]) for name in sorted(names)}])
    tokens = inside(
        Usage(
            input_tokens=count(result, "input_tokens"),
            cache_read_tokens=count(result, "input_cached_tokens"),
            cache_write_tokens=count(result, "input_cache_write_tokens"),
            output_tokens=count(result, "output_tokens"),
        )
    )
    is_embedding = kind == "embeddings"
    source = f"openai-{'costs' if _is_cost(result) else 'usage'}"
    told = [kind, *(names.get(name) for name in ("model", "api_key_id", "batch", "service_tier", "line_item"))]
    return Volume(
        source_id=f"{source}:{identity[:32]}",
        series=f"{source}:{content_hash([None if one is None else str(one) for one in told])[:32]}",
        started_at=start,
        window_s=window_s,
        provider="openai",
        model=text(result, "model") or _model_of(text(result, "line_item")),
        service_tier=BATCH if flag(result, "batch") else text(result, "service_tier"),
        key_id=text(result, "api_key_id"),
        calls=count(result, *_COUNTED),
        input_tokens=tokens.input_tokens,
        cache_read_tokens=tokens.cache_read_tokens,
        cache_write_tokens=tokens.cache_write_tokens,
        output_tokens=0 if is_embedding and tokens.output_tokens is None else tokens.output_tokens,
        billed_usd=_billed(result) if _is_cost(result) else None,
    )


def _is_cost(result: Values) -> bool:
    return str(result.get("object", "")).startswith(_COSTS) or "amount" in result or "amount_value" in result


def _billed(result: Values) -> Decimal:
    """The amount of a result of costs, in dollars, as it is written."""
    amount = mapping_of(result.get("amount")) or {
        "value": result.get("amount_value", result.get("amount")),
        "currency": result.get("amount_currency", result.get("currency", "usd")),
    }
    currency = str(amount.get("currency", "usd")).lower()
    if currency != "usd":
        raise BadRow("'amount' is in another currency than usd")
    written = str(amount.get("value"))
    try:
        found = Decimal(written)
    except InvalidOperation as error:
        raise BadRow("'amount' must have a 'value' that is a number") from error
    if not found.is_finite() or len(written) > _LONGEST_COST or isinstance(amount.get("value"), bool):
        raise BadRow("'amount' must have a 'value' that is a number")
    return found


def _model_of(line_item: str | None) -> str | None:
    """`gpt-5.4-mini-2026-03-17, cached input` is a line of that model; other lines (`Web search`) name none."""
    if line_item is None:
        return None
    name, comma, _ = line_item.partition(",")
    return name.strip() if comma and " " not in name.strip() else None


def _is_result(value: object) -> bool:
    return isinstance(value, dict) and str(value.get("object", "")).startswith((_USAGE, _COSTS))


def _is_bucket(values: Values) -> bool:
    """A bucket, or a result that a table has flattened out of it."""
    if "start_time" not in values:
        return False
    if isinstance(values.get("results"), list):
        is_empty = not values["results"] and values.get("object") == "bucket"
        return is_empty or any(_is_result(each) for each in values["results"])
    is_usage = "num_model_requests" in values and "input_tokens" in values
    is_cost = ("amount_value" in values or "amount" in values) and {"line_item", "project_id"} & values.keys()
    return _is_result(values) or is_usage or bool(is_cost)


FORMATS = (
    Format(
        name="openai-usage",
        recognises=_is_bucket,
        reader=each_row(read_bucket),
        says="buckets of the usage and costs API have 'start_time' with 'results'",
    ),
)
