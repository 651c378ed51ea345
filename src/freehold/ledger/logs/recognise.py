"""Tells of each file that was found which format it is of, from its first rows, or why it cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.ledger.logs.container import LogFile, opened
from freehold.ledger.logs.files import KINDS, first_rows, header_of
from freehold.ledger.logs.formats.table import FORMATS, format_of
from freehold.ledger.logs.imported import Refused
from freehold.ledger.logs.raw_rows import NOT_UTF_8, Blank, RawRow, Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.ledger.logs.files import Found
    from freehold.ledger.logs.format import Format
    from freehold.ledger.logs.imported import Imported
    from freehold.ledger.logs.postgres import Database
    from freehold.ledger.logs.raw_rows import Row

_FIRST_ROWS = 1_000
"""So many rows decide about the format of a file."""
_PROBED_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Known:
    """A log whose format is known, from one of its rows."""

    file: LogFile | Database
    format: Format
    row: RawRow


def recognise(found: Found, *, encoding: str | None, form: Format | None, result: Imported) -> list[Known]:
    """The logs that can be imported. Of the others the result tells: no logs, or refused with the reason.

    Args:
        found: What stood under the paths that were named.
        encoding: Of the text, if the user says.
        form: What the logs are, if the user says.
        result: Of the import.

    Raises:
        InputError: no file is of a known format, or one that was named is not.
    """
    result.others += found.others
    result.refused += found.refused
    known = [one for file in found.logs if (one := _recognised(file, encoding, form, result)) is not None]
    if not known and result.refused:
        more = f" ({len(result.refused)} files could not be used.)" if len(result.refused) > 1 else ""
        raise InputError(result.refused[0].reason + more)
    if not known:
        raise InputError(
            f"{', '.join(result.others[:3])}: no row of a known format. docs/reference/logs.md has them all."
        )
    return known


def _recognised(file: LogFile | Database, encoding: str | None, form: Format | None, result: Imported) -> Known | None:
    """The file with its format, if it is of a known one. One that was not named may be of none."""
    try:
        rows = first_rows(file, _FIRST_ROWS, encoding=encoding)
    except InputError as error:
        if not file.is_named and _has_foreign_header(file, encoding):
            result.others.append(file.name)
        else:
            result.refused.append(Refused(file.name, str(error)))
        return None
    known = _known(file, form, rows)
    if known is not None:
        return known
    fault = None if encoding is not None else _encoded_otherwise(file, form, rows)
    if fault is not None:
        result.refused.append(Refused(file.name, fault))
    elif file.is_named:
        raise InputError(_unknown(file, rows))
    else:
        result.others.append(file.name)
    return None


def _known(file: LogFile | Database, form: Format | None, rows: Sequence[Row]) -> Known | None:
    for row in rows:
        if isinstance(row, RawRow):
            found = form or format_of(row.values)
            if found is not None:
                return Known(file, found, row)
    return None


def _has_foreign_header(file: LogFile | Database, encoding: str | None) -> bool:
    """A table whose columns are those of no log: prose with commas, a sheet of something else. It need not be whole."""
    header = header_of(file, encoding=encoding)
    return bool(header) and format_of(dict.fromkeys(header, "1")) is None


def _encoded_otherwise(file: LogFile | Database, form: Format | None, rows: Sequence[Row]) -> str | None:
    """What to say of a log in another encoding than UTF-8; None: in no encoding is it one."""
    line = next((row.line for row in rows if isinstance(row, Rejected) and row.reason.startswith(NOT_UTF_8)), None)
    head = _head(file)
    if line is None and b"\0" not in head:
        return None
    for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be") if b"\0" in head else (_latin(head),):
        try:
            read = first_rows(file, _FIRST_ROWS, encoding=name)
        except InputError:
            continue
        if _known(file, form, read) is not None:
            return f"{file.name}, line {line or 1}: not UTF-8: try --encoding {name}, or name the one that it is in."
    return None


def _latin(head: bytes) -> str:
    """The encoding of Western Europe that these bytes can be in: Windows' has signs where Latin-1 has none."""
    try:
        head.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252" if any(0x80 <= byte < 0xA0 for byte in head) else "latin-1"


def _head(file: LogFile | Database) -> bytes:
    if not isinstance(file, LogFile):
        return b""
    with opened(file) as stream:
        return stream.read(_PROBED_BYTES)


def _unknown(file: LogFile | Database, rows: Sequence[Row]) -> str:
    """What to say of a file that was named and is of no known format."""
    if not any(not isinstance(row, Blank) for row in rows):
        return f"{file.name}: the file is empty. A log is {KINDS}."
    seen = next((sorted(map(str, row.values)) for row in rows if isinstance(row, RawRow)), [])
    fields = ", ".join(repr(name[:40]) for name in seen[:8]) or "no JSON object at all"
    return (
        f"{file.name}: unknown format. This file has {fields}. Nearest: {_nearest(seen)}. "
        "docs/reference/logs.md has every format, docs/reference/rows.md the fields of plain rows."
    )


def _nearest(fields: Sequence[str]) -> str:
    """How the format is known that speaks of most of these fields; plain rows where none speaks of any."""
    told = [each.says for each in reversed(FORMATS) if each.says]  # plain rows before other tools' logs
    return max(told, key=lambda says: sum(f"'{field}'" in says for field in fields))
