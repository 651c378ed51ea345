"""What became of the rows of an import, and the file that keeps those which could not be used."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from freehold.ledger.logs.raw_rows import Rejected

MOST_LISTED = 1_000
"""Rejected rows that the result lists itself; all of them are in the file of rejects."""


@dataclass(slots=True)
class ImportedFile:
    """One file, as it was understood."""

    file: str
    format: str
    rows: int = 0
    """Rows that are not blank, rejected ones included."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A file of which nothing was imported."""

    file: str
    reason: str


@dataclass(slots=True)
class Tally:
    """Counts of rows. Those of a file count once all of it has been imported."""

    imported: int = 0
    """Calls, volumes and corrections that were new."""
    duplicates: int = 0
    """Those that were there already."""
    purged: int = 0
    """Calls that were purged once and are left out, and words about such."""
    volumes: int = 0
    """Volumes among what was imported."""
    truncated: int = 0
    """Calls of which the log had cut a body."""
    rejected: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Reason -> rows that are in order and no calls."""
    corrections: Counter[str] = field(default_factory=Counter)
    """`corrected`, `accepted`, `labelled` -> new words of humans, in call rows and correction rows together."""
    held_out: Counter[str] = field(default_factory=Counter)
    """Task -> rows that are test cases."""
    tasks: Counter[str] = field(default_factory=Counter)
    """Task -> rows."""
    ignored_fields: set[str] = field(default_factory=set)
    assumptions: dict[str, None] = field(default_factory=dict)
    """Sentences about what had to be assumed, in order."""

    def add(self, other: Tally) -> None:
        """Count these too."""
        self.imported += other.imported
        self.duplicates += other.duplicates
        self.purged += other.purged
        self.volumes += other.volumes
        self.truncated += other.truncated
        self.rejected += other.rejected
        for mine, more in (
            (self.skipped, other.skipped),
            (self.corrections, other.corrections),
            (self.held_out, other.held_out),
            (self.tasks, other.tasks),
        ):
            mine.update(more)
        self.ignored_fields |= other.ignored_fields
        self.assumptions |= other.assumptions


@dataclass(slots=True)
class Imported:
    """What became of the rows of one or several files."""

    is_dry: bool = False
    tally: Tally = field(default_factory=Tally)
    files: list[ImportedFile] = field(default_factory=list)
    """In the order in which they were named."""
    others: list[str] = field(default_factory=list)
    """Files inside of folders and archives that are no logs."""
    refused: list[Refused] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    """The first of them, by file and line."""
    seconds: float = 0.0

    @property
    def formats(self) -> Counter[str]:
        """Format -> files."""
        return Counter(file.format for file in self.files)

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def human_words(self) -> int:
        """New words of humans, of whatever kind."""
        return self.tally.corrections.total()

    @property
    def is_useless(self) -> bool:
        """Not one row could be used."""
        tally = self.tally
        used = tally.imported or tally.duplicates or tally.purged or tally.skipped.total()
        return bool(tally.rejected) and not used

    def as_record(self) -> dict[str, Any]:  # Any: an open JSON object
        """The result as `import --json` prints it."""
        tally = self.tally
        return {
            "schema": "freehold.import/1",
            "dry_run": self.is_dry,
            "formats": dict(sorted(self.formats.items())),
            "recognised": [asdict(file) for file in self.files],
            "not_logs": self.others,
            "imported": tally.imported,
            "duplicates": tally.duplicates,
            "purged": tally.purged,
            "volumes": tally.volumes,
            "truncated": tally.truncated,
            "skipped": tally.skipped.total(),
            "skipped_by_reason": dict(sorted(tally.skipped.items())),
            "rejected": [row.as_dict() for row in self.rejected],
            "rejected_rows": tally.rejected,
            "refused": [asdict(file) for file in self.refused],
            "human_words": self.human_words,
            "corrections": {kind: tally.corrections[kind] for kind in ("corrected", "accepted", "labelled")},
            "held_out": dict(sorted(tally.held_out.items())),
            "tasks": dict(sorted(tally.tasks.items())),
            "ignored_fields": sorted(tally.ignored_fields),
            "assumptions": list(tally.assumptions),
            "rows_per_s": round(self.rows / self.seconds, 1) if self.seconds else None,
        }


REJECTS = "rejected"
"""Folder of a workspace with a file of rejected rows for each import that had any."""


class RejectsFile:
    """Keeps every rejected row's file, line and reason, however many there are."""

    def __init__(self, path: Path | None) -> None:
        """`path` is written when the first row is rejected; None: nothing is kept."""
        self._path = path
        self._stream: TextIO | None = None

    def add(self, row: Rejected) -> None:
        """One more."""
        if self._path is None:
            return
        if self._stream is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("w", encoding="utf-8", errors="replace")
        self._stream.write(json.dumps(row.as_dict(), ensure_ascii=False) + "\n")

    def close(self) -> None:
        """No more rows."""
        if self._stream is not None:
            self._stream.close()
