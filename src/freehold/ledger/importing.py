"""Brings existing logs into the ledger: a file at a time, in batches, each row accounted for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from freehold.core.errors import InputError
from freehold.ledger.log_files import Blank, RawRow, Rejected, read_log
from freehold.ledger.log_rows import (
    BadRow,
    CallReader,
    Format,
    HumanWord,
    LoggedCall,
    read_correction,
    recognise,
    unknown_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from freehold.core.call import Call
    from freehold.core.progress import Progress
    from freehold.ledger.store import Ledger

_BATCH_ROWS = 10_000


class HumanWordKeeper(Protocol):
    """Keeps what humans said about calls; the room of corrections gives one."""

    def __call__(self, words: Sequence[tuple[HumanWord, Call]]) -> int:
        """Keep each word with its call; return how many were new."""
        ...


@dataclass(slots=True)
class Imported:
    """What became of the rows of one or several files."""

    formats: Counter[str] = field(default_factory=Counter)
    """File format -> files."""
    imported: int = 0
    """Calls and corrections that were new."""
    duplicates: int = 0
    """Rows that were there already, word for word."""
    skipped: int = 0
    """Blank lines."""
    rejected: list[Rejected] = field(default_factory=list)
    human_words: int = 0
    """New words of humans, in call rows and correction rows together."""
    tasks: Counter[str] = field(default_factory=Counter)
    """Task -> rows."""
    ignored_fields: set[str] = field(default_factory=set)

    @property
    def is_useless(self) -> bool:
        """Not one row could be used."""
        return bool(self.rejected) and not self.imported and not self.duplicates

    def as_record(self) -> dict[str, Any]:  # Any: an open JSON object
        """The result as `import --json` prints it."""
        return {
            "schema": "freehold.import/1",
            "formats": dict(sorted(self.formats.items())),
            "imported": self.imported,
            "duplicates": self.duplicates,
            "skipped": self.skipped,
            "rejected": [row.as_dict() for row in self.rejected],
            "human_words": self.human_words,
            "tasks": dict(sorted(self.tasks.items())),
            "ignored_fields": sorted(self.ignored_fields),
        }


def import_logs(
    paths: Sequence[Path],
    *,
    ledger: Ledger,
    keep: HumanWordKeeper,
    task: str | None,
    is_test: bool,
    progress: Progress,
) -> Imported:
    """Import every row of the files that can be used.

    Files of calls go first, so that corrections find their calls in whatever order the files were named.
    Importing a file again adds nothing; after an interruption it adds what was missing.

    Args:
        paths: Files, as `find_logs` gives them.
        ledger: Where calls go.
        keep: Where the humans' words go.
        task: Task of rows that name none.
        is_test: The rows are held-out cases and never train.
        progress: Told of rows as they are read.

    Raises:
        InputError: a file is unreadable, empty, or of no known format.
    """
    formats = {path: _format_of(path) for path in paths}
    result = Imported(formats=Counter(formats.values()))
    progress.start("importing", None)
    importer = _Importer(ledger, keep, task, is_test, result, progress)
    for path in sorted(paths, key=lambda path: formats[path] == "corrections"):
        if formats[path] == "calls":
            importer.calls(path)
        else:
            importer.corrections(path)
    progress.finish()
    place = {str(path): number for number, path in enumerate(paths)}
    result.rejected.sort(key=lambda row: (place[row.file], row.line))
    return result


def _format_of(path: Path) -> Format:
    """The kind of the first row that is of a known kind."""
    seen: list[str] = []
    count = 0
    for row in read_log(path):
        if isinstance(row, Blank):
            continue
        count += 1
        if isinstance(row, RawRow):
            known = recognise(row.values)
            if known:
                return known
            seen = seen or sorted(map(str, row.values))
        if count == 1_000:
            break
    if not count:
        raise InputError(f"{path}: the file is empty. A row is a JSON object with 'input' and 'output'.")
    fields = ", ".join(repr(name[:40]) for name in seen[:8]) or "no JSON object at all"
    raise InputError(
        f"{path}: unknown format. Rows of calls have 'input' with 'output' or 'model_output', "
        f"rows of corrections 'call_id' with 'output'; this file has {fields}."
    )


def _good_rows(path: Path, result: Imported) -> Iterator[RawRow]:
    """The rows that can be read; the others are counted."""
    for row in read_log(path):
        match row:
            case Rejected():
                result.rejected.append(row)
            case Blank():
                result.skipped += 1
            case _:
                yield row


@dataclass(slots=True, frozen=True)
class _Importer:
    ledger: Ledger
    keep: HumanWordKeeper
    task: str | None
    is_test: bool
    result: Imported
    progress: Progress

    def calls(self, path: Path) -> None:
        reader = CallReader(task=self.task, is_test=self.is_test)
        rows = _good_rows(path, self.result)
        while batch := list(islice(rows, _BATCH_ROWS)):
            logged: list[LoggedCall] = []
            for row in batch:
                try:
                    if recognise(row.values) != "calls":
                        raise BadRow("no 'input' with 'output' or 'model_output'")
                    logged.append(reader.read(row.values))
                except BadRow as error:
                    self.result.rejected.append(Rejected(str(path), row.line, str(error)))
                else:
                    self.result.ignored_fields |= unknown_fields(row.values)
            appended = self.ledger.append(one.call for one in logged)
            self.result.imported += appended.new
            self.result.duplicates += appended.duplicates
            self.result.tasks.update(one.call.task for one in logged)
            words = [(one.human, one.call) for one in logged if one.human is not None]
            self.result.human_words += self.keep(words)
            self.progress.update(len(batch))

    def corrections(self, path: Path) -> None:
        rows = _good_rows(path, self.result)
        while batch := list(islice(rows, _BATCH_ROWS)):
            words: list[tuple[int, HumanWord]] = []
            for row in batch:
                try:
                    if recognise(row.values) != "corrections":
                        raise BadRow("no 'call_id' with 'output'")
                    words.append((row.line, read_correction(row.values, is_test=self.is_test)))
                except BadRow as error:
                    self.result.rejected.append(Rejected(str(path), row.line, str(error)))
            calls: Mapping[str, Call] = self.ledger.find(word.call for _, word in words)
            known = [(word, calls[word.call]) for _, word in words if word.call in calls]
            self.result.rejected += [
                Rejected(str(path), line, f"no call {word.call[:60]!r} in the ledger: import its log first")
                for line, word in words
                if word.call not in calls
            ]
            new = self.keep(known)
            self.result.imported += new
            self.result.human_words += new
            self.result.duplicates += len(known) - new
            self.result.tasks.update(call.task for _, call in known)
            self.progress.update(len(batch))
