"""Takes calls out of the ledger for good, or what was said in them; they do not come back with their log."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from freehold.ledger.columns import BODIES, SCHEMA
from freehold.ledger.publish import reading
from freehold.ledger.purged import Purged
from freehold.ledger.rewrite import Rewritten, rewrite
from freehold.ledger.segment_files import writer_folders
from freehold.ledger.stored import ids_of, parquet_files, read_rows

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from freehold.core.progress import Progress
    from freehold.ledger.purged import Part

_COLUMNS = ("id", "task", "key_id", "key_name", "subject", "started_at")


class Chosen(Protocol):
    """Tells which rows are meant."""

    def mask(self, rows: pa.Table) -> pa.ChunkedArray | pa.Array:
        """True for each row that is; rows have at least the columns that a choice is made by."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Calls that have all that is given; None: whatever they have."""

    task: str | None = None
    key_ids: frozenset[str] | None = None
    """Ids of keys, or what logs call them."""
    subjects: frozenset[str] | None = None
    """Hashed end users."""
    before: date | None = None
    """Begun before this day, UTC. A call of which nobody knows when it began is not."""

    def mask(self, rows: pa.Table) -> pa.ChunkedArray | pa.Array:
        """True for each row that is meant."""
        mask = pa.array([True]).take(pa.array([0] * len(rows), pa.int64()))
        if self.task is not None:
            mask = pc.and_(mask, pc.equal(rows.column("task"), self.task))
        if self.key_ids is not None:
            mask = pc.and_(
                mask, pc.or_(_is_among(rows, "key_id", self.key_ids), _is_among(rows, "key_name", self.key_ids))
            )
        if self.subjects is not None:
            mask = pc.and_(mask, _is_among(rows, "subject", self.subjects))
        if self.before is not None:
            midnight = datetime(self.before.year, self.before.month, self.before.day, tzinfo=UTC)
            moment = pa.scalar(midnight, SCHEMA.field("started_at").type)
            mask = pc.and_(mask, pc.less(rows.column("started_at"), moment))
        return pc.fill_null(mask, False)


def _is_among(rows: pa.Table, name: str, values: Collection[str]) -> pa.ChunkedArray | pa.Array:
    return pc.is_in(rows.column(name), pa.array(sorted(values), pa.string()))


@dataclass(frozen=True, slots=True)
class PurgedBefore:
    """Calls that were purged already and are there again, such as from a backup, or because a purge died."""

    purged: Purged
    part: Part

    def mask(self, rows: pa.Table) -> pa.Array:
        """True for each row that is meant."""
        ids = ids_of(rows)
        known = self.purged.among(ids, self.part)
        if self.part == "bodies":
            known -= self.purged.among(ids)
        return pa.array([one in known for one in ids], pa.bool_())


