"""What a provider says it has delivered and charged: its usage or cost export, or a table of its invoice.

Source: the OpenAI administration API's usage and costs objects, and the headings under which providers' portals and
FinOps exports give day, model and amount.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from io import StringIO
from typing import TYPE_CHECKING, Any

from freehold.audit.amounts import Unreadable, amount_of, currency_in, date_order, day_of, decimal_mark
from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

_HEADINGS: dict[str, tuple[str, ...]] = {
    "day": (
        "day", "date", "usage date", "usage start date", "usage start", "start date", "start time", "start time iso",
        "charge period start", "bucket start", "time bucket", "billing date", "period", "timestamp", "created at",
    ),
    "model": (
        "model", "model name", "model id", "model version", "line item", "meter", "meter name", "sku", "sku name",
        "product", "item", "description", "service", "service name",
    ),
    "usd": (
        "amount", "amount value", "cost", "costs", "total cost", "billed cost", "effective cost", "spend", "charge",
        "charges", "price", "net amount", "line total", "total", "list cost",
    ),
    "currency": ("currency", "currency code", "amount currency", "billing currency"),
    "requests": ("requests", "num model requests", "num requests", "n requests", "calls", "request count"),
    "input_tokens": ("input tokens", "prompt tokens", "n context tokens total", "tokens in"),
    "cached_tokens": ("input cached tokens", "cached tokens", "cached input tokens", "cache read tokens"),
    "output_tokens": ("output tokens", "completion tokens", "n generated tokens total", "tokens out"),
    "tier": ("service tier", "tier", "batch"),
}  # fmt: skip
"""What a column holds, by the headings it may have, the likeliest first."""
_TOTAL = re.compile(r"\s*(?:grand |sub)?\s*(?:total|sum|summe|gesamt)\b", re.IGNORECASE)
_PARTS = re.compile(
    r"(?:(?:batch|flex|priority|standard) )?(?:cached |uncached |cache (?:read|write|creation) )?"
    r"(?:input|output|prompt|completion)s?(?: tokens)?"
    r"|batch|flex|priority|standard|tokens|cache (?:read|write)s?",
    re.IGNORECASE,
)
_TIERED = re.compile(r"[\s(]+(batch|flex|priority)(?: api)?\)?$", re.IGNORECASE)
"""A tariff that stands behind a model's name in its line item."""
_PLACES = 12
_NOISE = Decimal("5e-15")
"""An amount so near, by its size, to one of twelve decimal places is that one, written by way of a binary fraction."""
_MOST_FAULTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line, as far as the provider tells. None: it does not."""

    day: date
    """As the provider counts days: for most of them in UTC."""
    model: str | None
    usd: Decimal | None
    requests: int | None = None
    input_tokens: int | None = None
    """All input, cached included."""
    cached_tokens: int | None = None
    output_tokens: int | None = None
    tier: str | None = None


@dataclass(slots=True)
class Invoice:
    """All lines of one or several files."""

    lines: list[InvoiceLine] = field(default_factory=list)
    places: int = 0
    """Decimal places of the most exact amount: what is missing behind them was rounded away."""
    skipped: int = 0
    """Lines that sum others up."""
    notes: list[str] = field(default_factory=list)

    @property
    def has_amounts(self) -> bool:
        """Some line tells what it costs."""
        return any(line.usd is not None for line in self.lines)


def read_invoice(text: str, name: str, *, usd_per: Mapping[str, Decimal] | None = None) -> Invoice:
    """The lines of a file: JSON or JSON Lines of usage or cost buckets, or a table with a heading.

    Args:
        text: Of the file.
        name: Of the file, for messages.
        usd_per: Currency -> US dollars for one unit of it, of amounts in other currencies.

    Raises:
        InputError: it holds no line that can be used, or lines that cannot be read; up to ten are named.
    """
    if not text.strip():
        raise InputError(f"{name}: the file is empty. Export usage or costs by day and model, as JSON or CSV.")
    reading = _Reading(name, dict(usd_per or {}))
    if text.lstrip()[0] in "[{":
        reading.buckets(text)
    else:
        reading.table(text)
    if reading.faults:
        told = "; ".join(reading.faults[:_MOST_FAULTS])
        more = len(reading.faults) - _MOST_FAULTS
        raise InputError(f"{name}: {told}{f'; and {more} further lines' if more > 0 else ''}.")
    if not reading.invoice.lines:
        raise InputError(f"{name}: there is no line with a day and an amount or tokens in it.")
    return reading.invoice


def joined(invoices: Sequence[Invoice]) -> Invoice:
    """Several files as one: usage and costs of the same days lie beside each other."""
    return Invoice(
        [line for one in invoices for line in one.lines],
        max((one.places for one in invoices), default=0),
        sum(one.skipped for one in invoices),
        [note for one in invoices for note in one.notes],
    )


def model_of(item: str) -> str | None:
    """The model in a line item such as `gpt-4o-2024-08-06, cached input`; None: it names none."""
    return _model_and_rest(item)[0]


def tier_of(item: str) -> str | None:
    """The tariff in a line item such as `gpt-4o-2024-08-06 batch, input`; None: it names none."""
    found = re.search(r"\b(batch|flex|priority)\b", _model_and_rest(item)[1].lower())
    return None if found is None else found[1]


def _model_and_rest(item: str) -> tuple[str | None, str]:
    parts, rest = [part.strip() for part in re.split(r"[,|]| - ", item)], []
    while len(parts) > 1 and _PARTS.fullmatch(parts[-1]):
        rest.append(parts.pop())
    model = ", ".join(part for part in parts if part)
    behind = _TIERED.search(model)
    if behind is not None and behind.start():
        model = model[: behind.start()]
        rest.append(behind[1])
    return model or None, " ".join(rest)


class _Reading:
    """One file, while it is read."""

    def __init__(self, name: str, usd_per: Mapping[str, Decimal]) -> None:
        self.name = name
        self.usd_per = usd_per
        self.invoice = Invoice()
        self.faults: list[str] = []

    def buckets(self, text: str) -> None:
        """Pages, buckets or results, in whatever way they are wrapped."""
        for number, document in self._documents(text):
            found = list(_results(document))
            if not found:
                self.faults.append(f"line {number}: no usage or cost buckets in it")
            for day, result in found:
                try:
                    self._take(day, result)
                except Unreadable as error:
                    self.faults.append(f"line {number}: {error}")

    def _documents(self, text: str) -> Iterator[tuple[int, Any]]:
        try:
            yield 1, json.loads(text, parse_float=Decimal)
            return
        except RecursionError:
            raise InputError(f"{self.name}: the JSON is nested too deep for an export of usage or costs.") from None
        except ValueError as error:
            whole = error
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        for place, (number, line) in enumerate(lines):
            try:
                yield number, json.loads(line, parse_float=Decimal)
            except (ValueError, RecursionError):
                fault = f"not JSON: {whole}" if place == 0 else f"line {number}: not JSON"
                raise InputError(f"{self.name}: {fault}. Is the file cut off? Export it again.") from None

    def _take(self, start: Any, result: Mapping[str, Any]) -> None:
        day = day_of(str(start), None)
        amount = result.get("amount")
        usd = None
        if isinstance(amount, dict):
            value, currency = amount.get("value"), amount.get("currency")
            if value is not None:
                usd = self._usd(amount_of(str(value), ".").value, currency if isinstance(currency, str) else None)
        item = result.get("line_item")
        model = result.get("model") if isinstance(result.get("model"), str) else None
        if model is None and isinstance(item, str):
            model = model_of(item)
        tier = "batch" if result.get("batch") is True else result.get("service_tier")
        if tier is None and isinstance(item, str):
            tier = tier_of(item)
        line = InvoiceLine(
            day=day,
            model=model or None,
            usd=usd,
            requests=_count(result.get("num_model_requests")),
            input_tokens=_count(result.get("input_tokens")),
            cached_tokens=_count(result.get("input_cached_tokens")),
            output_tokens=_count(result.get("output_tokens")),
            tier=tier if isinstance(tier, str) else None,
        )
        if usd is not None or line.input_tokens is not None or line.requests is not None:
            self.invoice.lines.append(line)

    def table(self, text: str) -> None:
        """A heading and rows."""
        delimiter = max(",;\t|", key=text.lstrip("\ufeff\r\n").splitlines()[0].count)
        try:
            rows = list(csv.reader(StringIO(text.lstrip("\ufeff\r\n"), newline=""), delimiter=delimiter))
        except csv.Error as error:
            raise InputError(f"{self.name}: this is no table of comma-separated values ({error}).") from None
        columns = self._columns(rows[0])
        body = [(number, row) for number, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)]
        kept = []
        for number, row in body:
            cell = {what: row[at].strip() for what, at in columns.items() if at < len(row)}
            is_total = any(_TOTAL.match(cell.get(what, "")) for what in ("day", "model"))
            if is_total or (not cell.get("day") and not cell.get("model")):
                self.invoice.skipped += 1
            else:
                kept.append((number, cell))
        try:
            mark = decimal_mark(cell.get("usd", "") for _, cell in kept)
            order = date_order([cell.get("day", "") for _, cell in kept])
        except Unreadable as error:
            self.faults.append(str(error))
            return
        heading = currency_in(rows[0][columns["usd"]]) if "usd" in columns else None
        for number, cell in kept:
            try:
                amount = amount_of(cell["usd"], mark) if cell.get("usd") else None
                currency = cell.get("currency") or heading
                usd = None if amount is None else self._usd(amount.value, amount.currency or currency)
                self.invoice.lines.append(
                    InvoiceLine(
                        day=day_of(cell.get("day", ""), order),
                        model=model_of(cell["model"]) if cell.get("model") else None,
                        usd=usd,
                        tier=_tier(cell.get("tier")) or tier_of(cell.get("model", "")),
                        **{name: _whole(cell.get(name)) for name in _COUNTS},
                    )
                )
            except Unreadable as error:
                self.faults.append(f"line {number}: {error}")

    def _columns(self, heading: Sequence[str]) -> dict[str, int]:
        spaced = (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"\(.*?\)", " ", cell)) for cell in heading)
        names = [re.sub(r"[^a-z]+", " ", cell.lower()).strip() for cell in spaced]
        names = [re.sub(r"\s*\b(?:usd|eur|gbp|utc|in)\b\s*", " ", name).strip() for name in names]
        found: dict[str, int] = {}
        for what, known in _HEADINGS.items():
            places = (names.index(name) for name in known if name in names)
            at = next((place for place in places if place not in found.values()), None)
            if at is not None:
                found[what] = at
        if "day" not in found or not {"usd", "input_tokens", "requests"} & found.keys():
            shown = ", ".join(repr(cell.strip()[:30]) for cell in heading[:12])
            raise InputError(
                f"{self.name}: the heading has no column for the day and the amount (found: {shown}). Name them "
                "'date', 'model' and 'amount', or export usage or costs by day."
            )
        return found

    def _usd(self, value: Decimal, currency: str | None) -> Decimal:
        code = (currency or "USD").strip().upper()
        value = _without_noise(value)
        self.invoice.places = max(self.invoice.places, -int(value.normalize().as_tuple().exponent))
        if code in {"USD", "US$", "$"}:
            return value
        if code not in self.usd_per:
            raise Unreadable(f"an amount in {code[:10]!r}; say what one is worth: --exchange {code[:3]}=US_DOLLARS")
        note = f"Amounts in {code} are taken at {self.usd_per[code]} US dollars."
        if note not in self.invoice.notes:
            self.invoice.notes.append(note)
        return value * self.usd_per[code]


def _without_noise(value: Decimal) -> Decimal:
    """0.2035 for 0.20350000000000004; any other amount with all of its digits."""
    short = round(value, _PLACES)
    return short if abs(value - short) <= _NOISE * max(abs(value), Decimal("0.01")) else value


_COUNTS = ("requests", "input_tokens", "cached_tokens", "output_tokens")


def _results(document: Any) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Start of a bucket and one of its results, of pages, lists of pages, buckets and results that stand alone."""
    waiting: list[tuple[Any, Any]] = [(None, document)]
    while waiting:
        start, value = waiting.pop()
        if isinstance(value, list):
            waiting += [(start, one) for one in reversed(value)]
        elif isinstance(value, dict):
            start = value.get("start_time", start)
            inner = value.get("results", value.get("result", value.get("data", value.get("buckets"))))
            if isinstance(inner, list):
                waiting.append((start, inner))
            elif start is not None and ("amount" in value or "num_model_requests" in value or "input_tokens" in value):
                yield start, value


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _whole(text: str | None) -> int | None:
    """A count, with separators of thousands or without."""
    digits = re.sub(r"[ ,.'\u00a0\u202f]", "", text or "")
    if not digits:
        return None
    if not digits.isdecimal() or re.search(r"[.,]\d{1,2}$|[.,]\d{4,}$", text or ""):
        raise Unreadable(f"{(text or '')[:30]!r} is no count")
    return int(digits)


def _tier(text: str | None) -> str | None:
    word = (text or "").strip().lower()
    return "batch" if word in {"true", "yes", "1", "batch"} else word if word not in {"", "false", "no", "0"} else None
