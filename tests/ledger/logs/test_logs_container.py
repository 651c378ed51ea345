"""What logs are packed in, and what is built to do harm."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from freehold.core.errors import InputError
from freehold.ledger.logs import container
from freehold.ledger.logs.container import LogFile
from freehold.ledger.logs.files import find_logs, open_log, read_log
from freehold.ledger.logs.raw_rows import RawRow, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = [{"input": f"question {number}", "output": "a"} for number in range(500)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def _zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _zip(**members: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


def _values(path: Path) -> list[dict[str, str]]:
    values = []
    found = find_logs([path])
    if found.refused:
        raise InputError(found.refused[0].reason)
    for file in found.logs:
        for row in read_log(file):
            assert isinstance(row, RawRow), row
            values.append(row.values)
    return values


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, _zstd, lambda d: _zip(a=d)])
def test_a_log_is_known_by_what_it_holds_whatever_it_is_called(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "export.from-the-tool"
    path.write_bytes(pack(LINES))
    assert _values(path) == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, _zstd])
def test_several_packed_pieces_in_one_file_are_all_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "log"
    half = len(LINES) // 2
    path.write_bytes(pack(LINES[:half]) + pack(LINES[half:]))
    assert _values(path) == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, _zstd])
def test_a_packed_file_that_is_cut_off_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "log"
    path.write_bytes(pack(LINES * 50)[:-20])
    with pytest.raises(InputError, match="cut off or broken"):
        _values(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("shape", ["lines", "array", "table"])
def test_text_may_be_encoded_in_any_unicode(tmp_path: Path, encoding: str, shape: str) -> None:
    rows = [{"input": "grüß 東京", "output": "a"}] * 30
    text = {
        "lines": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        "array": json.dumps(rows, ensure_ascii=False, indent=1),
        "table": "input,output\n" + "grüß 東京,a\n" * 30,
    }[shape]
    path = tmp_path / "log"
    path.write_bytes(text.encode(encoding))
    assert _values(path) == rows


def test_half_a_character_at_the_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(LINES.decode().encode("utf-16")[:-1])
    with pytest.raises(InputError, match="not whole text in utf-16"):
        _values(path)


def test_other_encodings_are_named_by_the_user(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes('{"input": "grüß", "output": "a"}\n'.encode("latin-1"))
    (row,) = read_log(path)
    assert isinstance(row, Rejected)
    assert "--encoding" in row.reason
    (row,) = read_log(path, encoding="latin-1")
    assert isinstance(row, RawRow)
    assert row.values["input"] == "grüß"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, _zstd, lambda d: _zip(a=d)])
def test_what_unpacks_to_many_times_its_size_is_refused(
    tmp_path: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "_LEAST_SUSPICIOUS_BYTES", 1 << 20)
    path = tmp_path / "bomb"
    path.write_bytes(pack(LINES + b"0" * (64 << 20)))
    with pytest.raises(InputError, match="times its size"):
        _values(path)


def test_archives_inside_of_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(_zip(**{"inner.zip": _zip(a=LINES)}))
    with pytest.raises(InputError, match=r"a\.zip!inner\.zip: zip inside of an archive"):
        _values(path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, _zstd])
def test_a_file_of_an_archive_may_be_packed_itself(
    tmp_path: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(LINES)
    plain = _values(path)
    path.write_bytes(_zip(inner=pack(LINES)))
    assert _values(path) == plain
    path.write_bytes(_zip(inner=pack(LINES)[:-9]))
    with pytest.raises(InputError, match="cut off or broken"):
        _values(path)
    monkeypatch.setattr(container, "_LEAST_SUSPICIOUS_BYTES", 1 << 20)
    path.write_bytes(_zip(inner=pack(LINES + b"0" * (64 << 20))))
    with pytest.raises(InputError, match="times its size"):
        _values(path)


def test_a_damaged_and_an_encrypted_archive_say_so(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(_zip(a=LINES)[:-30])
    with pytest.raises(InputError, match="no whole zip archive"):
        _values(path)
    packed = bytearray(_zip(a=LINES))
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        packed[packed.index(mark) + (6 if mark[2] == 3 else 8)] |= 1
    path.write_bytes(packed)
    with pytest.raises(InputError, match="encrypted"):
        _values(path)


def test_of_an_archive_the_logs_are_read_and_the_rest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(_zip(**{"b.txt": b"read me", "z/a.jsonl": LINES, "__MACOSX/a.jsonl": LINES, "z/.b": LINES}))
    found = find_logs([path])
    assert [file.name for file in found.logs] == [f"{path}!z/a.jsonl"]
    assert found.others == [f"{path}!b.txt"]


def test_no_more_is_kept_in_memory_than_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.ledger.logs.text.MAX_ROW_BYTES", 5_000_000)
    path = tmp_path / "log"
    good = b'{"input": "x", "output": "a"}\n'
    path.write_bytes(good + b'{"input": "' + b"y" * 30_000_000 + b'"}\n' + good)
    rows = list(read_log(path))
    assert [(row.line, type(row)) for row in rows] == [(1, RawRow), (2, Rejected), (3, RawRow)]
    path.write_bytes(b"[" + good + b',{"input": "' + b"y" * 30_000_000 + b'"},' + good + b"]")
    rows = list(read_log(path))
    assert [(row.line, type(row)) for row in rows] == [(1, RawRow), (2, Rejected), (3, RawRow)]


def test_progress_counts_the_bytes_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(LINES * 100))
    with open_log(LogFile(path)) as log:
        for piece in log.pieces():
            list(piece.rows())
        assert log.position == path.stat().st_size == LogFile(path).size
