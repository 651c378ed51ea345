"""Reads what `freehold capacity` takes from files: a model's config.json, and a table of points."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError
from freehold.economics.capacity import capacity
from freehold.economics.decoder import model_from_config
from freehold.economics.facts import hardware, model_facts, precision_in
from freehold.economics.precision import precision_of

if TYPE_CHECKING:
    from freehold.economics.decoder import ModelFacts
    from freehold.economics.machine import Hardware
    from freehold.economics.precision import Precision

COLUMNS = ("model", "gpu", "gpus", "precision", "isl", "osl", "concurrency")
MOST_BYTES = 64 * 1024 * 1024
MOST_ROWS = 1_000_000


def model_named(name: str) -> ModelFacts:
    """Facts of a shipped model, or of the config.json at this path.

    Raises:
        InputError: neither, or the file is none that describes a decoder.
    """
    path = Path(name)
    if path.suffix.lower() != ".json" and not path.is_dir():
        return model_facts(name)
    file = path / "config.json" if path.is_dir() else path
    try:
        record = json.loads(_text(file), parse_constant=lambda constant: constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: it is no JSON ({error}).") from error
    return model_from_config(record, name=file.resolve().parent.name or file.stem, source=str(file))


def named_again(name: str, model: ModelFacts) -> str:
    """What to call the model in another command: the path as it was given, or the short name of a shipped one."""
    path = Path(name)
    return name if path.suffix.lower() == ".json" or path.is_dir() else model.name


def whole_clients(what: str, value: float | None) -> None:
    """Refuse a part of a client.

    Raises:
        InputError: the number of clients is a fraction.
    """
    if value is not None and math.isfinite(value) and value != math.floor(value):
        raise InputError(f"{what} is {value!r}; clients are counted whole.")


def precision_for(given: str | None, name: str, model: ModelFacts, machine: Hardware) -> Precision:
    """The precision that was asked for; else the one in the model's name; else as the weights were published.

    A CPU serves its own usual precision: nothing is published in it.
    """
    if given:
        return precision_of(given)
    if machine.kind == "cpu":
        return machine.default_precision
    return precision_in(name) or model.published_precision


@dataclass(frozen=True, slots=True)
class _Point:
    """One row of a table of points."""

    line: int
    cells: dict[str, str]
    fault: str = ""
    """What is wrong with the row as a whole."""

    def answer(self) -> dict[str, Any]:  # Any: JSON
        """The row as it was asked, and what a replica delivers, or why that cannot be said."""
        asked: dict[str, Any] = {"line": self.line, **{name: self.cells[name] for name in COLUMNS}}
        try:
            if self.fault:
                raise InputError(self.fault)
            model, machine = model_named(self.cells["model"]), hardware(self.cells["gpu"])
            numbers = {name: self._number(name) for name in ("gpus", "isl", "osl")}
            together = self._number("concurrency") if self.cells["concurrency"] else None
            whole_clients("concurrency", together)
            precision = precision_for(self.cells["precision"], self.cells["model"], model, machine)
            gpus = numbers["gpus"]
            if gpus != gpus // 1:  # infinities and fractions
                raise InputError(f"gpus is {self.cells['gpus']!r}; it must be a whole number.")
            asked |= {"model": model.name, "gpu": machine.name, "gpus": int(gpus), "precision": precision}
            asked |= {"isl": numbers["isl"], "osl": numbers["osl"], "concurrency": together}
            found = capacity(
                model,
                machine,
                input_tokens=numbers["isl"],
                output_tokens=numbers["osl"],
                gpus=int(gpus),
                precision=precision,
                concurrency=together,
            )
        except InputError as error:
            return {**asked, "error": str(error)}
        return {**asked, **found.as_record()}

    def _number(self, name: str) -> float:
        text = self.cells[name]
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"{name} is {text[:40]!r}; it must be a number.") from None
        if not -1e15 < value < 1e15:
            raise InputError(f"{name} is {text[:40]!r}; it must be a number that is not infinite.")
        return value


def answered_points(path: Path) -> list[dict[str, Any]]:  # Any: JSON
    """Each row of a CSV file answered, in the file's order.

    Raises:
        InputError: the file cannot be read, or lacks a column or rows.
    """
    lines = csv.reader(_text(path).splitlines())
    try:
        rows = [(lines.line_num, row) for row in lines]
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: {error}.") from error
    filled = [(line, row) for line, row in rows if any(cell.strip() for cell in row)]
    if not filled:
        raise InputError(f"{path} is empty; its first line must name {', '.join(COLUMNS)}.")
    header = [cell.strip().lower() for cell in filled[0][1]]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InputError(f"{path}, line {filled[0][0]}: no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}.")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InputError(f"{path}, line {filled[0][0]}: column {', '.join(twice)} is there twice. Leave one out.")
    if len(filled) == 1:
        raise InputError(f"{path} has a header and no rows.")
    if len(filled) > MOST_ROWS:
        raise InputError(f"{path} has {len(filled) - 1:,} rows; the most is {MOST_ROWS:,}. Split the file.")
    return [_point(line, header, row).answer() for line, row in filled[1:]]


def _point(line: int, header: list[str], row: list[str]) -> _Point:
    cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
    fault = "" if len(row) == len(header) else f"the row has {len(row)} cells and the header has {len(header)}."
    return _Point(line, {name: cells.get(name, "") for name in COLUMNS}, fault)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path} is larger than {MOST_BYTES // 1024 // 1024} MiB.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: it is no UTF-8 text.") from error