@dataclass(slots=True)
class Found:
    """Rows that a choice means, by task and day."""

    calls: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    with_bodies: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Of them, those with a request or an answer."""
    ids: set[str] = field(default_factory=set)
    """Of those calls that the caller wanted to know about."""

    def as_record(self) -> list[dict[str, Any]]:  # Any: JSON
        """By task, then by day."""
        return [
            {"task": task, "day": day, "calls": count, "with_bodies": self.with_bodies[task, day]}
            for (task, day), count in sorted(self.calls.items())
        ]


def find(calls: Path, chosen: Chosen, *, among: Collection[str] = (), progress: Progress) -> Found:
    """Count the rows that are meant, and name those `among` some ids; nothing is changed."""
    wanted = pa.array(sorted(among), pa.string())
    found = Found()
    with reading(calls):
        files = parquet_files(calls)
        progress.start("look for calls", len(files))
        for day, name in files:
            progress.update(1)
            rows = read_rows(calls, day, name, _COLUMNS)
            mask = chosen.mask(rows)
            if not pc.any(mask).as_py():
                continue
            bodies = read_rows(calls, day, name, BODIES).filter(mask)
            has_body = pc.or_(pc.is_valid(bodies.column("request")), pc.is_valid(bodies.column("response")))
            meant = rows.filter(mask)
            tasks, ids = meant.column("task").to_pylist(), meant.column("id")
            found.ids.update(ids.filter(pc.is_in(ids, wanted)).to_pylist())
            for task, has in zip(tasks, has_body.to_pylist(), strict=True):
                found.calls[task, day] += 1
                found.with_bodies[task, day] += has
        progress.finish()
    return found


def purge(
    calls: Path, chosen: Chosen, *, part: Part, forgets_sums: bool = False, progress: Progress | None = None
) -> Rewritten:
    """Take the rows that are meant out of the files, or their bodies. Their ids are noted first: see `Purged`.

    Args:
        calls: Folder of the Parquet files; segments have been ingested.
        chosen: Which rows.
        part: Whole rows, or their bodies alone.
        forgets_sums: The daily sums, which tell of nobody, forget the rows as well; of a choice by task and day alone
            also those that retention let go earlier. Otherwise what was spent stays known.
        progress: Told of files.

    Raises:
        InputError: a file of the ledger is damaged; what was purged until then stays purged.
    """
    purged = Purged(calls)

    def change(rows: pa.Table) -> pa.Table:
        mask = chosen.mask(rows)
        meant = rows.filter(mask)
        purged.note(ids_of(meant), part, meant.column("request_id").to_pylist() if part == "row" else ())
        return rows.filter(pc.invert(mask)) if part == "row" else _without_bodies(rows, mask)

    def forget(sums: pa.Table) -> pa.Table:
        assert isinstance(chosen, Selection)
        return sums.filter(pc.invert(_sums_meant(sums, chosen)))

    by_sums = isinstance(chosen, Selection) and chosen.key_ids is None and chosen.subjects is None
    return rewrite(
        calls,
        change,
        concerns=lambda rows: bool(pc.any(chosen.mask(rows)).as_py()),
        columns=_COLUMNS,
        keeps_sums=not forgets_sums,
        change_retired=forget if forgets_sums and by_sums and part == "row" else None,
        progress=progress,
    )


def _without_bodies(rows: pa.Table, mask: pa.Array) -> pa.Table:
    for body in BODIES:
        column = pc.if_else(mask, pa.scalar(None, pa.string()), rows.column(body))
        rows = rows.set_column(rows.schema.get_field_index(body), SCHEMA.field(body), column)
    return rows


def _sums_meant(sums: pa.Table, selection: Selection) -> pa.Array:
    tasks, days = sums.column("task").to_pylist(), sums.column("day").to_pylist()
    until = None if selection.before is None else selection.before.isoformat()
    return pa.array(
        [
            selection.task in {None, task} and (until is None or (day[0].isdigit() and day < until))
            for task, day in zip(tasks, days, strict=True)
        ],
        pa.bool_(),
    )


def segments_left(segments: Path) -> tuple[int, int]:
    """Segments, and their bytes, in which running gateways still keep what they recorded, ingested or not."""
    sizes = []
    for folder in writer_folders(segments):
        for segment in folder.segments():
            try:
                sizes.append(segment.path.stat().st_size)
            except FileNotFoundError:
                continue  # an ingester has just removed it
    return len(sizes), sum(sizes)


def put_aside(calls: Path) -> list[Path]:
    """Damaged files that `ledger repair` put aside: they may hold what was purged, and nobody can tell."""
    return sorted((calls / "_damaged").glob("*"))


def notes_of(ids: Collection[str], purged: Purged) -> set[str]:
    """Which of these calls, by their id as text, were purged or lost their bodies."""
    by_id = {}
    for text in ids:
        try:
            by_id[bytes.fromhex(text.replace("-", ""))] = text
        except ValueError:
            continue  # no id of a call
    return {by_id[one] for one in purged.among(list(by_id), "bodies")}
