from __future__ import annotations

import gc
import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.ledger.logs import text as log_text
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.logs.tasks import assign
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes

TODAY = datetime(2026, 11, 23, 9, tzinfo=UTC)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from freehold.core.call import Call
    from freehold.ledger.logs.format import HumanWord
    from freehold.ledger.logs.imported import Imported


class _Words:
    """Keeps humans' words in a list, each once."""

    def __init__(self) -> None:
        self.kept: list[tuple[HumanWord, str]] = []

    def __call__(self, words: Sequence[tuple[HumanWord, Call]]) -> dict[str, int]:
        new = [(word, call.id) for word, call in words if (word, call.id) not in self.kept]
        self.kept += new
        return {"labelled": len(new)}


class _Desk:
    """A ledger and the words that were said about its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "ledger")
        self.words = _Words()

    def file(self, name: str, content: str | list[dict[str, Any]]) -> Path:
        path = self.folder / name
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        path.write_text(text, encoding="utf-8")
        return path

    def take(self, *paths: Path, task: str | None = "t", is_test: bool = False, **options: Any) -> Imported:
        stores = Stores(ledger=self.ledger, volumes=Volumes(self.folder / "volumes"), keep=self.words, assign=assign)
        choices = Choices(task=task, is_test=is_test, **options)
        result = import_logs(
            find_logs(list(paths)),
            stores,
            choices,
            progress=Silent(),
            rejects=self.folder / "rejected.jsonl",
            today=TODAY,
        )
        if result.refused:
            raise InputError(result.refused[0].reason)
        return result

    def calls(self) -> list[Call]:
        return list(self.ledger.read())


@pytest.fixture
def desk(tmp_path: Path) -> _Desk:
    return _Desk(tmp_path)


def test_a_row_becomes_a_call_and_a_human_word(desk: _Desk) -> None:
    row = {
        "id": "r1",
        "input": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        ],
        "output": {"a": 1},
        "model_output": "x",
        "model": "big",
        "input_tokens": 7,
        "started_at": "2026-10-05T12:00:00+02:00",
        "reviewer": "ada",
        "reviewed_at": 1759665600,
    }
    result = desk.take(desk.file("log.jsonl", [row]))
    (call,) = desk.calls()
    assert call.request == {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}
    assert call.response == {"choices": [{"message": {"role": "assistant", "content": "x"}}]}
    assert (call.task, call.model_served, call.input_tokens, call.output_tokens) == ("t", "big", 7, None)
    assert (call.route, call.status, call.request_id) == ("rent", 200, "r1")
    assert call.started_at is not None
    assert call.started_at.isoformat() == "2026-10-05T10:00:00+00:00"
    ((word, call_id),) = desk.words.kept
    assert (word.output, word.reviewer, word.reviewed_at) == (
        '{"a": 1}',
        "ada",
        "2025-10-05T12:00:00.000+00:00",
    )
    assert call_id == call.id
    assert (result.tally.imported, result.tally.duplicates, result.human_words) == (1, 0, 1)


def test_a_labelled_row_was_never_answered_by_a_model(desk: _Desk) -> None:
    desk.take(desk.file("rows.jsonl", [{"input": "hi", "output": "greeting"}]))
    (call,) = desk.calls()
    assert call.response is None
    assert (call.route, call.status, call.response) == (None, None, None)


def test_importing_twice_adds_nothing_but_repeats_inside_a_file_stay(desk: _Desk) -> None:
    path = desk.file("log.jsonl", [{"input": "hi", "output": "a"}] * 3 + [{"input": "ho", "output": "b"}])
    assert desk.take(path).tally.imported == 4
    again = desk.take(path)
    assert (again.tally.imported, again.tally.duplicates, again.human_words) == (0, 4, 0)
    assert len(desk.calls()) == 4


def test_a_test_row_is_another_call_than_the_same_training_row(desk: _Desk) -> None:
    path = desk.file("log.jsonl", [{"input": "hi", "output": "a"}])
    desk.take(path)
    assert desk.take(path, is_test=True).tally.imported == 1
    assert [word.is_test for word, _ in desk.words.kept] == [False, True]


def test_a_row_may_say_itself_that_it_is_held_out(desk: _Desk) -> None:
    rows = [{"input": f"question {split}", "output": "a", "split": split} for split in ("test", "train", "dev", None)]
    result = desk.take(desk.file("log.jsonl", rows))
    assert [word.is_test for word, _ in desk.words.kept] == [True, False, False, False]
    assert (result.tally.held_out, result.tally.ignored_fields) == ({"t": 1}, {"split"})
    fixes = [{"call_id": call.id, "output": "b", "split": "train"} for call in desk.calls()]
    assert desk.take(desk.file("fixes.jsonl", fixes), is_test=True).tally.held_out == {}


def test_corrections_find_their_calls_whatever_the_order_of_files(desk: _Desk) -> None:
    log = desk.file("log.jsonl", [{"id": "c1", "input": "hi", "model_output": "a"}])
    fixes = desk.file("a_fixes.jsonl", [{"call_id": "c1", "output": "b"}, {"call_id": "c2", "output": "b"}])
    result = desk.take(fixes, log)
    assert [word.output for word, _ in desk.words.kept] == ["b"]
    (rejected,) = result.rejected
    assert rejected.as_dict() == {
        "file": str(fixes),
        "line": 2,
        "reason": "no call 'c2' in the ledger: import its log first",
    }
    again = desk.take(fixes)
    assert (again.tally.imported, again.tally.duplicates) == (0, 1)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "not JSON: Expecting property name"),
        ("[1]", "a row must be a JSON object, this is an array"),
        ("3", "a row must be a JSON object, this is a number"),
        ('{"input": "x"}', "no 'input' with 'output' or 'model_output'"),
        ('{"input": "", "output": "a"}', "'input' is empty"),
        ('{"input": 3, "output": "a"}', "'input' must be text or a list of messages"),
        ('{"input": [], "output": "a"}', "'input' must be text or a list of messages"),
        ('{"input": [{"content": "x"}], "output": "a"}', "'input' has a message without a role"),
        ('{"input": [{"role": "user", "content": 3}], "output": "a"}', "neither text nor a list of parts"),
        ('{"input": [{"role": "system", "content": "x"}], "output": "a"}', "no user message with text"),
        ('{"input": [{"role": "user", "content": null}], "output": "a"}', "no user message with text"),
        ('{"input": "x", "output": " "}', "neither 'output' (the human's) nor 'model_output'"),
        ('{"input": "x", "output": NaN}', "'output' holds NaN or an infinity"),
        ('{"input": "x", "output": "a", "input_tokens": -1}', "'input_tokens' must be a number of 0 or more"),
        ('{"input": "x", "output": "a", "input_tokens": 1.5}', "'input_tokens' must be a whole number"),
        ('{"input": "x", "output": "a", "input_tokens": true}', "'input_tokens' must be a number"),
        ('{"input": "x", "output": "a", "input_tokens": "many"}', "'input_tokens' must be a number"),
        ('{"input": "x", "output": "a", "started_at": "soon"}', "'started_at' must be ISO 8601"),
        ('{"input": "x", "output": "a", "started_at": 1e300}', "'started_at' must be ISO 8601"),
        ('{"input": "x", "output": "a", "started_at": "1926-01-01"}', "outside the years 2000 to 2099"),
        ('{"input": "x", "output": "a", "model": ["m"]}', "'model' must be text"),
        ("[" * 100_000, "JSON nested too deep"),
        ('{"input": "x", "output": ' + "1" * 5_000 + "}", "a number with thousands of digits"),
        ('{"input": "x", "output": "a", "task": "a/b"}', "the task's name begins with a dot, or holds '/'"),
    ],
)
def test_a_bad_row_is_rejected_with_its_line_and_reason_and_the_rest_is_kept(
    desk: _Desk, row: str, reason: str
) -> None:
    path = desk.file("log.jsonl", f'\n{{"input": "good", "output": "a"}}\n{row}\n{{"input": "fine", "output": "b"}}\n')
    result = desk.take(path)
    assert result.tally.imported == 2
    (rejected,) = result.rejected
    assert (rejected.file, rejected.line) == (str(path), 3)
    assert reason in rejected.reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ('{"prompt": "x", "answer": "y"}\n', "unknown format.*This file has 'answer', 'prompt'"),
        ("garbage\n", "no log that can be read"),
        ("3\n4\n", "no log that can be read"),
    ],
)
def test_a_file_without_any_usable_row_is_an_error(desk: _Desk, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        desk.take(desk.file("log.jsonl", content))


def test_when_no_row_can_be_used_every_reason_is_told(desk: _Desk) -> None:
    result = desk.take(desk.file("log.jsonl", '{"input": "", "output": "a"}\n{"input": 1, "output": "a"}\n'))
    assert result.is_useless
    assert [row.line for row in result.rejected] == [1, 2]


def test_a_test_row_needs_the_humans_answer(desk: _Desk) -> None:
    rows = [{"input": "x", "model_output": "a"}, {"input": "y", "model_output": "a", "output": "b"}]
    result = desk.take(desk.file("log.jsonl", rows), is_test=True)
    assert [row.reason for row in result.rejected] == ["a test row needs 'output', the human's answer"]
    assert result.tally.imported == 1


def test_bytes_that_are_no_text_cost_their_row_alone(desk: _Desk) -> None:
    good = b'{"input": "x", "output": "a"}\n'
    broken = desk.folder / "a.jsonl"
    broken.write_bytes(good * 3 + b'{"input": "\xff", "output": "a"}\n' + good)
    result = desk.take(broken)
    assert result.tally.imported == 4
    assert (result.rejected[0].line, result.rejected[0].reason) == (
        4,
        "not UTF-8 text: invalid start byte at byte 12 of the line (see --encoding)",
    )
    table = desk.folder / "b.csv"
    table.write_bytes(b"\xef\xbb\xbfinput,output\ny,a\n\xff,a\nz,a\n")
    result = desk.take(table)
    assert result.tally.imported == 2
    assert [(row.line, row.reason) for row in result.rejected] == [(3, "not UTF-8 text (see --encoding)")]
    array = desk.folder / "c.json"
    array.write_bytes(b'{"input": "line\xe2\x80\xa8separator", "output": "a"}\n' + good)
    assert desk.take(array).rejected == []


def test_a_row_without_a_task_waits_for_one(desk: _Desk) -> None:
    path = desk.file("log.jsonl", [{"input": "x", "output": "a", "task": "own"}, {"input": "y", "output": "a"}])
    result = desk.take(path, task=None)
    assert result.tally.tasks == {"own": 1, "unassigned": 1}
    assert desk.take(path, task="other").tally.imported == 1


def test_every_text_format_gives_the_same_calls(desk: _Desk) -> None:
    rows = [{"input": 'grüß, "dich"', "output": "a"}, {"input": "two\nlines", "output": "b"}]
    for name in ("a.jsonl", "b.ndjson"):
        desk.take(desk.file(name, rows))
    desk.take(desk.file("c.json", json.dumps(rows)))
    desk.take(desk.file("d.csv", 'input,output\n"grüß, ""dich""",a\n"two\nlines",b\n'))
    zipped = desk.folder / "e.jsonl.gz"
    zipped.write_bytes(gzip.compress(b"\xef\xbb\xbf" + "".join(json.dumps(row) + "\n" for row in rows).encode()))
    desk.take(zipped)
    desk.take(desk.file("f.json", "".join(json.dumps(row) + "\n" for row in rows)))
    assert len(desk.calls()) == 2


