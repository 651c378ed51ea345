"""The rows an audit counts, as one relation: calls one by one, and volumes that are known only by their sums.

Everything is answered by DuckDB over the Parquet files, in bounded memory: a row is never made an object. Text of
customers is not read here.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from freehold.core.errors import InputError
from freehold.economics.usage import MOST_TOKENS
from freehold.ledger.columns import SCHEMA
from freehold.ledger.index import INDEX_FILE
from freehold.ledger.publish import READERS, locked, reading
from freehold.ledger.rollup import SUMS
from freehold.ledger.store import refuse_damaged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date
    from pathlib import Path

OWN_ROUTES = ("own", "canary")
"""Answered by an own model: counted beside what was rented, which is all that a verdict looks at."""

UNASSIGNED = "unassigned"
"""The task of volumes that name none."""

VOLUME_COLUMNS = {
    "started_at": pa.timestamp("us", tz="UTC"),
    "window_s": pa.float64(),
    "task": pa.string(),
    "provider": pa.string(),
    "model": pa.string(),
    "service_tier": pa.string(),
    "calls": pa.int64(),
    "input_tokens": pa.int64(),
    "cache_read_tokens": pa.int64(),
    "cache_write_tokens": pa.int64(),
    "output_tokens": pa.int64(),
    "reasoning_tokens": pa.int64(),
}
"""What of a volume is counted."""

_DAY_S = 86_400

MEMORY = "1GB"
"""Of one audit; what does not fit is kept in a file meanwhile."""

_COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the rows lie; None: there are none of that kind."""

    calls: Path | pa.Table | None = None
    """The ledger's folder of days, or rows with the ledger's columns."""
    volumes: Path | pa.Table | None = None
    retired: pa.Table | None = None
    """Sums of calls that retention has taken away, as `ledger.rollup.retired_sums` gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Which rows count."""

    task: str | None = None
    since: date | None = None
    until: date | None = None
    """The last day that counts. With either day, rows without a time do not."""
    held_out_calls: Collection[str] = field(default=())
    """Ids of calls that were brought to test with."""
    corrected_calls: Collection[str] | None = None
    """Ids of calls that a human has corrected; None: nobody knows."""

    def condition(self, task: str = "task") -> str:
        """As SQL; `task` is what stands for the task's name."""
        parts = [] if self.task is None else [f"{task} = {_quoted(self.task)}"]
        return " and ".join([*parts, self.days()])

    def days(self) -> str:
        """The part about time, as SQL."""
        parts = [] if self.since is None else [f"started_at >= {_quoted(self.since)}::date"]
        parts += [] if self.until is None else [f"started_at < {_quoted(self.until)}::date + interval 1 day"]
        return " and ".join(parts) or "true"


