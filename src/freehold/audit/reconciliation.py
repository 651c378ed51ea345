"""The ledger against an invoice, by day and model: what differs, why, and what nobody can explain.

Each difference is split into causes that were counted, one after the other, and a rest that is named as unexplained.
Causes and rest add up to the difference exactly, lines to the totals, whichever way they are grouped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from freehold.audit.billed import price_of_cell
from freehold.audit.causes import Cause, Side, explain, priced_line
from freehold.economics import catalogue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import date

    from freehold.audit.billed import Cell
    from freehold.audit.invoice import Invoice, InvoiceLine
    from freehold.audit.pricing import Pricing

ALL_MODELS = "all models"
"""Stands where the invoice does not tell models apart on a day."""
_SNAPSHOT = re.compile(r"[-@]20\d\d-?[01]\d-?[0-3]\d$")
_NOTHING = Decimal("1e-9")
"""US dollars below which a difference is none."""
_LARGEST_SHIFT_H = 14
_WORTH_A_SHIFT = Decimal("0.2")
"""Days are taken to begin at another hour if that leaves less than this share of the differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """One day and model of both sides."""

    day: date
    model: str
    ledger_usd: Decimal
    """Of the calls whose price is known."""
    invoice_usd: Decimal
    ledger_calls: int
    unpriced_calls: int
    invoice_requests: int | None
    causes: tuple[Cause, ...]

    @property
    def difference_usd(self) -> Decimal:
        """Ledger minus invoice."""
        return self.ledger_usd - self.invoice_usd

    @property
    def unexplained_usd(self) -> Decimal:
        """What no cause accounts for."""
        return self.difference_usd - sum((cause.usd for cause in self.causes), Decimal(0))

    @property
    def explanation(self) -> str:
        """The causes in one sentence each, and what they leave open."""
        if abs(self.difference_usd) < _NOTHING and all(cause.kind == "rounding" for cause in self.causes):
            return "the same"
        told = [f"{cause.sentence} ({_signed(cause.usd)})" for cause in self.causes]
        if self.unexplained_usd:
            told.append(f"unexplained: {_signed(self.unexplained_usd)}")
        return "; ".join(told) or "the same"

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As the audit lists it; money as numbers."""
        return {
            "day": self.day.isoformat(),
            "model": self.model,
            "ledger_usd": float(self.ledger_usd),
            "invoice_usd": float(self.invoice_usd),
            "difference_usd": float(self.difference_usd),
            "unexplained_usd": float(self.unexplained_usd),
            "ledger_calls": self.ledger_calls,
            "unpriced_calls": self.unpriced_calls,
            "invoice_requests": self.invoice_requests,
            "causes": [
                {"kind": cause.kind, "usd": float(cause.usd), "calls": cause.calls, "sentence": cause.sentence}
                for cause in self.causes
            ],
            "explanation": self.explanation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """All days and models."""

    lines: tuple[Reconciled, ...]
    """By day, then by model."""
    notes: tuple[str, ...]

    def total(self, name: str) -> Decimal:
        """Sum of one of the amounts over all lines."""
        return sum((getattr(line, name) for line in self.lines), Decimal(0))

    def by_cause(self) -> dict[str, Decimal]:
        """Cause -> US dollars, and what is unexplained; together the whole difference."""
        found: defaultdict[str, Decimal] = defaultdict(Decimal)
        for line in self.lines:
            for cause in line.causes:
                found[cause.kind] += cause.usd
            found["unexplained"] += line.unexplained_usd
        return dict(found)

    def total_record(self) -> dict[str, Any]:  # Any: JSON
        """The totals as the audit prints them."""
        return {
            "ledger_usd": float(self.total("ledger_usd")),
            "invoice_usd": float(self.total("invoice_usd")),
            "difference_usd": float(self.total("difference_usd")),
            "by_cause": {kind: float(usd) for kind, usd in sorted(self.by_cause().items())},
            "notes": list(self.notes),
        }


def reconcile(cells: Sequence[Cell], invoice: Invoice, pricing: Pricing) -> Reconciliation:
    """Compare what the ledger would cost with what the provider says.

    Calls of providers that the invoice does not name, and of days before and after it, are left out and counted in the
    notes. A line that tells tokens and no amount is priced as the ledger is, which the notes say.

    Args:
        cells: Of the ledger, a day more on either side of the invoice.
        invoice: Has at least one line.
        pricing: Where prices come from.
    """
    first, last = min(line.day for line in invoice.lines), max(line.day for line in invoice.lines)
    names = _Names(cells, invoice.lines)
    notes = [*invoice.notes]
    cells, left_out = _of_its_providers(cells, names, first, last)
    cells, not_its = _of_the_one_it_bills(cells, invoice, names, pricing)
    left_out += not_its
    notes += left_out
    if not any(first <= cell.day <= last for cell in cells):
        notes.append(f"The ledger holds no call from {first} to {last}, the days of the invoice: is it of that period?")
    if invoice.skipped:
        notes.append(f"{invoice.skipped} lines of the invoice that sum others up are left out.")
    costs = {id(cell): cell.cost(price_of_cell(cell, pricing)) for cell in cells}
    whole_days = {line.day for line in invoice.lines if line.model is None}

    def place(day: date, model: str) -> tuple[date, str]:
        return day, ALL_MODELS if day in whole_days else model

    lines = _with_amounts(invoice, cells, names, pricing, notes)
    hours = _shift(cells, costs, lines, first, last)
    if hours:
        notes.append(f"The invoice's days seem to begin at {hours % 24:02d}:00 UTC, the ledger's at midnight.")
    sides: dict[tuple[date, str], Side] = {}
    for cell in cells:
        model = names.of_cell(cell)
        if first <= cell.day <= last:
            _side(sides, place(cell.day, model)).cells.append(cell)
        if hours and first <= cell.moved(hours) <= last:
            side = _side(sides, place(cell.moved(hours), model))
            side.shifted_usd = (side.shifted_usd or Decimal(0)) + (costs[id(cell)] or 0)
    for line in lines:
        _side(sides, place(line.day, names.of_line(line))).lines.append(line)
    if hours:
        for side in sides.values():
            side.shifted_usd = side.shifted_usd or Decimal(0)
    tolerance = max(Decimal(5).scaleb(-invoice.places - 1), _NOTHING / 2) if invoice.has_amounts else Decimal(0)
    done = [_reconciled(side, pricing, tolerance, costs) for _, side in sorted(sides.items())]
    return Reconciliation(lines=tuple(done), notes=tuple(notes))


def _side(sides: dict[tuple[date, str], Side], place: tuple[date, str]) -> Side:
    return sides.setdefault(place, Side(day=place[0], model=place[1]))


def _reconciled(side: Side, pricing: Pricing, tolerance: Decimal, costs: Mapping[int, Decimal | None]) -> Reconciled:
    known = [cost for cell in side.cells if (cost := costs[id(cell)]) is not None]
    requests = [line.requests for line in side.lines if line.requests is not None]
    bare = Reconciled(
        day=side.day,
        model=side.model,
        ledger_usd=sum(known, Decimal(0)),
        invoice_usd=sum((line.usd for line in side.lines if line.usd is not None), Decimal(0)),
        ledger_calls=sum(cell.calls for cell in side.cells),
        unpriced_calls=sum(cell.calls for cell in side.cells if costs[id(cell)] is None and not cell.is_error),
        invoice_requests=sum(requests) if requests else None,
        causes=(),
    )
    causes = explain(side, bare, pricing, tolerance * max(1, len(side.lines)))
    return Reconciled(**{name: getattr(bare, name) for name in bare.__slots__ if name != "causes"}, causes=causes)


class _Names:
    """Which names of the invoice and of the ledger mean one model.

    The same name, or two that are billed as the same in the catalogue, or an alias and a dated snapshot of it
    (`gpt-4o-mini`, `gpt-4o-mini-2024-07-18`). Where both sides use the same ones each day they are kept apart.
    """

    def __init__(self, cells: Iterable[Cell], lines: Iterable[InvoiceLine]) -> None:
        ours = {(cell.day, cell.model or cell.asked) for cell in cells}
        theirs = [(line.day, line.model) for line in lines if line.model is not None]
        known = {_plain(name) for _, name in [*theirs, *ours]}
        one_model = {name: _one_model(name, known) for _, name in [*theirs, *ours]}
        by_day: defaultdict[tuple[str, date], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
        for side, pairs in enumerate((theirs, ours)):
            for day, name in pairs:
                by_day[one_model[name], day][side].add(_plain(name))
        mixed = {model for (model, _), (billed, asked) in by_day.items() if billed and asked and billed != asked}
        self._shown: dict[str, str] = {}
        first: dict[str, str] = {}
        for _, name in theirs:
            self._shown.setdefault(_plain(name), name)
            first.setdefault(one_model[name], _plain(name))
        self._of: dict[str, str] = {}
        for name, model in one_model.items():
            is_apart = _plain(name) in self._shown and model not in mixed
            self._of[name] = _plain(name) if is_apart else first.get(model, _plain(name))
        for name, key in self._of.items():
            self._shown.setdefault(key, name or "unknown")
        self._invoiced = {self._of[name] for _, name in theirs}
        self.tells_models = bool(self._invoiced)

    def of_cell(self, cell: Cell) -> str:
        """The name under which a cell is compared."""
        return self._shown[self._of[cell.model or cell.asked]]

    def of_line(self, line: InvoiceLine) -> str:
        """The same of a line."""
        return ALL_MODELS if line.model is None else self._shown[self._of[line.model]]

    def is_invoiced(self, cell: Cell) -> bool:
        """The invoice has the model on some day."""
        return self._of[cell.model or cell.asked] in self._invoiced


def _plain(model: str) -> str:
    return model.rpartition("/")[2].strip().lower().replace(" ", "-").replace("_", "-")


def _one_model(name: str, known: Collection[str]) -> str:
    """Equal for names of one model; a snapshot counts as its alias where one of the sides uses that."""
    alias = _SNAPSHOT.sub("", _plain(name))
    return _billed(alias if alias in known else name)


def _billed(model: str) -> str:
    entry = catalogue.find(model.strip().lower().replace(" ", "-")) if model.strip() else None
    return f"?{_plain(model)}" if entry is None else f"{entry.provider.id}/{entry.model.id}"


def _of_its_providers(cells: Sequence[Cell], names: _Names, first: date, last: date) -> tuple[list[Cell], list[str]]:
    """Cells of the providers whose models are on the invoice, and what to say of the others."""
    within = [cell for cell in cells if first <= cell.day <= last]
    providers = {cell.provider for cell in within if names.is_invoiced(cell)} | {""}
    if not names.tells_models or providers == {""}:
        return list(cells), []
    others: defaultdict[str, int] = defaultdict(int)
    for cell in within:
        if cell.provider not in providers:
            others[cell.provider] += cell.calls
    told = [f"{_calls(count, name)} not compared: the invoice has none of its models."
            for name, count in sorted(others.items())]  # fmt: skip
    return [cell for cell in cells if cell.provider in providers], told


def _of_the_one_it_bills(
    cells: Sequence[Cell], invoice: Invoice, names: _Names, pricing: Pricing
) -> tuple[list[Cell], list[str]]:
    """Where several providers have the invoice's models: the one whose calls alone give its amounts, if one does."""
    days = {line.day for line in invoice.lines}
    within = [cell for cell in cells if cell.day in days and names.is_invoiced(cell)]
    providers = sorted({cell.provider for cell in within} - {""})
    sellers: defaultdict[str, set[str]] = defaultdict(set)
    for cell in within:
        sellers[names.of_cell(cell)].add(cell.provider)
    is_shared = any(len(of - {""}) > 1 for of in sellers.values())
    if not is_shared or not invoice.has_amounts:
        return list(cells), []
    ours: defaultdict[tuple[str, date], Decimal] = defaultdict(Decimal)
    for cell in within:
        ours[cell.provider, cell.day] += cell.cost(price_of_cell(cell, pricing)) or 0
    billed: defaultdict[date, Decimal] = defaultdict(Decimal)
    for line in invoice.lines:
        billed[line.day] += line.usd or 0

    def misfit(some: Collection[str]) -> Decimal:
        return sum((abs(sum((ours[one, day] for one in some), Decimal(0)) - billed[day]) for day in days), Decimal(0))

    # Of two that would cost the same, whoever makes the models has written the bill.
    makers = {_billed(cell.model or cell.asked).partition("/")[0] for cell in within}
    best = min(providers, key=lambda one: (misfit([one]), one not in makers, one))
    if misfit([best]) >= misfit([*providers, ""]) * _WORTH_A_SHIFT:
        return list(cells), []
    others: defaultdict[str, int] = defaultdict(int)
    for cell in within:
        if cell.provider not in {best, ""}:
            others[cell.provider] += cell.calls
    told = [f"{_calls(count, name)} not compared: the invoice's amounts are those of {best} alone."
            for name, count in sorted(others.items())]  # fmt: skip
    return [cell for cell in cells if cell.provider in {best, ""}], told