def test_a_csv_cell_may_hold_messages_and_may_look_like_a_list(desk: _Desk) -> None:
    messages = json.dumps([{"role": "user", "content": "hi"}]).replace('"', '""')
    desk.take(desk.file("a.csv", f'input,output\n"{messages}",a\n"[urgent] help",b\n"[1, 2]",c\n'))
    texts = {call.request["messages"][0]["content"] for call in desk.calls() if call.request}
    assert texts == {"hi", "[urgent] help", "[1, 2]"}


def test_csv_rows_of_the_wrong_width_are_rejected(desk: _Desk) -> None:
    result = desk.take(desk.file("a.csv", "input,output,model\nx,a,m\ny,b\nz,c,m,extra\nw,d,\n"))
    assert result.tally.imported == 2
    assert [row.reason for row in result.rejected] == ["not the 3 columns of the header"] * 2


def test_of_a_table_with_an_open_quotation_mark_nothing_is_imported(desk: _Desk) -> None:
    with pytest.raises(InputError, match=r"a\.csv, line 3: a quotation mark opens a cell that is never closed"):
        desk.take(desk.file("a.csv", 'input,output\nx,a\n"unclosed,b\n\nc,d\n'))
    assert desk.calls() == []


def test_a_quotation_mark_inside_of_a_cell_is_text(desk: _Desk) -> None:
    result = desk.take(desk.file("a.csv", 'input,output\nx,a\n5" pipe,b\n"two\nlines",c\n"broken"y,d\nz,e\n'))
    assert (result.tally.imported, [row.line for row in result.rejected]) == (4, [6])


