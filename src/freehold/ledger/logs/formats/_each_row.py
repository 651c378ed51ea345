"""A reader of rows that stand for themselves, or whose other half lies on the shelf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.format import BadRow
from freehold.ledger.logs.formats._fields import present

if TYPE_CHECKING:
    from freehold.ledger.logs.format import Context, Item, RowReader

Row = Mapping[str, Any]  # Any: JSON of somebody else; fields that hold nothing are not there
Take = Callable[[Row, "Context"], Iterator["Item"]]


@dataclass(frozen=True, slots=True)
class EachRow:
    """Reads one row after the other, each as a whole or not at all."""

    take: Take
    context: Context

    def read(self, values: dict[str, Any], line: int) -> Iterable[Item]:
        """What one row holds.

        Raises:
            BadRow: a field is missing or of the wrong type.
        """
        del line
        try:
            return list(self.take(present(values), self.context))
        except RecursionError as error:
            raise BadRow("a body is nested too deep") from error

    def finish(self) -> Iterable[Item]:
        """Nothing waits in memory."""
        return ()


def each_row(take: Take) -> Callable[[Context], RowReader]:
    """How a format makes its reader out of what it does with one row."""
    return lambda context: EachRow(take, context)
