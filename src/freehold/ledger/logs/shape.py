"""Tells what a text file is built of, from its first bytes: lines of JSON, JSON documents, or a table."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 1 << 18
DELIMITERS = (",", ";", "\t", "|")
WRAPPERS = frozenset({
    b"calls", b"completions", b"data", b"generations", b"items", b"logs", b"records", b"requests", b"resourceSpans",
    b"rows", b"spans", b"traces",
})  # fmt: skip
"""Names under which a document of one of the tools holds its rows."""
_TOKENS = re.compile(rb'"((?:[^"\\]++|\\.)*+)"(\s*:\s*\[\s*\{)?|[{}\[\]]', re.DOTALL)
_FIELD = re.compile(r"[\w .,;:/()\[\]$#%*\ufffd-]{1,120}")
"""A name of a column, a letter in an unknown encoding among its letters."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How rows stand in a file."""

    kind: Literal["json-lines", "json-values", "table"]
    depth: int = 0
    """Of the rows of JSON documents: see `json_values`."""
    delimiter: str = ","


def shape_of(head: bytes) -> Shape | None:
    """The shape of a file that begins so; None: it is no log, or empty. `head` is UTF-8, at most `HEAD_BYTES` long."""
    start = head.lstrip()
    if not start:
        return None
    if start.startswith(b"["):
        return Shape("json-values", depth=1)
    if start.startswith(b"{"):
        return _shape_of_objects(start, is_whole=len(head) < HEAD_BYTES)
    return _table(start)


def _shape_of_objects(head: bytes, *, is_whole: bool) -> Shape:
    lines = [line.strip() for line in head.split(b"\n")]
    if is_whole or len(lines) > 1:
        whole = [line for line in (lines if is_whole else lines[:-1]) if line]
        if _is_object(whole[0]) and (len(whole) > 1 or not is_whole or not _wraps(whole[0])):
            return Shape("json-lines")
        if len(whole) > 1 and any(map(_is_object, whole[1:20])) and whole[0] != b"{":
            return Shape("json-lines")  # the first line is damaged
        if whole[0].startswith(b"{") and whole[0].endswith(b"}") and not _is_object(head):
            return Shape("json-lines")  # all of them are, or there is one alone
    return Shape("json-values", depth=2 if _wraps(head) else 0)


def _wraps(head: bytes) -> bool:
    """Whether the object that begins here holds an array of rows at its first level."""
    depth = 0
    for found in _TOKENS.finditer(head):
        if found[2] is not None:
            if depth == 1 and found[1] in WRAPPERS:
                return True
            depth += 2
        elif found[0] in {b"{", b"["}:
            depth += 1
        elif found[0] in {b"}", b"]"}:
            depth -= 1
            if not depth:
                return False
    return False


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _table(head: bytes) -> Shape | None:
    """A table has a first line with the names of at least two columns."""
    line = head.split(b"\n", 1)[0]
    if b"\0" in line:
        return None  # further down it is a fault of one cell
    first = line.decode("utf-8", "replace").strip("\r")
    delimiter = max(DELIMITERS, key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if len(names) < 2 or not all(_FIELD.fullmatch(name) for name in names if name):
        return None
    return Shape("table", delimiter=delimiter)
