"""A reader of rows that stand for themselves, or whose other half lies on the shelf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.format import BadRow, LoggedCall
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
            items = list(self.take(present(values), self.context))
        except RecursionError as error:
            raise BadRow("a body is nested too deep") from error
        check_split(items, self.context)
        return items

    def finish(self) -> Iterable[Item]:
        """Nothing waits in memory."""
        return ()


def check_split(items: Iterable[Item], context: Context) -> None:
    """Whether a row may be a held-out case, if it is to be one.

    Raises:
        BadRow: it holds no human's answer.
    """
    if context.is_test and any(isinstance(item, LoggedCall) and item.human is None for item in items):
        raise BadRow(
            "this log holds no human's answers, so it is no test set: import it without --split test, and then the "
            "answers as corrections"
        )


def each_row(take: Take) -> Callable[[Context], RowReader]:
    """How a format makes its reader out of what it does with one row."""
    return lambda context: EachRow(take, context)