def test_a_json_array_may_hold_things_that_are_no_rows(desk: _Desk) -> None:
    result = desk.take(desk.file("a.json", '[{"input": "x", "output": "a"}, 3, null]'))
    assert result.tally.imported == 1
    assert [row.line for row in result.rejected] == [2, 3]
    assert desk.take(desk.file("b.json", '{"input": "y", "output": "a"}')).tally.imported == 1


def test_a_correction_of_a_trace_finds_its_only_call_in_another_file_of_the_import(desk: _Desk) -> None:
    row = {"type": "GENERATION", "project_id": "p", "start_time": "2026-10-01T08:00:00Z", "input": "hi", "output": "ho"}
    calls = desk.file("calls.jsonl", [{"id": f"o{n}", "trace_id": f"t{n}", **row} for n in range(3)])
    score = {"id": "s", "trace_id": "t1", "name": "output", "data_type": "CORRECTION", "value": "hello"}
    scores = desk.file("scores.jsonl", [score])

    assert desk.take(scores, calls).tally.rejected == 0

    ((word, _),) = desk.words.kept
    assert (word.call, word.output) == ("o1", "hello")


def test_python_looks_for_cycles_as_often_as_before_once_an_import_is_over(desk: _Desk) -> None:
    usual = gc.get_threshold()
    desk.take(desk.file("log.jsonl", [{"input": "a", "output": "b"}]))
    assert gc.get_threshold() == usual


