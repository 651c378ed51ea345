"""The ledger against an invoice, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_LINES = 30
_LONGEST = 600
"""Characters of an explanation."""


def reconciliation_text(lines: Sequence[Mapping[str, Any]], total: Mapping[str, Any]) -> str:  # Any: JSON
    """Totals, causes, then the days and models that differ most."""
    told = [
        f"Invoice against ledger: the ledger has {_usd(total['ledger_usd'])}, "
        f"the invoice {_usd(total['invoice_usd'])}, difference {_usd(total['difference_usd'])}.",
        *(f"  {_usd(usd):>16}  {kind}" for kind, usd in _largest(total["by_cause"])),
    ]
    differing = [line for line in lines if line["difference_usd"]]
    differing.sort(key=lambda line: -abs(line["difference_usd"]))
    if differing:
        told += ["", f"  {'day':<12}{'ledger':>16}{'invoice':>16}{'difference':>16}  model"]
    for line in differing[:_MOST_LINES]:
        amounts = (line["ledger_usd"], line["invoice_usd"], line["difference_usd"])
        told.append(f"  {line['day']:<12}{''.join(f'{_usd(usd):>16}' for usd in amounts)}  {visible(line['model'])}")
        told.append(f"      {visible(line['explanation'], _LONGEST)}")
    if len(differing) > _MOST_LINES:
        told.append(f"  … {len(differing) - _MOST_LINES} further lines: --json has them")
    return "\n".join([*told, *([""] if total["notes"] else []), *(visible(note, _LONGEST) for note in total["notes"])])


def _largest(by_cause: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(((kind, usd) for kind, usd in by_cause.items() if usd), key=lambda one: -abs(one[1]))


def _usd(amount: float) -> str:
    return f"{amount:,.4f} USD"
