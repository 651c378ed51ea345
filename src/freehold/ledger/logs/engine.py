"""Brings logs into the ledger: a file at a time, in batches, each row accounted for.

A file is imported whole or not at all. What it holds is told apart by its own ids, or by content and occurrence: so the
same file again adds nothing, and repeats inside a file stay.
"""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from freehold.core.errors import InputError
from freehold.ledger.bulk import importing
from freehold.ledger.logs.change import Change
from freehold.ledger.logs.covered import Covered
from freehold.ledger.logs.files import open_log, read_log
from freehold.ledger.logs.format import Context, Format
from freehold.ledger.logs.imported import MOST_LISTED, Imported, ImportedFile, Refused, RejectsFile, Tally
from freehold.ledger.logs.raw_rows import Blank, RawRow, Rejected
from freehold.ledger.logs.recognise import recognise
from freehold.ledger.logs.shelf import DiskShelf
from freehold.ledger.logs.starts import Starts, anchor_of
from freehold.ledger.logs.take import Taking
from freehold.ledger.logs.together import Together
from freehold.ledger.stored_marks import StoredMarks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from freehold.core.call import Call
    from freehold.core.progress import Progress
    from freehold.ledger.logs.container import LogFile
    from freehold.ledger.logs.files import Found, Log
    from freehold.ledger.logs.format import HumanWord, LoggedCall
    from freehold.ledger.logs.postgres import Database, OpenTable
    from freehold.ledger.logs.recognise import Known
    from freehold.ledger.store import Ledger
    from freehold.ledger.volumes import Volumes


_COLLECTED_AFTER = 200_000
"""New objects after which Python looks for cycles while logs are imported."""


class HumanWordKeeper(Protocol):
    """Keeps what humans said about calls; the room of corrections gives one."""

    def __call__(self, words: Sequence[tuple[HumanWord, Call]], /) -> Mapping[str, int]:
        """Keep each word with its call; return how many were new, by their kind."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where things go."""

    ledger: Ledger
    volumes: Volumes
    keep: HumanWordKeeper
    assign: Callable[[LoggedCall], str]
    """Task of a call whose log does not name one."""
    seal: Callable[[str], str] | None = None
    """Makes the ledger's hash of an end user from the plain one that readers hand out; None: it stays as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user said about the logs."""

    task: str | None = None
    """Task of rows that name none."""
    is_test: bool = False
    """Rows that do not say so themselves are held-out cases and never train."""
    format: Format | None = None
    """None: each file tells by its rows."""
    starts_at: datetime | None = None
    """Of traces whose times count from their start."""
    encoding: str | None = None
    is_dry: bool = False
    """Nothing is written at all."""


