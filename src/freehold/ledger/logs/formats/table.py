"""Every format that can be imported, most specific first: a row belongs to the first one that knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.formats import (
    helicone,
    langfuse,
    litellm,
    openai_batch,
    openai_fine_tuning,
    openai_stored,
    openai_usage,
    openpipe,
    otel,
)
from freehold.ledger.logs.formats.ledger_export import LEDGER
from freehold.ledger.logs.formats.rows import CORRECTIONS, ROWS
from freehold.ledger.logs.formats.trace import TRACE
from freehold.ledger.logs.formats.windows import CLIENTS, WINDOWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.ledger.logs.format import Format

OF_OTHER_TOOLS: tuple[Format, ...] = (
    *otel.FORMATS,
    *litellm.FORMATS,
    *langfuse.FORMATS,
    *helicone.FORMATS,
    *openai_batch.FORMATS,
    *openai_usage.FORMATS,
    *openai_stored.FORMATS,
    *openai_fine_tuning.FORMATS,
    *openpipe.FORMATS,
)
"""What other tools write. Each has fields that no other has, so their order is of no account; a test crosses them."""
FORMATS: tuple[Format, ...] = (LEDGER, *OF_OTHER_TOOLS, CLIENTS, WINDOWS, TRACE, ROWS, CORRECTIONS)


def format_of(values: Mapping[str, Any]) -> Format | None:  # Any: not checked yet
    """The format of a row; None: it is of no known one."""
    return next((each for each in FORMATS if each.recognises(values)), None)


def format_named(name: str) -> Format:
    """A format by its name, which must be in the table."""
    return next(each for each in FORMATS if each.name == name)
