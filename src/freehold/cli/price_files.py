"""Files of prices and of recorded bodies that a user names, and what a workspace says about prices."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from freehold.core.errors import InputError
from freehold.economics.bodies import GivenBody
from freehold.economics.catalogue import Tariff
from freehold.economics.overrides import override_text, parse_overrides
from freehold.economics.recorded_results import only_seller
from freehold.state.settings import load_settings
from freehold.state.workspace import find_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from freehold.economics.overrides import Override

MOST_BYTES = 1 << 30
MOST_FAULTS = 20
DAY_FIELDS = ("started_at", "timestamp", "created_at", "date")
_LATEST = 4.2e9
"""Seconds since 1970 that lie in the year 2103."""


@dataclass(frozen=True, slots=True)
class OwnPrices:
    """What a user states about prices: names in the log, and dated rows."""

    aliases: Mapping[str, str]
    overrides: tuple[Override, ...]


def own_prices(named: Path | None) -> OwnPrices:
    """Aliases and overrides of the workspace, if there is one; a file that is `named` is taken for its overrides.

    Raises:
        InputError: settings or rows that cannot be used.
    """
    aliases, file = _settings()
    file = named or file
    return OwnPrices(aliases, () if file is None else read_overrides(file))


def overrides_file() -> Path | None:
    """The file that `[prices] overrides` of the workspace names; it need not be there yet.

    Raises:
        InputError: settings that cannot be used.
    """
    return _settings()[1]


def read_overrides(file: Path) -> tuple[Override, ...]:
    """The rows of an overrides file.

    Raises:
        InputError: it cannot be read, or its rows cannot be used, each named by its line.
    """
    return parse_overrides(read_text(file), str(file))


def add_override(file: Path, values: Mapping[str, Any]) -> tuple[Override, ...]:
    """Append a row to an overrides file, or start the file; the file is replaced whole or not at all.

    What stands in it, comments included, stays as it is. Another process that adds a row waits.

    Raises:
        InputError: the row, or a row that is there already, cannot be used; the file is left as it was.
    """
    parse_overrides(override_text(values), "the new price")
    target = file.resolve()
    with _alone_in(target.parent):
        before = read_text(target) if target.exists() else ""
        old = parse_overrides(before, str(file))
        body = before if old else "".join(line for line in before.splitlines(keepends=True) if line.startswith("#"))
        joint = "" if not body or body.endswith("\n") else "\n"
        text = body + joint + override_text(values)
        rows = parse_overrides(text, str(file))
        _replace(target, text)
    return rows


def read_text(file: Path) -> str:
    """A text file of at most a gigabyte.

    Raises:
        InputError: it is missing, too large, or no UTF-8 text.
    """
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{file} has {size:,} bytes; {MOST_BYTES:,} is the most that is read. Split it.")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error


def read_bodies(file: Path) -> tuple[list[GivenBody], list[object]]:
    """Recorded bodies, and what is recorded of their prices (None: nothing), in the file's order.

    The file is a JSON list, or JSON Lines. A row is {body, provider?, model?, tariff?, started_at?} or has the
    counts themselves (`usage`, `usageMetadata`) in the place of a body; `extracted` holds recorded prices.
    What is no such row is a body with a fault, and has no price; one that says something impossible fails the file.

    Raises:
        InputError: rows that cannot be used; the first twenty, each by its line (in a list: its row, from 0).
    """
    rows = _rows(read_text(file), file)
    if not rows:
        raise InputError(f"{file} holds no rows. Give JSON Lines of provider, model and body.")
    bodies: list[GivenBody] = []
    faults: list[str] = []
    for index, (place, row) in enumerate(rows):
        try:
            bodies.append(_given(index, row))
        except ValueError as error:
            faults.append(f"{place}: {error}")
    if faults:
        more = "" if len(faults) <= MOST_FAULTS else f"; and {len(faults) - MOST_FAULTS} more"
        raise InputError(f"{file}: " + "; ".join(faults[:MOST_FAULTS]) + more + ".")
    return bodies, [row.get("extracted") if isinstance(row, dict) else None for _, row in rows]


def _rows(text: str, file: Path) -> list[tuple[str, Any]]:
    if text.lstrip().startswith("["):
        try:
            return [(f"row {number}", row) for number, row in enumerate(json.loads(text))]
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file} starts like a JSON list and is none ({_why(error)}).") from error
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                rows.append((f"line {number}", json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise InputError(f"{file}, line {number}: this is no JSON ({_why(error)}).") from error
    return rows


def _why(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__


def _given(index: int, row: object) -> GivenBody:
    if not isinstance(row, dict):
        return GivenBody(index=index, body={}, fault="the row is no JSON object")
    body = row.get("body", row)
    fault = None
    if not isinstance(body, dict):
        body, fault = {}, "'body' is no JSON object"
    elif body is row and not row.keys() & {"usage", "usageMetadata", "meta", "response", "message", "eval_count"}:
        fault = "the row has neither 'body' nor 'usage'"
    tariff = row.get("tariff")
    if tariff is not None and tariff not in get_args(Tariff):
        raise ValueError(f"'tariff' is {str(tariff)[:40]!r}; it is one of {', '.join(get_args(Tariff))}")
    return GivenBody(
        index=index,
        body=body,
        provider=_word(row, "provider"),
        model=_word(row, "model"),
        tariff=tariff,
        priced_by=only_seller(row.get("extracted")),
        fault=fault,
        day=next((_day(row[key], key) for key in DAY_FIELDS if row.get(key) is not None), None),
    )


def _word(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"'{key}' must be text")
    return value.strip()


def _day(value: object, key: str) -> date:
    """The day in UTC of a moment, given as ISO 8601 or in seconds since 1970."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC).date() if moment.tzinfo else moment.date()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LATEST:
            return datetime.fromtimestamp(value, UTC).date()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"'{key}' is no day or moment") from error
    raise ValueError(f"'{key}' is no day or moment")


def _settings() -> tuple[Mapping[str, str], Path | None]:
    """Aliases and overrides file of the workspace around; prices can be asked for without one."""
    try:
        workspace = find_workspace()
    except InputError:
        if os.environ.get("FREEHOLD_FOLDER"):
            raise
        return {}, None
    prices = load_settings(workspace).prices
    name = prices.overrides
    return prices.alias, None if name is None else workspace.root / Path(name).expanduser()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Only one process at a time changes files of a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(f"{folder} is no folder that can be used: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(target: Path, text: str) -> None:
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as part:
        try:
            part.write(text)
            part.flush()
            os.fsync(part.fileno())
            Path(part.name).chmod(mode)
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
