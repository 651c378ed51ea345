"""What the ledger holds, in a few numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.compute as pc

from freehold.ledger.index import Index
from freehold.ledger.ingest import CALLS, SEGMENTS
from freehold.ledger.publish import reading
from freehold.ledger.rows import NEVER_CLOSED
from freehold.ledger.segment_files import backlog_bytes, writer_folders
from freehold.ledger.stored import parquet_files
from freehold.ledger.volumes import VOLUMES, Volumes

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Counts of everything that has been ingested, and of what is under way."""

    calls: int
    """Rows: one per attempt, labelled rows of an import among them."""
    volumes: int
    """Sums of many calls, such as buckets of a usage API. They are no rows, and the other numbers are without them."""
    volume_calls: int
    """Calls that they are known to sum up."""
    volumes_first_day: str | None
    volumes_last_day: str | None
    open_without_close: int
    """Of the rows, calls whose worker died before they ended."""
    in_flight: int
    """Calls that have begun and not ended, of workers that live; they have no rows yet."""
    lost_records: int
    """Records of segments and rows of files that were damaged, since the ledger began."""
    by_route: dict[str, int]
    """Route -> rows; none: rows that were never sent to a model."""
    by_task: dict[str, int]
    first_day: str | None
    last_day: str | None
    files: int
    segments: int
    """Files of segments that are still there."""
    bytes: int
    """Of Parquet files and segments."""
    segment_bytes: int

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As `ledger stats --json` prints it."""
        return asdict(self)


def summarise(events: Path) -> Summary:
    """Count; what segments hold should have been ingested before."""
    calls, segments = events / CALLS, events / SEGMENTS
    never_closed = files = size = in_flight = lost = 0
    by_route: dict[str, int] = {}
    by_task: dict[str, int] = {}
    days: list[str] = []
    if calls.is_dir():
        with reading(calls):
            names = parquet_files(calls)
            days = sorted({day for day, _ in names if day[0].isdigit()})
            files = len(names)
            size = sum((calls / f"day={day}" / name).stat().st_size for day, name in names)
            if names:
                never_closed, by_route, by_task = _count(calls)
        index = Index(calls)
        try:
            run = index.connection.execute
            in_flight = run("select count(*) from open_calls").fetchone()[0]
            lost = run("select coalesce(sum(lost), 0) from damages").fetchone()[0]
        finally:
            index.close()
    segment_bytes = backlog_bytes(segments)
    return Summary(
        calls=sum(by_task.values()),
        **_sums(events / VOLUMES),
        open_without_close=never_closed,
        in_flight=in_flight,
        lost_records=lost,
        by_route=by_route,
        by_task=by_task,
        first_day=days[0] if days else None,
        last_day=days[-1] if days else None,
        files=files,
        segments=sum(len(folder.segments()) for folder in writer_folders(segments)),
        bytes=size + segment_bytes,
        segment_bytes=segment_bytes,
    )


def _sums(folder: Path) -> dict[str, Any]:  # Any: fields of the summary
    """How much is known by its sum alone."""
    days = sorted({path.parent.name.removeprefix("day=") for path in folder.glob("day=*/*.parquet")})
    dated = [day for day in days if day[0].isdigit()]
    volumes = calls = 0
    for batch in Volumes(folder).read() if days else ():
        volumes += len(batch)
        calls += pc.sum(batch.column("calls")).as_py() or 0
    return {
        "volumes": volumes,
        "volume_calls": calls,
        "volumes_first_day": dated[0] if dated else None,
        "volumes_last_day": dated[-1] if dated else None,
    }


def _count(calls: Path) -> tuple[int, dict[str, int], dict[str, int]]:
    pattern = str(calls / "day=*" / "*.parquet").replace("'", "''")
    query = f"""
        select coalesce(route, 'none'), task, count(*), count(*) filter (error_type = '{NEVER_CLOSED}')
        from read_parquet('{pattern}', union_by_name = true, hive_partitioning = false) group by all order by all
    """  # noqa: S608 (a path and a constant)
    by_route: dict[str, int] = {}
    by_task: dict[str, int] = {}
    never_closed = 0
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("set enable_progress_bar = false")  # it prints into the result
        for route, task, count, open_ones in connection.execute(query).fetchall():
            by_route[route] = by_route.get(route, 0) + count
            by_task[task] = by_task.get(task, 0) + count
            never_closed += open_ones
    return never_closed, dict(sorted(by_route.items())), dict(sorted(by_task.items()))
