"""What `freehold audit` puts beside the numbers of the ledger: an invoice, and the kinds of personal data in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from freehold.cli.session import Session

Record = dict[str, Any]  # Any: JSON


def add_invoices(record: Record, session: Session, files: Sequence[Path], exchange: Sequence[str]) -> None:
    """Put `reconciliation` and its totals into an audit; nothing and null without an invoice.

    Raises:
        InputError: a file or a rate cannot be used.
    """
    record["reconciliation"], record["reconciliation_total"] = [], None
    if files:
        from freehold.cli.invoice import reconcile_files

        found = reconcile_files(session, files, exchange=exchange)
        record["reconciliation"] = [line.as_record() for line in found.lines]
        record["reconciliation_total"] = found.total_record()


def additions_text(record: Record) -> str:
    """Both as text, to stand below an audit."""
    from freehold.report.invoice_text import reconciliation_text
    from freehold.report.personal_data_text import personal_data_text

    parts = [personal_data_text(record["tasks"])]
    if record["reconciliation_total"] is not None:
        parts.append(reconciliation_text(record["reconciliation"], record["reconciliation_total"]))
    return "".join(f"\n\n{part}" for part in parts if part)
