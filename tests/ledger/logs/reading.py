"""Reads rows with the reader of one format, without an engine around it; the shelf is a dictionary."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.format import Context, LoggedCall, Skipped
from freehold.ledger.logs.formats.table import FORMATS, format_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from freehold.core.call import Call
    from freehold.ledger.logs.format import Item

Row = dict[str, Any]  # Any: a row that a stranger brought


@dataclass
class MemoryShelf:
    """What waits for its other half."""

    lying: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def put(self, space: str, key: str, value: bytes) -> None:
        self.lying[space, key] = value

    def take(self, space: str, key: str) -> bytes | None:
        return self.lying.pop((space, key), None)

    def look(self, space: str, key: str) -> bytes | None:
        return self.lying.get((space, key))

    def left(self, space: str) -> Iterator[tuple[str, bytes]]:
        return iter([(key, value) for (where, key), value in self.lying.items() if where == space])


@dataclass
class Desk:
    """One import, reader by reader."""

    shelf: MemoryShelf = field(default_factory=MemoryShelf)

    def read(
        self, rows: Iterable[Row], *, of: str | None = None, file: str = "log", is_test: bool = False
    ) -> list[Item]:
        """All items of the rows of one file; `of` is the format, if not the one that knows the first row."""
        given = list(rows)
        context = Context(shelf=self.shelf, file=file, is_test=is_test)
        reader = format_named(of or known_as(given[0]) or "none").reader(context)
        items = [item for line, row in enumerate(given, start=1) for item in reader.read(dict(row), line)]
        return [*items, *reader.finish()]

    def left_over(self) -> Counter[str]:
        """Why something is left when every file has been read."""
        context = Context(shelf=self.shelf)
        left = [item for each in FORMATS if each.finish is not None for item in each.finish(context)]
        return Counter(item.reason for item in left if isinstance(item, Skipped))

    def calls(self, rows: Iterable[Row], *, of: str | None = None, file: str = "log") -> list[Call]:
        return [item.call for item in self.read(rows, of=of, file=file) if isinstance(item, LoggedCall)]


def known_as(row: Mapping[str, Any]) -> str | None:
    """The first format of the table that knows a row."""
    return next((format_.name for format_ in FORMATS if format_.recognises(row)), None)


def the_call(row: Row, *, of: str | None = None) -> LoggedCall:
    """The one call that one row holds."""
    (item,) = Desk().read([row], of=of)
    assert isinstance(item, LoggedCall)
    return item


FIXTURES = Path(__file__).parent / "fixtures" / "synthetic"


def fixture_rows(file: Path) -> list[Row]:
    """The rows of a fixture, opened where a document wraps them."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".csv":
        table = csv.DictReader(text.splitlines(keepends=True))
        return [{name: cell for name, cell in row.items() if cell} for row in table]
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    document = json.loads(text.replace("},\n]", "}\n]"))  # one tool writes a comma after its last row
    if isinstance(document, list):
        return document
    rows: list[Row] = document.get("data", [document])
    return rows


def fixture(name: str) -> list[Row]:
    return fixture_rows(FIXTURES / name)