def test_a_row_that_is_too_long_is_rejected_and_reading_goes_on(desk: _Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_text, "MAX_ROW_BYTES", 60)
    good = '{"input": "x", "output": "a"}\n'
    result = desk.take(desk.file("a.jsonl", good + '{"input": "' + "y" * 200 + '", "output": "a"}\n' + good))
    assert result.tally.imported == 2
    assert [(row.line, row.reason) for row in result.rejected] == [(2, "longer than 60 bytes")]


def test_files_that_cannot_be_read_are_named(desk: _Desk) -> None:
    binary = desk.folder / "a.json"
    binary.write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(InputError, match="no log that can be read"):
        desk.take(binary)
    deflated = bytearray(gzip.compress(b'{"input": "x", "output": "a"}\n' * 1000))
    deflated[12:20] = b"\xff" * 8
    damaged = desk.folder / "d.jsonl.gz"
    damaged.write_bytes(deflated)
    with pytest.raises(InputError, match="cut off or broken"):
        desk.take(damaged)
    cut = desk.folder / "b.jsonl.gz"
    cut.write_bytes(gzip.compress(b'{"input": "x", "output": "a"}\n' * 1000)[:60])
    with pytest.raises(InputError, match="cut off or broken"):
        desk.take(cut)
    with pytest.raises(InputError, match="no such file"):
        desk.take(desk.folder / "none.jsonl")
    with pytest.raises(InputError, match="no log that can be read"):
        desk.take(desk.file("a.pdf", "x"))
    (desk.folder / "empty").mkdir()
    with pytest.raises(InputError, match="no log in this folder"):
        desk.take(desk.folder / "empty")
    unreadable = desk.folder / "c.jsonl"
    unreadable.symlink_to(unreadable)
    with pytest.raises(InputError, match="no such file"):
        desk.take(unreadable)


