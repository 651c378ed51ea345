"""Brings rows of training files into a dataset without passing through the ledger."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.call import Call
from freehold.core.errors import InputError
from freehold.core.identity import call_id, canonical_json, content_hash
from freehold.datasets.file_shapes import BadShape, cases_of
from freehold.datasets.prepare import Spoken
from freehold.datasets.rows import HumanWord, Origin
from freehold.ledger.logs.container import LogFile
from freehold.ledger.logs.files import find_logs, read_log
from freehold.ledger.logs.format import BadRow
from freehold.ledger.logs.raw_rows import Blank, RawRow
from freehold.ledger.logs.values import moment_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from freehold.core.task import Task
    from freehold.datasets.file_shapes import Case

_TEST = frozenset({"test"})
_SHOWN = 100
_TABLES = (".parquet", ".arrow")
_WEIGHT_MOST = 1000.0


@dataclass(slots=True)
class TrainingFiles:
    """Files whose rows are to be part of a dataset. They are read anew each time they are asked for."""

    paths: Sequence[Path]
    terms: str | None = None
    """Licence or terms of rows that do not tell theirs."""
    by_model: bool = False
    """A model gave the answers, and no human looked at them."""
    columns: tuple[str, str] | None = None
    """Names of input and output."""
    rejected: list[dict[str, Any]] = field(default_factory=list)  # Any: a name, a number, a sentence
    """Rows that could not be used: `file`, `line`, `reason`; the first hundred."""
    rejected_rows: int = 0

    def answers(self) -> Iterator[str]:
        """Every answer, for whoever has to guess what kind of task this is.

        Raises:
            InputError: see `rows`.
        """
        for _, _, _, case in self._cases():
            yield case.answer

    def rows(self, task: Task) -> Iterator[Spoken]:
        """The rows as calls of a task, with what their file says the answer is.

        Raises:
            InputError: a file cannot be read, or not one of its rows can be used.
        """
        occurrences: Counter[bytes] = Counter()
        for path, line, values, case in self._cases():
            is_test = _is_test(path, values)
            answer = case.answer if self.by_model else case.rejected
            moment = _moment(values)
            messages = [turn.as_dict() for turn in case.turns]
            identity = canonical_json([task.name, is_test, messages, case.answer, case.rejected, str(moment)])
            key = bytes.fromhex(content_hash(identity))[:12]
            occurrences[key] += 1
            call = Call(
                id=call_id(moment, f"file:{identity}#{occurrences[key]}"),
                task=task.name,
                started_at=moment,
                model_served=_text(values.get("model")),
                request={"messages": messages},
                response=None if answer is None else {"choices": [{"message": {"content": answer}}]},
            )
            kind = "labelled" if answer is None or answer.strip() == case.answer.strip() else "corrected"
            words = () if self.by_model else (HumanWord(kind=kind, output=case.answer, is_test=is_test),)
            yield Spoken(call, words, self._origin(path, line, values))

    def _origin(self, path: Path, line: int, values: Mapping[str, Any]) -> Origin:
        return Origin(
            file=path.name,
            line=line,
            terms=_text(values.get("license")) or _text(values.get("licence")) or self.terms,
            weight=_weight(values.get("weight")),
            has_consent=values.get("consent") not in (False, "false", "no", 0),
        )

    def _cases(self) -> Iterator[tuple[Path, int, Mapping[str, Any], Case]]:
        self.rejected.clear()
        self.rejected_rows = 0
        for file in _files(self.paths):
            path = file.path
            used = 0
            fields: list[str] = []
            for line, values in self._rows(file):
                fields = fields or sorted(map(str, values))
                try:
                    for case in cases_of(values, self.columns):
                        used += 1
                        yield path, line, values, case
                except BadShape as error:
                    self._reject(path, line, str(error))
            if not used:
                why = self.rejected[-1]["reason"] if self.rejected else "the file has no rows"
                shown = ", ".join(repr(name[:40]) for name in fields[:8])
                raise InputError(
                    f"{file.name}: not one row can be used ({why}){f'; its fields are {shown}' if shown else ''}. "
                    "Known are OpenAI's SFT and DPO lines, ShareGPT, Alpaca, and two columns that --columns "
                    "INPUT,OUTPUT names."
                )

    def _rows(self, file: LogFile) -> Iterator[tuple[int, Mapping[str, Any]]]:
        if file.path.suffix in _TABLES:
            yield from enumerate(_table_rows(file.path), start=1)
            return
        for row in read_log(file):
            if isinstance(row, RawRow):
                yield row.line, row.values
            elif not isinstance(row, Blank):
                self._reject(file.path, row.line, row.reason)

    def _reject(self, path: Path, line: int, reason: str) -> None:
        self.rejected_rows += 1
        if len(self.rejected) < _SHOWN:
            self.rejected.append({"file": path.name, "line": line, "reason": reason})


def _files(paths: Sequence[Path]) -> list[LogFile]:
    """The files that were named and those of folders, a folder of Hugging Face's `datasets` among them.

    Beside Arrow and Parquet files lie pages and notes, which are no rows.
    """
    found: list[LogFile] = []
    for path in paths:
        tables = [
            file
            for ending in _TABLES
            for file in sorted(path.rglob(f"*{ending}"))
            if not file.name.startswith("cache-") and ".cache" not in file.parts
        ]
        if tables:
            found += map(LogFile, tables)
        elif path.suffix in _TABLES and path.is_file():
            found.append(LogFile(path))
        else:
            found += [log for log in find_logs([path]).logs if isinstance(log, LogFile)]
    return found


def _table_rows(path: Path) -> Iterator[dict[str, Any]]:  # Any: JSON
    """Rows of a Parquet or Arrow file; numbers of a Hugging Face `ClassLabel` become its names."""
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as table:
                names = _class_names(table.schema_arrow)
                for batch in table.iter_batches(2_000):
                    yield from (_named(row, names) for row in batch.to_pylist())
            return
        with pa.memory_map(str(path)) as source:
            try:
                reader = pa.ipc.open_stream(source)
                batches: Iterator[pa.RecordBatch] = iter(reader)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
            names = _class_names(reader.schema)
            for batch in batches:
                yield from (_named(row, names) for row in batch.to_pylist())
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path}: no {path.suffix[1:].capitalize()} file, or a damaged one. Fetch or write it again."
        ) from error


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Column -> names of its classes, as `datasets` notes them in a file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def _named(row: dict[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    for column, classes in names.items():
        number = row.get(column)
        if isinstance(number, int) and 0 <= number < len(classes):
            row[column] = classes[number]
    return row


def _is_test(path: Path, values: Mapping[str, Any]) -> bool:
    """The row says so, or its file is the test part of a Hugging Face folder."""
    said = values.get("split")
    if said is not None:
        return said in _TEST
    return path.suffix in _TABLES and (path.parent.name in _TEST or path.name.startswith("test-"))


def _moment(values: Mapping[str, Any]) -> Any:  # Any: a moment or None
    try:
        return moment_of(values, "started_at")
    except BadRow:
        return None


def _weight(value: Any) -> float:  # Any: JSON, or the text of a cell
    try:
        weight = float(value)
    except (TypeError, ValueError):
        return 1.0
    return weight if 0 < weight <= _WEIGHT_MOST and not isinstance(value, bool) else 1.0


def _text(value: Any) -> str | None:  # Any: JSON
    return value if isinstance(value, str) and value else None