def import_logs(
    found: Found,
    stores: Stores,
    choices: Choices,
    *,
    progress: Progress,
    rejects: Path | None = None,
    today: datetime | None = None,
) -> Imported:
    """Import every row of the files that can be used.

    Files whose rows others need go first, so that it does not matter in which order they were named. Importing a file
    again adds nothing; after an interruption it adds what was missing.

    Args:
        found: As `find_logs` gives it.
        stores: Where things go.
        choices: What the user said.
        progress: Told of bytes as they are read.
        rejects: File that is to hold all rows that could not be used; it is made when there is one.
        today: On which traces end whose times count from their start; None: now.

    Raises:
        InputError: no file is of a known format, one that was named is not, or another import is under way.
    """
    began = time.perf_counter()
    result = Imported(is_dry=choices.is_dry)
    known_logs = recognise(found, encoding=choices.encoding, form=choices.format, result=result)
    keeper = RejectsFile(None if choices.is_dry else rejects)
    events = stores.ledger.folder.parent
    try:
        with _elsewhere() if choices.is_dry else importing(stores.ledger.folder) as place:
            shelf = DiskShelf(place)
            starts = Starts(events / "trace_starts.json", today or datetime.now(UTC))
            engine = _Engine(stores, choices, result, place, shelf, starts, keeper, progress)
            with _rarely_collecting():
                engine.run(known_logs)
            shelf.close()
    finally:
        keeper.close()
    order = {each.file.name: number for number, each in enumerate(known_logs)}
    result.rejected.sort(key=lambda row: (order.get(row.file, len(order)), row.line))
    result.seconds = time.perf_counter() - began
    return result


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """Let Python look for cycles of objects less often: rows are hundreds of thousands of objects that hold none.

    Every look goes through those that wait, which takes about a tenth of the time of an import.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AFTER, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@contextmanager
def _elsewhere() -> Iterator[Path]:
    """A folder outside of the ledger for what is unfinished; nobody else can look into it, and it goes at the end."""
    with TemporaryDirectory(prefix="freehold-") as name:
        yield Path(name)


@dataclass(slots=True)
class _Engine:
    stores: Stores
    choices: Choices
    result: Imported
    place: Path
    shelf: DiskShelf
    starts: Starts
    rejects: RejectsFile
    progress: Progress
    _formats: frozenset[str] = field(default=frozenset(), init=False)
    _rows: int = field(default=0, init=False)
    _began: float = field(default_factory=time.perf_counter, init=False)
    _stored: StoredMarks = field(init=False)
    _together: Together = field(init=False)
    _windows: dict[Path, Covered] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Nothing has been read yet."""
        self._stored = StoredMarks(self.stores.ledger.folder, self.place)
        self._together = Together(self._change, self.result.tally.add, self._refuse)

    def run(self, logs: list[Known]) -> None:
        """Take one log after another; what is left on the shelf comes last."""
        files = {each.file: ImportedFile(each.file.name, each.format.name) for each in logs}
        self.result.files = list(files.values())
        self._formats = frozenset(each.format.name for each in logs)
        self.progress.start("importing", sum(each.file.size for each in logs), unit="bytes")
        order = None
        for each in sorted(logs, key=lambda each: each.format.order):
            if each.format.order != order:
                self._together.settle()
                order = each.format.order
            if each.format.name == "trace" and _is_offset(each) and self._is_counted(each, logs):
                self._pass_over(each, files[each.file])
            else:
                self._take(each, files[each.file])
        self._together.settle()
        for format_ in {each.format.name: each.format for each in logs}.values():
            if format_.finish is not None:
                self._finish(format_)
                self._together.settle()
        self.progress.finish()

    def _is_counted(self, trace: Known, logs: list[Known]) -> bool:
        """Whether windows beside a trace count its calls."""
        folder = trace.file.path.parent
        beside = [each for each in logs if each.format.name == "windows" and each.file.path.parent == folder]
        if not beside:
            return False
        if folder not in self._windows:
            self._windows[folder] = Covered()
            for each in beside:
                self._windows[folder].add(self._rows_of(each))
        return self._windows[folder].holds(trace.file.name, self._rows_of(trace))

    def _rows_of(self, log: Known) -> Iterator[RawRow | Rejected | Blank]:
        """Its rows, up to where it cannot be read: taking it says why."""
        with suppress(InputError):
            yield from read_log(log.file, encoding=self.choices.encoding)

    def _pass_over(self, log: Known, entry: ImportedFile) -> None:
        """A trace beside volumes: its calls are among those that the volumes count."""
        entry.rows = sum(not isinstance(row, Blank) for row in read_log(log.file, encoding=self.choices.encoding))
        reason = "a trace beside volumes by window: its calls are counted there; import it alone to have them instead"
        self.result.tally.skipped[reason] += entry.rows
        self.progress.update(log.file.size)

    def _take(self, log: Known, entry: ImportedFile) -> None:
        tally = Tally()
        taking = None
        try:
            taking = self._taking(log.format, self._context(log, tally), tally, entry)
            with open_log(log.file, encoding=self.choices.encoding) as opened:
                self._read(opened, taking, entry)
            self._appear(taking)
        except InputError as error:
            self._refuse(log.file.name, error)
            if taking is not None:
                taking.close()
        except BaseException:
            if taking is not None:
                taking.close()
            raise

    def _appear(self, taking: Taking) -> None:
        """Let the rows of a file that has been read appear, or wait for others as small."""
        taking.finish()
        if taking.change is None:
            self._together.join(taking)
            return
        taking.change.commit([taking.waiting])
        self.result.tally.add(taking.tally)
        self.result.tally.add(taking.change.tally)
        taking.close()

    def _read(self, opened: Log | OpenTable, taking: Taking, entry: ImportedFile) -> None:
        told = 0
        for piece in opened.pieces():
            for rows in taking.piece(piece):
                entry.rows += rows
                self._rows += rows
                position = opened.position
                rate = self._rows / max(1e-9, time.perf_counter() - self._began)
                self.progress.update(position - told, f"{rate:,.0f} rows/s")
                told = position

    def _finish(self, format_: Format) -> None:
        tally = Tally()
        entry = ImportedFile("", format_.name)
        context = Context(shelf=self.shelf, task=self.choices.task, is_test=self.choices.is_test)
        taking = self._taking(format_, context, tally, entry)
        try:
            assert format_.finish is not None
            taking.items(format_.finish(context))
            self._appear(taking)
        except BaseException:
            taking.close()
            raise

    def _alone(self) -> Change:
        """A change for one large file, after all that was read before it."""
        self._together.settle()
        return self._change()

    def _change(self) -> Change:
        return Change(self.stores, self.place, self._stored, is_dry=self.choices.is_dry, reject=self._reject)

    def _refuse(self, file: str, error: InputError) -> None:
        self.result.refused.append(Refused(file, str(error)))

    def _taking(self, format_: Format, context: Context, tally: Tally, entry: ImportedFile) -> Taking:
        return Taking(self.stores, self.choices, format_, context, tally, entry, self.place, self._reject, self._alone)

    def _reject(self, row: Rejected) -> None:
        self.rejects.add(row)
        if len(self.result.rejected) < MOST_LISTED:
            self.result.rejected.append(row)

    def _context(self, log: Known, tally: Tally) -> Context:
        """What the reader of a file may know; what had to be assumed for it is noted."""
        with open_log(log.file, encoding=self.choices.encoding) as opened:
            anchor = anchor_of(opened.head)
        starts_at = self.choices.starts_at
        if starts_at is None and _is_offset(log):
            last_s = max(
                (log.format.offset_s(row.values) or 0.0 for row in _last_rows(log.file, self.choices.encoding)),
                default=0.0,
            )
            starts_at = self.starts.of(anchor, last_s, is_dry=self.choices.is_dry)
            tally.assumptions[
                f"{log.file.name}: its times count from its start, which was taken to be {starts_at:%Y-%m-%d %H:%M} "
                "UTC. Say when it was with --start."
            ] = None
        return Context(
            shelf=self.shelf,
            task=self.choices.task,
            is_test=self.choices.is_test,
            file=log.file.name,
            starts_at=starts_at,
            anchor=anchor,
            formats=self._formats,
            say=tally.assumptions.setdefault,
        )


def _is_offset(log: Known) -> bool:
    return log.format.offset_s(log.row.values) is not None


def _last_rows(file: LogFile | Database, encoding: str | None) -> list[RawRow]:
    """The last rows of a log, as far as they are read together."""
    with open_log(file, encoding=encoding) as opened:
        last = None
        for piece in opened.pieces():
            last = piece
        return [] if last is None else [row for row in last.rows() if isinstance(row, RawRow)]
