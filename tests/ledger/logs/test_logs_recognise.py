"""A folder in which some files are damaged, unreadable or in another encoding: those are refused, the rest is taken."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.ledger.logs import container
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.logs.tasks import assign
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.ledger.logs.imported import Imported

GOOD = '{"input": "hi", "output": "a"}\n'
FOREIGN = '{"input": "grüß gött", "output": "ä"}\n'


def _take(folder: Path, *paths: Path, **choices: Any) -> Imported:
    stores = Stores(
        ledger=Ledger(folder / ".ws/calls"),
        volumes=Volumes(folder / ".ws/volumes"),
        keep=lambda words: {"labelled": len(words)},
        assign=assign,
    )
    found = find_logs(list(paths or [folder]), encoding=choices.get("encoding"))
    return import_logs(found, stores, Choices(task="t", **choices), progress=Silent())


def _zip(members: dict[str, bytes], mode: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", mode) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


def _encrypted(packed: bytes) -> bytes:
    marked = bytearray(packed)
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        marked[marked.index(mark) + (6 if mark[2] == 3 else 8)] |= 1
    return bytes(marked)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.jsonl").write_text(GOOD)
    return tmp_path


@pytest.mark.parametrize(
    ("encoding", "advice"),
    [
        ("latin-1", "try --encoding latin-1"),
        ("cp1252", "try --encoding cp1252"),
    ],
)
@pytest.mark.parametrize("shape", ["lines", "array", "table"])
def test_a_log_in_another_encoding_is_refused_with_what_to_try(
    folder: Path, encoding: str, advice: str, shape: str
) -> None:
    mark = "“”" if encoding == "cp1252" else ""
    row = {"input": f"grüß gött {mark}", "output": "ä"}
    text = {
        "lines": json.dumps(row, ensure_ascii=False) + "\n",
        "array": json.dumps([row], ensure_ascii=False),
        "table": f"input,output,größe\n{row['input']},ä,1\n",
    }[shape]
    (folder / "bad").write_bytes(text.encode(encoding))
    result = _take(folder)
    assert result.tally.imported == 1
    (refused,) = result.refused
    assert refused.file.endswith("bad")
    assert f"not UTF-8: {advice}" in refused.reason
    assert "line 1" in refused.reason or "line 2" in refused.reason
    again = _take(folder, folder / "bad", encoding=encoding)
    assert (again.tally.imported, again.refused) == (1, [])


def test_a_log_in_another_encoding_that_was_named_alone_says_so_too(folder: Path) -> None:
    (folder / "bad.jsonl").write_bytes((GOOD + FOREIGN).replace("hi", "hï").encode("latin-1"))
    with pytest.raises(InputError, match=r"bad\.jsonl, line 1: not UTF-8: try --encoding latin-1"):
        _take(folder, folder / "bad.jsonl")
    result = _take(folder, folder / "bad.jsonl", folder / "good.jsonl")
    assert (result.tally.imported, len(result.refused)) == (1, 1)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_json_that_is_all_but_ascii_is_known_without_a_mark(folder: Path, encoding: str) -> None:
    row = {"input": "東京" * 300, "output": "大阪"}
    (folder / "wide.jsonl").write_bytes(f"{json.dumps(row, ensure_ascii=False)}\n".encode(encoding))
    assert (_take(folder).tally.imported, _take(folder).refused) == (2, [])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_table_of_which_only_the_header_is_ascii_is_known_without_a_mark(folder: Path, encoding: str) -> None:
    (folder / "wide.csv").write_bytes(("input,output\n" + "東京大阪,東京\n" * 60).encode(encoding))
    assert (_take(folder).tally.imported, _take(folder).refused) == (61, [])


@pytest.mark.parametrize(
    "content",
    [
        "Notes, by grandma\nGrüße, aus Köln\n".encode("latin-1"),
        b'Notes, by us\n"an open mark\n',
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40,
        b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(range(255, -1, -1)) * 40,
        b"\xff\xfe\xd8\x00" + bytes(range(200, 256)) * 41,
        "Größe; Länge\n1; 2\n".encode("latin-1"),
        '{"größe": 1}\n'.encode("latin-1"),
        b"",
    ],
)
def test_what_is_no_log_in_any_encoding_stays_no_log(folder: Path, content: bytes) -> None:
    (folder / "readme.txt").write_bytes(content)
    result = _take(folder)
    assert (result.tally.imported, result.refused) == (1, [])
    assert [Path(name).name for name in result.others] == ["readme.txt"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("cut.zip", _zip({"a": GOOD.encode() * 900})[:-30], "no whole zip archive"),
        ("shut.zip", _encrypted(_zip({"a": GOOD.encode()})), "encrypted"),
        ("broken.zip", _zip({"a.jsonl": GOOD.encode() * 90}).replace(b"a.jsonl\xab", b"a.jsonl\xff"), "a.jsonl"),
        (
            "lzma.zip",
            _zip({"a": GOOD.encode() * 9}, zipfile.ZIP_LZMA).replace(b"\x09\x04\x05\x00", b"\xff" * 4, 1),
            "!a",
        ),
        ("bomb.zip", _zip({"a": b"0" * (64 << 20)}), "times its size"),
        ("bomb.gz", gzip.compress(GOOD.encode() * 9 + b"0" * (64 << 20)), "times its size"),
        ("cut.gz", gzip.compress(GOOD.encode() * 900)[:40], "cut off or broken"),
        ("cut.xz", lzma.compress(GOOD.encode() * 900)[:50], "cut off or broken"),
        ("head.gz", b"\x1f\x8b", "cut off or broken"),
        ("head.zst", b"\x28\xb5\x2f\xfd", "cut off or broken"),
        ("cut.parquet", b"PAR1" + b"x" * 50, "no whole Parquet file"),
    ],
)
def test_a_damaged_file_in_a_folder_is_refused_and_the_rest_is_imported(
    folder: Path, name: str, content: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "_LEAST_SUSPICIOUS_BYTES", 1 << 20)
    (folder / name).write_bytes(content)
    for paths in ([folder], [folder / name, folder / "good.jsonl"]):
        result = _take(folder, *paths)
        assert result.tally.imported + result.tally.duplicates == 1
        (refused,) = result.refused
        assert str(folder / name) in refused.file
        assert says in refused.reason
    with pytest.raises(InputError, match=name):
        _take(folder, folder / name)


def test_a_broken_link_and_a_loop_of_links_are_refused(folder: Path) -> None:
    (folder / "gone.jsonl").symlink_to(folder / "nowhere")
    (folder / "loop.jsonl").symlink_to(folder / "loop.jsonl")
    result = _take(folder)
    assert result.tally.imported == 1
    assert [Path(one.file).name for one in result.refused] == ["gone.jsonl", "loop.jsonl"]
    assert all("cannot be read" in one.reason for one in result.refused)


@pytest.fixture
def forbidden() -> Iterator[Path]:
    """A folder with a log that may be read, and a file and a folder that may not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "good.jsonl").write_text(GOOD)
        (place / "mine.jsonl").write_text(GOOD)
        (place / "mine").mkdir()
        (place / "mine.jsonl").chmod(0)
        (place / "mine").chmod(0)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)
        try:
            yield place
        finally:
            os.seteuid(was)
            (place / "mine").chmod(0o700)