@contextmanager
def opened(source: Source, wanted: Slice) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the view `counted_rows`, and `call_rows` with bodies, while nobody takes files away.

    Raises:
        InputError: a file of the ledger is damaged, or there is no room for the sums.
    """
    folders = [one for one in (source.calls, source.volumes) if one is not None and not isinstance(one, pa.Table)]
    spill = folders[0].parent / "_auditing" if folders else None
    config: dict[str, str | int | bool] = {
        "threads": min(4, os.cpu_count() or 1),
        "memory_limit": MEMORY,
        "preserve_insertion_order": False,
    }
    if spill is not None and os.access(spill.parent, os.W_OK):
        config["temp_directory"] = str(spill)
    with _all_reading([*folders]), duckdb.connect(config=config) as connection:
        connection.execute("set timezone = 'UTC'; set enable_progress_bar = false")  # it prints into the result
        try:
            _views(connection, source, wanted)
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"The audit needs more than the {MEMORY} of memory that it allows itself, and has no room on disk "
                "for what does not fit. Make the workspace's disk writable, or audit part of the log: --since, --task"
            ) from error
        except duckdb.Error as error:
            for folder in folders:
                refuse_damaged(folder, error)
            raise
        finally:
            if spill is not None and spill.is_dir() and not any(spill.iterdir()):
                spill.rmdir()


@contextmanager
def _all_reading(folders: list[Path]) -> Iterator[None]:
    if not folders:
        yield
        return
    first, *others = folders
    is_calls = (first / INDEX_FILE).exists()
    is_shared = first.is_dir() and os.access(first, os.W_OK)
    holding = reading(first) if is_calls else locked(first, READERS, shared=True) if is_shared else nullcontext()
    with holding, _all_reading(others):
        yield


def _views(connection: duckdb.DuckDBPyConnection, source: Source, wanted: Slice) -> None:
    calls = _relation(connection, source.calls, "stored_calls", SCHEMA)
    volumes = _relation(connection, source.volumes, "stored_volumes", pa.schema(list(VOLUME_COLUMNS.items())))
    marks = {"held_out": wanted.held_out_calls, "corrected": wanted.corrected_calls or ()}
    for name, ids in marks.items():
        connection.register(f"{name}_ids", pa.table({"id": pa.array(sorted(ids), pa.string())}))
    held_out = "id in (select id from held_out_ids)" if wanted.held_out_calls else "false"
    corrected = "id in (select id from corrected_ids)" if wanted.corrected_calls else "false"
    sane = ", ".join(f"case when {name} between 0 and {MOST_TOKENS} then {name} end as {name}" for name in _COUNTS)
    own = ", ".join(f"'{route}'" for route in OWN_ROUTES)
    absurd = " or ".join(f"{name} not between 0 and {MOST_TOKENS}" for name in _COUNTS)
    connection.execute(f"create temp view call_rows as select * from ({calls}) where {wanted.condition()}")  # noqa: S608
    _retired_rows(connection, source.retired)
    # What volumes cover, all of them cover together: a task without a window had no call in it.
    connection.execute(f"""
        create temp view covered_windows as
        select started_at::timestamp as moment, window_s from (
            select started_at, window_s from ({volumes}) union all select started_at, {_DAY_S}.0 from retired_rows
        ) where {wanted.days()} and started_at is not null and window_s > 0 and isfinite(window_s)
    """)  # noqa: S608
    unnamed = f"coalesce(task, '{UNASSIGNED}')"
    connection.execute(f"""
        create temp view counted_rows as
        select task, started_at::timestamp as moment, coalesce(model_served, '') as served,
            coalesce(model_requested, '') as asked, coalesce(provider, '') as provider,
            coalesce(service_tier, '') as tier,
            case when status is null and error_type is null and output_tokens is null
                      and coalesce(route, '') = '' then 'labelled'
                 when {held_out} then 'held-out'
                 when route in ({own}) then 'own'
                 when route = 'shadow' then 'shadow' else 'rented' end as standing,
            (error_type is not null or coalesce(status >= 400, false)) as is_error,
            coalesce(stream, false) as is_stream,
            (parent_id is not null and coalesce(route, 'rent') = 'rent') as is_retry,
            {corrected} as is_corrected, coalesce({absurd}, false) as is_absurd,
            1::bigint as calls, null::double as window_s, {sane},
            case when duration_ms >= 0 and isfinite(duration_ms) then duration_ms end as duration_ms,
            case when ttft_ms >= 0 and isfinite(ttft_ms) then ttft_ms end as ttft_ms,
            id
        from call_rows
        union all
        select {unnamed}, started_at::timestamp, coalesce(model, ''), '',
            coalesce(provider, ''), coalesce(service_tier, ''), 'rented', false, false, false, false,
            coalesce({absurd}, false),
            greatest(0, coalesce(calls, 0)), case when window_s > 0 and isfinite(window_s) then window_s end, {sane},
            null, null, null
        from ({volumes}) where {wanted.condition(unnamed)}
        union all
        select task, started_at::timestamp, model_served, model_requested, provider, service_tier,
            case when is_own = 1 then 'own' when route = 'shadow' then 'shadow'
                 when route = '' and is_counted = 0 then 'labelled' else 'rented' end,
            is_error, false, false, false, false, calls, {_DAY_S}.0, {sane}, null, null, null
        from retired_rows where {wanted.condition()}
    """)  # noqa: S608 (names, dates and quoted text)


def _retired_rows(connection: duckdb.DuckDBPyConnection, retired: pa.Table | None) -> None:
    """The view `retired_rows`: a day's sums in a row, failed calls in one of their own.

    How many tokens failed calls used is not told apart in the sums: the others' row has them all, where there is one.
    """
    connection.register("retired_sums", SUMS.empty_table() if retired is None else retired)
    whose = "is_counted = 1 and (not is_error or calls_of_day = errors)"
    counts = ", ".join(f"case when {whose} then {name} end as {name}" for name in _COUNTS)
    connection.execute(f"""
        create temp view retired_rows as
        select try_cast(day as date)::timestamptz as started_at, * exclude ({", ".join(_COUNTS)}, day), {counts}
        from (
            select * exclude (calls), calls as calls_of_day, unnest([false, true]) as is_error,
                unnest([calls - errors, errors]) as calls
            from retired_sums
        ) where calls > 0
    """)  # noqa: S608 (names of our own)


def _relation(
    connection: duckdb.DuckDBPyConnection, given: Path | pa.Table | None, name: str, schema: pa.Schema
) -> str:
    """SQL of all rows, which has all columns of the schema whatever version wrote the files."""
    if given is not None and not isinstance(given, pa.Table):
        pattern = str(given / "day=*" / "*.parquet")
        if not any(given.glob("day=*/*.parquet")):
            given = None
    if given is None or isinstance(given, pa.Table):
        connection.register(name, schema.empty_table() if given is None else given)
        return f"select * from {name}"  # noqa: S608 (a name of ours)
    files = f"read_parquet({_quoted(pattern)}, union_by_name = true, hive_partitioning = false)"
    # A file of an older version lacks columns: they are added as a table without rows.
    connection.register(name, schema.empty_table())
    found = {row[0] for row in connection.execute(f"describe select * from {files}").fetchall()}  # noqa: S608
    lacking = [column for column in schema.names if column not in found]
    added = "".join(f", null::{_sql_type(connection, name, column)} as {column}" for column in lacking)
    return f"select *{added} from {files}"  # noqa: S608 (a quoted path and names of ours)


def _sql_type(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> str:
    (found,) = connection.execute(f"describe select {column} from {table}").fetchall()  # noqa: S608 (names of ours)
    return str(found[1])


def _quoted(value: object) -> str:
    """A literal of SQL."""
    return "'" + str(value).replace("'", "''") + "'"
