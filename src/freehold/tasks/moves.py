"""Lets the ledger follow what the state database says: tasks that were renamed, and calls that changed their task.

A move is noted in the same transaction as the change that it follows from, and done afterwards. Whoever opens the
workspace after a death in between does it then: a move may be done any number of times.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Engine, delete, insert, select

from freehold.ledger.volumes import VOLUMES, Volumes
from freehold.state.database import now
from freehold.state.schema import TASK_MOVES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from sqlalchemy import Connection

    from freehold.core.progress import Progress
    from freehold.ledger.store import Ledger

MOVES = "tasks"
"""Folder, in the workspace's data, of calls that have to change their task."""
_SCHEMA = pa.schema([("id", pa.string()), ("task", pa.string())])


class MoveFile:
    """Calls and the tasks that they go to, on the disk."""

    def __init__(self, folder: Path) -> None:
        """Begin an empty file in `folder`."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / f"move-{secrets.token_hex(8)}.parquet"
        self.rows = 0
        self._writer = pq.ParquetWriter(self.path, _SCHEMA, compression="zstd")

    def __enter__(self) -> MoveFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._writer.close()
        if kind is not None:
            self.path.unlink(missing_ok=True)

    def add(self, moves: Iterable[tuple[str, str]]) -> None:
        """Add calls with their tasks."""
        ids, tasks = [], []
        for call_id, task in moves:
            ids.append(call_id)
            tasks.append(task)
        if ids:
            self.rows += len(ids)
            self._writer.write_table(pa.table([ids, tasks], schema=_SCHEMA))

    def tasks_of(self, calls: set[str]) -> dict[str, str]:
        """Where some calls go; those that stay are absent. The file is whole."""
        if not calls or not self.rows:
            return {}
        moves = pq.read_table(self.path)
        mine = moves.filter(pc.is_in(moves.column("id"), value_set=pa.array(sorted(calls), pa.string())))
        return dict(zip(mine.column("id").to_pylist(), mine.column("task").to_pylist(), strict=True))


def note_names(connection: Connection, names: Mapping[str, str]) -> None:
    """Tasks (old name -> new name) whose calls have to follow."""
    _note(connection, {"names": dict(names)})


def note_calls(connection: Connection, file: MoveFile) -> None:
    """Calls that have to follow."""
    _note(connection, {"calls": file.path.name})


def _note(connection: Connection, body: dict[str, Any]) -> None:
    connection.execute(insert(TASK_MOVES).values(id=secrets.token_hex(8), body=body, created_at=now()))


def follow_moves(engine: Engine, ledger: Ledger, folder: Path, progress: Progress | None = None) -> int:
    """Do the moves that are noted. Returns how many rows of the ledger changed.

    Args:
        engine: The state database.
        ledger: Nobody in this process may be reading it.
        folder: Of the files of calls.
        progress: Told of files of the ledger.
    """
    with engine.connect() as connection:
        noted = connection.execute(select(TASK_MOVES).order_by(TASK_MOVES.c.created_at, TASK_MOVES.c.id)).all()
    changed = 0
    for move in noted:
        names = move.body.get("names")
        if names is not None:
            changed += _rename(ledger, names, progress)
        else:
            changed += _move(ledger, folder / move.body["calls"], progress)
        with engine.begin() as connection:
            connection.execute(delete(TASK_MOVES).where(TASK_MOVES.c.id == move.id))
        if names is None:
            (folder / move.body["calls"]).unlink(missing_ok=True)
    return changed


def _rename(ledger: Ledger, names: Mapping[str, str], progress: Progress | None) -> int:
    old = pa.array(list(names), pa.string())
    new = pa.array(list(names.values()), pa.string())

    def change(rows: pa.Table) -> pa.Table:
        return _with_task(rows, new.take(pc.index_in(rows.column("task").combine_chunks(), value_set=old)))

    def concerns(rows: pa.Table) -> bool:
        return bool(pc.any(pc.is_in(rows.column("task"), value_set=old)).as_py())

    done = ledger.rewrite(change, concerns=concerns, columns=("task",), change_retired=change, progress=progress)
    return done.rows_changed + Volumes(ledger.folder.parent / VOLUMES).rename(names)


def _move(ledger: Ledger, file: Path, progress: Progress | None) -> int:
    if not file.exists():  # it was done, and the process died before it could say so
        return 0
    moves = pq.read_table(file)
    ids, tasks = moves.column("id").combine_chunks(), moves.column("task").combine_chunks()

    def change(rows: pa.Table) -> pa.Table:
        return _with_task(rows, tasks.take(pc.index_in(rows.column("id").combine_chunks(), value_set=ids)))

    def concerns(rows: pa.Table) -> bool:
        return bool(pc.any(pc.is_in(rows.column("id"), value_set=ids)).as_py())

    return ledger.rewrite(change, concerns=concerns, columns=("id",), progress=progress).rows_changed


def _with_task(rows: pa.Table, tasks: pa.Array) -> pa.Table:
    place = rows.schema.get_field_index("task")
    column = pc.coalesce(pa.chunked_array([tasks]) if isinstance(tasks, pa.Array) else tasks, rows.column("task"))
    return rows.set_column(place, rows.schema.field("task"), column)
