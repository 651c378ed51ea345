"""The ledger of a workspace against invoices in files, for `freehold audit --invoice`."""

from __future__ import annotations

import codecs
import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from freehold.audit.billed import cells_of, price_of_cell, volume_cells
from freehold.audit.invoice import joined, read_invoice
from freehold.audit.pricing import Pricing
from freehold.audit.reconciliation import reconcile
from freehold.cli.price_files import own_prices
from freehold.core.errors import InputError
from freehold.ledger.rollup import EDGES
from freehold.ledger.volumes import VOLUMES, Volumes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from freehold.audit.reconciliation import Reconciliation
    from freehold.cli.session import Session

_MOST_BYTES = 256 << 20
_RATE = re.compile(r"([A-Za-z]{3})=([0-9]+(?:\.[0-9]+)?)")
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def reconcile_files(session: Session, files: Sequence[Path], *, exchange: Sequence[str] = ()) -> Reconciliation:
    """Compare the ledger with all files together, at the prices of the workspace.

    Args:
        session: What gateways have recorded is in its ledger.
        files: Usage or cost exports, or tables.
        exchange: `EUR=1.08`: US dollars for one unit of a currency.

    Raises:
        InputError: a file or a rate cannot be used.
    """
    rates = dict(map(_rate, exchange))
    invoice = joined([read_invoice(_text(file), str(file), usd_per=rates) for file in files])
    prices = own_prices(None)
    pricing = Pricing(prices.aliases, prices.overrides)
    calls = session.workspace.calls
    retired = session.ledger.retired_sums()
    day = timedelta(days=1)
    first, last = min(line.day for line in invoice.lines) - day, max(line.day for line in invoice.lines) + day
    volumes = volume_cells(Volumes(session.workspace.events / VOLUMES).read(), first=first, last=last)
    cells = cells_of(calls, retired, first=first, last=last)
    for cell in cells:
        price_of_cell(cell, pricing)
    further = pricing.edges() - set(EDGES)
    if further:  # a user's own rate changes at a length that nobody foresaw
        cells = cells_of(calls, retired, first=first, last=last, edges=sorted({*EDGES, *further}))
    return reconcile([*cells, *volumes], invoice, pricing)


def _rate(text: str) -> tuple[str, Decimal]:
    found = _RATE.fullmatch(text.strip())
    try:
        rate = Decimal(found[2]) if found else Decimal(0)
    except InvalidOperation:
        rate = Decimal(0)
    if found is None or not rate:
        raise InputError(f"--exchange {text[:40]!r} must read CURRENCY=US_DOLLARS, as in EUR=1.08.")
    return found[1].upper(), rate


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise InputError(f"{file}: larger than {_MOST_BYTES >> 20} MiB; export usage or costs by day, not by call.")
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}).") from error
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        if b"\0" in data[:4096] or encoding != "utf-8":
            raise InputError(f"{file}: this is no text. Export usage or costs as JSON or CSV.") from None
        return data.decode("cp1252", "replace")  # what spreadsheets write; only day, model and amount are read
