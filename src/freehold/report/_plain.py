"""Plain text of at most 100 columns: headings, wrapped sentences and aligned tables."""

from __future__ import annotations

import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING

from freehold.report.numbers import NOT_MEASURED
from freehold.report.visible import columns, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from freehold.report.tables import Table

WIDTH = 100
_GAP = "  "
_INDENT = "  "
_NARROWEST = 12
_DASH = "–"


def joined(*blocks: str) -> str:
    """Blocks that say something, with one empty line between, ending with a newline."""
    return "\n\n".join(block for block in blocks if block) + "\n"


def sentence(text: object, *, indent: str = "", first: str | None = None) -> str:
    """Words of any length, wrapped; `first` (such as a bullet) stands before the first line.

    A percentage stays on one line with its sign.
    """
    whole = textwrap.fill(
        visible(text, 4000).replace(" %", "\u00a0%"),
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return whole.replace("\u00a0", " ")


def bullets(heading: str, texts: Iterable[object]) -> str:
    """A heading and one item a line; empty when there are none."""
    items = [sentence(text, indent="    ", first="  - ") for text in texts]
    return "\n".join([heading, *items]) if items else ""


def plain_table(table: Table) -> str:
    """The table in aligned columns under its caption; empty when it has no rows.

    Where a line would be too long, what was not measured becomes a dash, which the caption tells, and cells of text are
    wrapped; a number is never broken.
    """
    if not table.rows:
        return ""
    head = [column.name for column in table.columns]
    is_number = [column.is_number for column in table.columns]
    rows, caption = table.rows, table.caption
    if _line(_natural([head, *rows])) > WIDTH and any(NOT_MEASURED in row for row in rows):
        rows = tuple(tuple(_DASH if cell == NOT_MEASURED else cell for cell in row) for row in rows)
        caption = f"{caption}; {_DASH}: {NOT_MEASURED}"
    widths = _widths([head, *rows], is_number)
    lines = [line for row in (head, *rows) for line in _row_lines(row, widths, is_number)]
    rule = _INDENT + _GAP.join("-" * width for width in widths)
    head_height = len(_row_lines(head, widths, is_number))
    return "\n".join([sentence(caption), *lines[:head_height], rule, *lines[head_height:]])


def _natural(rows: Sequence[Sequence[str]]) -> list[int]:
    """Width of each column when nothing is wrapped."""
    return [max(map(columns, cells)) for cells in zip(*rows, strict=True)]


def _line(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * len(widths)


def _widths(rows: Sequence[Sequence[str]], is_number: Sequence[bool]) -> list[int]:
    """Width of each column; the widest ones of text give way until a line fits."""
    widths = _natural(rows)
    texts = [index for index, number in enumerate(is_number) if not number]
    while _line(widths) > WIDTH:
        widest = max(texts, key=lambda index: widths[index], default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _row_lines(row: Sequence[str], widths: Sequence[int], is_number: Sequence[bool]) -> list[str]:
    """The row on as many lines as its longest cell needs."""
    cells = [_wrapped(text, width) for text, width in zip(row, widths, strict=True)]
    lines = []
    for parts in zip_longest(*cells, fillvalue=""):
        padded = (_padded(part, width, number) for part, width, number in zip(parts, widths, is_number, strict=True))
        lines.append((_INDENT + _GAP.join(padded)).rstrip())
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Pieces of the text that are no wider than the column, cut between words where that is possible."""
    if columns(text) <= width:
        return [text]
    pieces = textwrap.wrap(text, width, break_on_hyphens=False)
    return [part for piece in pieces for part in _halved(piece, width)]


def _halved(text: str, width: int) -> list[str]:
    """Wide characters take two columns each, which `textwrap` does not know."""
    if columns(text) <= width or len(text) == 1:
        return [text]
    middle = len(text) // 2
    return [*_halved(text[:middle], width), *_halved(text[middle:], width)]


def _padded(text: str, width: int, is_number: bool) -> str:
    space = " " * (width - columns(text))
    return f"{space}{text}" if is_number else f"{text}{space}"