def test_a_folder_is_read_whole(desk: _Desk) -> None:
    (desk.folder / "logs").mkdir()
    desk.file("logs/a.jsonl", [{"input": "x", "output": "a"}])
    desk.file("logs/notes.txt", "not a log")
    (desk.folder / "logs" / ".freehold").mkdir()
    desk.file("logs/.freehold/rejected.jsonl", [{"file": "a.jsonl", "line": 1, "reason": "no JSON"}])
    desk.file("logs/b.csv", "input,output\ny,b\n")
    result = desk.take(desk.folder / "logs")
    result.seconds = 0.5
    assert result.as_record() == {
        "schema": "freehold.import/1",
        "dry_run": False,
        "formats": {"rows": 2},
        "recognised": [
            {"file": str(desk.folder / "logs" / name), "format": "rows", "rows": 1} for name in ("a.jsonl", "b.csv")
        ],
        "not_logs": [str(desk.folder / "logs" / "notes.txt")],
        "imported": 2,
        "duplicates": 0,
        "purged": 0,
        "volumes": 0,
        "truncated": 0,
        "skipped": 0,
        "skipped_by_reason": {},
        "rejected": [],
        "rejected_rows": 0,
        "refused": [],
        "human_words": 2,
        "corrections": {"corrected": 0, "accepted": 0, "labelled": 2},
        "held_out": {},
        "tasks": {"t": 2},
        "ignored_fields": [],
        "assumptions": [],
        "rows_per_s": 4.0,
    }


def test_fields_that_are_not_used_are_named(desk: _Desk) -> None:
    result = desk.take(desk.file("a.jsonl", [{"input": "x", "output": "a", "colour": "red"}]))
    assert result.tally.ignored_fields == {"colour"}


def test_a_row_of_another_kind_inside_a_file_is_rejected(desk: _Desk) -> None:
    log = desk.file("a.jsonl", [{"id": "1", "input": "x", "model_output": "a"}, {"call_id": "1", "output": "b"}])
    assert "no 'input'" in desk.take(log).rejected[0].reason
    fixes = desk.file("b.jsonl", [{"call_id": "1", "output": "b"}, {"call_id": "1"}, {"call_id": " ", "output": "b"}])
    reasons = [row.reason for row in desk.take(fixes).rejected]
    assert reasons == ["no 'call_id' with 'output'", "'call_id' or 'output' is empty"]


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("input", "output", "model_output", "id", "task", "started_at"), _ANYTHING),
        ),
        max_size=6,
    )
)
def test_whatever_stands_in_a_row_it_is_imported_or_rejected_and_never_lost(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    desk = _Desk(tmp_path_factory.mktemp("desk"))
    good = {"input": "surely good", "output": "a"}
    result = desk.take(desk.file("a.jsonl", [good, *rows]))
    assert result.tally.imported + result.tally.duplicates + len(result.rejected) == len(rows) + 1
    assert len(desk.calls()) == result.tally.imported


def test_columns_may_be_parted_by_semicolons_or_tabs(desk: _Desk) -> None:
    desk.take(desk.file("semicolons.csv", 'input;output\n"one; two, three";a\nx;b\n'))
    desk.take(desk.file("tabs.csv", "input\toutput\nsix, seven\tc\n"))
    asked = [call.request["messages"][-1]["content"] for call in desk.ledger.read() if call.request]
    assert sorted(asked) == ["one; two, three", "six, seven", "x"]


def test_blank_lines_are_counted_and_keep_the_numbers_of_the_others(desk: _Desk) -> None:
    rows = desk.take(desk.file("a.jsonl", '{"input": "x", "output": "a"}\n\n   \n{"input": "y"\n'))
    assert (rows.tally.imported, rows.tally.skipped.total(), [row.line for row in rows.rejected]) == (1, 2, [4])
    table = desk.take(desk.file("b.csv", "input,output\nv,a\n\nw,b\nz\n"))
    assert (table.tally.imported, table.tally.skipped.total(), [row.line for row in table.rejected]) == (2, 1, [5])
