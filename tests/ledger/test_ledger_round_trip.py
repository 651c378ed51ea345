"""What `ledger export` writes is read again, here and in another workspace."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from freehold.core.call import Call
from freehold.core.errors import InputError
from freehold.core.identity import call_id
from freehold.core.progress import Silent
from freehold.ledger.columns import COLUMNS
from freehold.ledger.export import ExportFormat, export
from freehold.ledger.ingest import CALLS
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.logs.tasks import assign
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from freehold.ledger.logs.format import HumanWord
    from freehold.ledger.logs.imported import Imported

NOON = datetime(2026, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)
ASKED = {"messages": [{"role": "user", "content": 'Straße \u2028 "7"'}], "temperature": 0.1, "seed": 2**60}
FULL = Call(
    id=call_id(NOON, "full"),
    task="desk",
    started_at=NOON,
    key_id="k1",
    key_name="desk",
    endpoint="/v1/chat/completions",
    provider="openai",
    model_requested="fast",
    model_served="gpt-5.4",
    route="rent",
    parent_id=call_id(NOON, "first attempt"),
    request_id="mine",
    completion_id="c1",
    conversation_id="v1",
    subject="ab12",
    site_id="s1",
    service_tier="default",
    model_version="v",
    confidence=0.25,
    status=200,
    error_type="none",
    stream=True,
    input_tokens=7,
    cache_read_tokens=2,
    cache_write_tokens=0,
    output_tokens=3,
    reasoning_tokens=1,
    ttft_ms=1.5,
    duration_ms=20.25,
    finish_reason="stop",
    client_closed=False,
    truncated=False,
    request=ASKED,
    response={"choices": [{"message": {"role": "assistant", "content": "a\nb"}}]},
)
FAILED = Call(id=call_id(NOON, "failed"), task="desk", started_at=NOON, route="rent", status=529, error_type="overload")
UNDATED = Call(id=call_id(None, "undated"), task="other", request={"messages": []})
CALLS_OF_ALL_KINDS = (FULL, FAILED, UNDATED)


def _none_kept(words: Sequence[tuple[HumanWord, Call]]) -> dict[str, int]:
    assert not words
    return {}


def _take(ledger: Ledger, *paths: Path, is_test: bool = False) -> Imported:
    volumes = Volumes(ledger.folder.parent / "volumes")
    stores = Stores(ledger=ledger, volumes=volumes, keep=_none_kept, assign=assign)
    result = import_logs(find_logs(list(paths)), stores, Choices(is_test=is_test), progress=Silent())
    if result.refused:
        raise InputError(result.refused[0].reason)
    return result


def _exported(folder: Path, form: ExportFormat) -> Path:
    """A file with the calls of all kinds; they lie in `folder / CALLS`."""
    Ledger(folder / CALLS).append(CALLS_OF_ALL_KINDS)
    out = folder / f"calls.{form}"
    assert export(folder, out, form=form, progress=Silent()) == 3
    return out


def test_the_full_call_of_these_tests_has_every_field() -> None:
    assert [name for name in COLUMNS if getattr(FULL, name) is None] == []


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_another_ledger_gets_the_calls_with_every_field(tmp_path: Path, form: ExportFormat) -> None:
    file, other = _exported(tmp_path, form), Ledger(tmp_path / "other" / CALLS)

    result = _take(other, file)

    assert {call.id: call for call in other.read()} == {call.id: call for call in CALLS_OF_ALL_KINDS}
    assert (result.formats, result.tally.imported, result.rejected) == ({"ledger": 1}, 3, [])
    assert (result.tally.tasks, result.tally.ignored_fields) == ({"desk": 2, "other": 1}, set())
    again = tmp_path / f"again.{form}"
    export(tmp_path / "other", again, form=form, progress=Silent())
    if form == "parquet":
        assert pq.read_table(again).equals(pq.read_table(file))
    else:
        assert again.read_text() == file.read_text()


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_calls_that_are_there_already_add_nothing(tmp_path: Path, form: ExportFormat) -> None:
    file, ledger = _exported(tmp_path, form), Ledger(tmp_path / CALLS)

    result = _take(ledger, file)

    assert (result.tally.imported, result.tally.duplicates) == (0, 3)
    assert len(list(ledger.read())) == 3


def test_the_folder_of_a_ledger_is_such_a_file_too(tmp_path: Path) -> None:
    _exported(tmp_path, "jsonl")
    other = Ledger(tmp_path / "other")
    assert _take(other, tmp_path / CALLS).tally.imported == 3


def test_an_export_without_bodies_keeps_the_facts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / CALLS)
    ledger.append([FULL])
    out = tmp_path / "calls.jsonl"
    export(tmp_path, out, form="jsonl", with_bodies=False, progress=Silent())
    other = Ledger(tmp_path / "other")
    _take(other, out)
    assert list(other.read()) == [replace(FULL, request=None, response=None)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "7"}, "'id' must be a UUID"),
        ({"id": None}, "'id' is empty"),
        ({"task": ""}, "'task' is empty"),
        ({"task": "a/b"}, "the task's name begins with a dot"),
        ({"input_tokens": -1}, "'input_tokens' must be a number of 0 or more"),
        ({"input_tokens": 1.5}, "'input_tokens' must be a whole number"),
        ({"ttft_ms": "soon"}, "'ttft_ms' must be a number of 0 or more"),
        ({"stream": 1}, "'stream' must be true or false"),
        ({"model_served": 3}, "'model_served' must be text"),
        ({"request": "{"}, "'request' is no JSON"),
        ({"request": [1]}, "'request' must be a JSON object"),
        ({"started_at": "soon"}, "'started_at' must be ISO 8601"),
    ],
)
def test_a_row_that_was_spoilt_is_rejected_and_the_others_are_kept(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    file = _exported(tmp_path, "jsonl")
    rows = [json.loads(line) for line in file.read_text().rstrip("\n").split("\n")]
    rows[1] |= change
    rows.append({"input": "of another kind", "output": "a"})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    result = _take(Ledger(tmp_path / "other"), file)

    assert (result.tally.imported, [row.line for row in result.rejected]) == (2, [2, 4])
    assert reason in result.rejected[0].reason
    assert "not all of the fields" in result.rejected[1].reason


def test_an_export_is_no_test_set(tmp_path: Path) -> None:
    result = _take(Ledger(tmp_path / "other"), _exported(tmp_path, "jsonl"), is_test=True)
    assert (result.tally.imported, len(result.rejected)) == (0, 3)
    assert "holds no human's answers" in result.rejected[0].reason


def test_fields_of_a_later_version_are_named(tmp_path: Path) -> None:
    file = _exported(tmp_path, "parquet")
    table = pq.read_table(file)
    pq.write_table(table.append_column("mood", pa.array(["good"] * 3)), file)
    assert _take(Ledger(tmp_path / "other"), file).tally.ignored_fields == {"mood"}


def test_rows_of_calls_may_come_as_parquet(tmp_path: Path) -> None:
    file = tmp_path / "log.parquet"
    messages = [{"role": "user", "content": "hi"}]
    rows = [{"input": messages, "model_output": "a", "task": "desk", "started_at": NOON, "input_tokens": 7}]
    pq.write_table(pa.Table.from_pylist(rows), file)
    ledger = Ledger(tmp_path / "ledger")

    _take(ledger, file)

    (call,) = ledger.read()
    assert (call.request, call.started_at, call.input_tokens) == ({"messages": messages}, NOON, 7)


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    file = _exported(tmp_path, "parquet")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"calls\.parquet: no whole Parquet file"):
        _take(Ledger(tmp_path / "other"), file)
