"""An audit as CSV, harmless to the spreadsheet that opens it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Iterable

    from freehold.audit.lines import CostLine

_NAMES = (
    "task", "day", "model", "service_tier", "calls", "errors", "priced_calls", "input_tokens", "cache_read_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd",
)  # fmt: skip
_OBEYED = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula. Source: OWASP, CSV Injection."""


_SPACES = "\t\r\n"
"""Control characters that a cell may hold; the others steer the terminal that prints the file."""


def audit_csv(lines: Iterable[CostLine]) -> str:
    """One line per task, day, model and tier; an empty cell is an unknown number. Money has all of its digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(_NAMES)
    for line in lines:
        writer.writerow([_cell(getattr(line, name)) for name in _NAMES])
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return f"{value:f}" if not isinstance(value, int) else str(value)
    words = "".join(char for char in value if char in _SPACES or category(char) != "Cc")
    # A blank before the sign does not keep every spreadsheet from obeying it.
    return f"'{words}" if words.lstrip().startswith(_OBEYED) or words.startswith(_OBEYED) else words