def test_what_may_not_be_read_is_refused(forbidden: Path) -> None:
    found = find_logs([forbidden])
    assert [Path(file.name).name for file in found.logs] == ["good.jsonl"]
    assert sorted(Path(one.file).name for one in found.refused) == ["mine", "mine.jsonl"]
    assert all("Permission denied" in one.reason for one in found.refused)


def test_a_stray_zero_byte_does_not_hide_a_table(folder: Path) -> None:
    (folder / "zero.csv").write_bytes(b"input,output\na,b\n\0c,d\n")
    result = _take(folder)
    assert (result.tally.imported, result.others) == (3, [])


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert [Path(name).name for name in _take(folder).others] == ["pipe"]
    with pytest.raises(InputError, match="a pipe or a device"):
        _take(folder, folder / "pipe")


def test_a_link_to_a_folder_is_named_and_not_followed(folder: Path) -> None:
    (folder / "round").symlink_to(folder)
    result = _take(folder)
    assert (result.tally.imported, [Path(name).name for name in result.others]) == (1, ["round"])


def test_an_archive_of_many_files_is_listed_once(folder: Path) -> None:
    lines = {f"{number:05}.jsonl": f'{{"input": "{number}", "output": "a"}}\n'.encode() for number in range(2_000)}
    (folder / "many.zip").write_bytes(_zip(lines, zipfile.ZIP_STORED))
    began = time.process_time()
    result = _take(folder)
    assert result.tally.imported == 2_001
    assert time.process_time() - began < 20  # a list read for each member takes minutes