def _calls(count: int, provider: str) -> str:
    return f"1 call of {provider} is" if count == 1 else f"{count} calls of {provider} are"


def _with_amounts(
    invoice: Invoice, cells: Sequence[Cell], names: _Names, pricing: Pricing, notes: list[str]
) -> list[InvoiceLine]:
    """Lines that tell tokens beside amounts of the same day give their counts; alone they are priced here."""
    amounts = {(line.day, names.of_line(line)) for line in invoice.lines if line.usd is not None}
    days = {day for day, _ in amounts}
    by_name: defaultdict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_name[names.of_cell(cell)].append(cell)
    lines: list[InvoiceLine] = []
    priced = 0
    for line in invoice.lines:
        if line.usd is None and (line.day, names.of_line(line)) not in amounts and line.day not in days:
            lines.append(priced_line(line, by_name.get(names.of_line(line), []), pricing))
            priced += lines[-1].usd is not None
        else:
            lines.append(line)
    if priced:
        notes.append(f"{priced} lines tell tokens and no amount: they are priced as the ledger is.")
    return lines


def _shift(
    cells: Sequence[Cell],
    costs: Mapping[int, Decimal | None],
    lines: Sequence[InvoiceLine],
    first: date,
    last: date,
) -> int:
    """Hours after midnight UTC at which the invoice's days begin, if that explains nearly all that differs by day."""
    invoiced: defaultdict[date, Decimal] = defaultdict(Decimal)
    for line in lines:
        invoiced[line.day] += line.usd or 0

    def misfit(hours: int) -> Decimal:
        ledger: defaultdict[date, Decimal] = defaultdict(Decimal)
        for cell in cells:
            ledger[cell.moved(hours)] += costs[id(cell)] or 0
        days = {day for day in {*ledger, *invoiced} if first <= day <= last}
        return sum((abs(ledger[day] - invoiced[day]) for day in days), Decimal(0))

    if first == last:
        return 0
    today = misfit(0)
    best = min(range(-_LARGEST_SHIFT_H, _LARGEST_SHIFT_H + 1), key=lambda hours: (misfit(hours), abs(hours)))
    return best if today and misfit(best) < today * _WORTH_A_SHIFT else 0


def _signed(usd: Decimal) -> str:
    return f"{'+' if usd >= 0 else '-'}{abs(usd):.6f} USD"
