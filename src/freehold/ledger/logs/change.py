"""One change of the stores: what some files hold appears together, or not at all."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import pyarrow.compute as pc

from freehold.ledger.bulk import Bulk
from freehold.ledger.logs.imported import Tally
from freehold.ledger.logs.raw_rows import Rejected
from freehold.ledger.purged import Purged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from freehold.ledger.logs.engine import Stores
    from freehold.ledger.logs.format import HumanWord
    from freehold.ledger.logs.waiting import Waiting
    from freehold.ledger.stored_marks import StoredMarks

_T = TypeVar("_T")

_TOLD_OTHERWISE = (
    "usage of a time that is in the ledger in longer or shorter buckets: freehold purge those to have these instead"
)
_BATCH_WORDS = 10_000


class Change:
    """Calls, volumes and words of humans on their way into the stores."""

    def __init__(
        self, stores: Stores, place: Path, stored: StoredMarks, *, is_dry: bool, reject: Callable[[Rejected], None]
    ) -> None:
        """Nothing is on its way yet.

        Args:
            stores: Where things go.
            place: For what is unfinished.
            stored: What the import knows of the ledger.
            is_dry: Only tell what would become of them.
            reject: Told of words about calls that are nowhere.
        """
        self.tally = Tally()
        """What became of the rows; whole when it has been committed."""
        self._stores = stores
        self._is_dry = is_dry
        self._reject = reject
        self._bulk = Bulk(stores.ledger.folder, place, is_dry=is_dry, stored=stored)

    def add(self, rows: pa.Table) -> None:
        """Take calls, with all of the ledger's columns."""
        purged = self._bulk.purged
        new = self._bulk.add(rows)
        purged = self._bulk.purged - purged
        self.tally.imported += new
        self.tally.purged += purged
        self.tally.duplicates += len(rows) - new - purged
        self.tally.truncated += pc.sum(rows.column("truncated")).as_py() or 0
        for counted in pc.value_counts(rows.column("task").combine_chunks()).to_pylist():
            self.tally.tasks[counted["values"]] += counted["counts"]

    def commit(self, waiting: Iterable[Waiting]) -> None:
        """Let everything appear, with what waits of the files whose calls these are."""
        waits = list(waiting)
        if not self._is_dry:
            self._bulk.commit()
        if any(one.volumes for one in waits):
            volumes = chain.from_iterable(one.all_volumes() for one in waits)
            appended = self._stores.volumes.append(volumes, is_dry=self._is_dry)
            self.tally.volumes += appended.new
            self.tally.imported += appended.new
            self.tally.duplicates += appended.duplicates
            self.tally.purged += appended.purged
            if appended.told_otherwise:
                self.tally.skipped[_TOLD_OTHERWISE] += appended.told_otherwise
        if self._is_dry:
            return
        for said in _batches(one.said_with_calls() for one in waits):
            self.tally.held_out.update(call.task for word, call in said if word.is_test)
            self.tally.corrections.update(self._stores.keep(said))
        for words in _batches(one.words_alone() for one in waits):
            self._keep_alone(words)

    def close(self) -> None:
        """Forget what has not appeared."""
        self._bulk.close()

    def _keep_alone(self, words: list[tuple[str, int, HumanWord]]) -> None:
        """Keep words that came without their calls, which must be in the ledger."""
        calls = self._stores.ledger.find(word.call for _, _, word in words)
        known = [(word, calls[word.call]) for _, _, word in words if word.call in calls]
        gone = Purged(self._stores.ledger.folder).named({word.call for _, _, word in words} - calls.keys())
        for file, line, word in words:
            if word.call in gone:
                self.tally.purged += 1
            elif word.call not in calls:
                self.tally.rejected += 1
                reason = f"no call {word.call[:60]!r} in the ledger: import its log first"
                self._reject(Rejected(file, line, reason))
        kept = self._stores.keep(known)
        new = sum(kept.values())
        self.tally.corrections.update(kept)
        self.tally.imported += new
        self.tally.duplicates += len(known) - new
        self.tally.held_out.update(call.task for word, call in known if word.is_test)
        self.tally.tasks.update(call.task for _, call in known)


def _batches(parts: Iterable[Iterable[_T]]) -> Iterator[list[_T]]:
    items = chain.from_iterable(parts)
    while batch := list(islice(items, _BATCH_WORDS)):
        yield batch
