"""Brings existing logs into the ledger: a file at a time, in batches, each row accounted for."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from freehold.core.errors import InputError
from freehold.ledger.logs.files import Blank, RawRow, Rejected, read_log
from freehold.ledger.logs.format import BadRow, HumanWord, LoggedCall
from freehold.ledger.logs.formats.ledger_export import read_exported, unused_fields
from freehold.ledger.logs.formats.rows import (
    CallReader,
    RowKind,
    read_correction,
    recognise,
    unknown_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from freehold.core.call import Call
    from freehold.core.progress import Progress
    from freehold.ledger.store import Ledger

_BATCH_ROWS = 10_000


class HumanWordKeeper(Protocol):
    """Keeps what humans said about calls; the room of corrections gives one."""

    def __call__(self, words: Sequence[tuple[HumanWord, Call]]) -> Mapping[str, int]:
        """Keep each word with its call; return how many were new, by their kind."""
        ...


@dataclass(slots=True)
class ImportedFile:
    """One file, as it was understood."""

    file: str
    format: RowKind
    rows: int = 0
    """Rows that are not blank, rejected ones included."""


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
    files: list[ImportedFile] = field(default_factory=list)
    """In the order in which they were named."""
    corrections: Counter[str] = field(default_factory=Counter)
    """`corrected`, `accepted`, `labelled` -> new words of humans, in call rows and correction rows together."""
    held_out: Counter[str] = field(default_factory=Counter)
    """Task -> rows that are test cases: `--split test`, or the row says so."""
    tasks: Counter[str] = field(default_factory=Counter)
    """Task -> rows."""
    ignored_fields: set[str] = field(default_factory=set)

    @property
    def human_words(self) -> int:
        """New words of humans, of whatever kind."""
        return self.corrections.total()

    @property
    def is_useless(self) -> bool:
        """Not one row could be used."""
        return bool(self.rejected) and not self.imported and not self.duplicates

    def as_record(self) -> dict[str, Any]:  # Any: an open JSON object
        """The result as `import --json` prints it."""
        return {
            "schema": "freehold.import/1",
            "formats": dict(sorted(self.formats.items())),
            "recognised": [asdict(file) for file in self.files],
            "imported": self.imported,
            "duplicates": self.duplicates,
            "skipped": self.skipped,
            "rejected": [row.as_dict() for row in self.rejected],
            "human_words": self.human_words,
            "corrections": {kind: self.corrections[kind] for kind in ("corrected", "accepted", "labelled")},
            "held_out": dict(sorted(self.held_out.items())),
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
        is_test: Rows that do not say so themselves are held-out cases and never train.
        progress: Told of rows as they are read.

    Raises:
        InputError: a file is unreadable, empty, or of no known format.
    """
    files = [ImportedFile(str(path), _format_of(path)) for path in paths]
    result = Imported(formats=Counter(file.format for file in files), files=files)
    progress.start("importing", None)
    importer = _Importer(ledger, keep, task, is_test, result, progress)
    take = {"calls": importer.calls, "ledger": importer.exported, "corrections": importer.corrections}
    for file in sorted(files, key=lambda file: file.format == "corrections"):
        take[file.format](file)
    progress.finish()
    place = {str(path): number for number, path in enumerate(paths)}
    result.rejected.sort(key=lambda row: (place[row.file], row.line))
    return result


def _format_of(path: Path) -> RowKind:
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
        f"{path}: unknown format. Rows of calls have 'input' with 'output' or 'model_output', rows of corrections "
        f"'call_id' with 'output', an export of a ledger all of its fields; this file has {fields}."
    )


@dataclass(slots=True, frozen=True)
class _Importer:
    ledger: Ledger
    keep: HumanWordKeeper
    task: str | None
    is_test: bool
    result: Imported
    progress: Progress

    def calls(self, file: ImportedFile) -> None:
        reader = CallReader(task=self.task, is_test=self.is_test)
        for batch in self._batches(file):
            logged: list[LoggedCall] = []
            for row in batch:
                try:
                    if recognise(row.values) != "calls":
                        raise BadRow("no 'input' with 'output' or 'model_output'")
                    logged.append(reader.read(row.values))
                except BadRow as error:
                    self._reject(file, row, error)
                else:
                    self.result.ignored_fields |= unknown_fields(row.values)
            self._append([one.call for one in logged])
            self._keep([(one.human, one.call) for one in logged if one.human is not None])

    def exported(self, file: ImportedFile) -> None:
        for batch in self._batches(file):
            calls: list[Call] = []
            for row in batch:
                try:
                    if recognise(row.values) != "ledger":
                        raise BadRow("not all of the fields that a ledger's export has")
                    if self.is_test:
                        raise BadRow(
                            "a ledger's export holds no human's answers, so it is no test set: import it without "
                            "--split test, and then the answers as corrections"
                        )
                    calls.append(read_exported(row.values))
                except BadRow as error:
                    self._reject(file, row, error)
                else:
                    self.result.ignored_fields |= unused_fields(row.values)
            self._append(calls)

    def corrections(self, file: ImportedFile) -> None:
        for batch in self._batches(file):
            words: list[tuple[RawRow, HumanWord]] = []
            for row in batch:
                try:
                    if recognise(row.values) != "corrections":
                        raise BadRow("no 'call_id' with 'output'")
                    words.append((row, read_correction(row.values, is_test=self.is_test)))
                except BadRow as error:
                    self._reject(file, row, error)
            calls: Mapping[str, Call] = self.ledger.find(word.call for _, word in words)
            known = [(word, calls[word.call]) for _, word in words if word.call in calls]
            for row, word in words:
                if word.call not in calls:
                    fault = f"no call {word.call[:60]!r} in the ledger: import its log first"
                    self._reject(file, row, BadRow(fault))
            new = self._keep(known)
            self.result.imported += new
            self.result.duplicates += len(known) - new
            self.result.tasks.update(call.task for _, call in known)

    def _batches(self, file: ImportedFile) -> Iterator[list[RawRow]]:
        """The rows that can be read; all are counted."""
        rows = self._good_rows(file)
        while batch := list(islice(rows, _BATCH_ROWS)):
            yield batch
            self.progress.update(len(batch))

    def _good_rows(self, file: ImportedFile) -> Iterator[RawRow]:
        for row in read_log(Path(file.file)):
            file.rows += not isinstance(row, Blank)
            match row:
                case Rejected():
                    self.result.rejected.append(row)
                case Blank():
                    self.result.skipped += 1
                case _:
                    yield row

    def _reject(self, file: ImportedFile, row: RawRow, fault: BadRow) -> None:
        self.result.rejected.append(Rejected(file.file, row.line, str(fault)))

    def _append(self, calls: Sequence[Call]) -> None:
        appended = self.ledger.append(calls)
        self.result.imported += appended.new
        self.result.duplicates += appended.duplicates
        self.result.tasks.update(call.task for call in calls)

    def _keep(self, words: Sequence[tuple[HumanWord, Call]]) -> int:
        new = self.keep(words)
        self.result.corrections.update(new)
        self.result.held_out.update(call.task for word, call in words if word.is_test)
        return sum(new.values())
