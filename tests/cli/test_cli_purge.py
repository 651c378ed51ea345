from __future__ import annotations

import json
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from freehold.cli.purging import Request, carry_out, plan
from freehold.cli.session import open_session
from freehold.core.call import Call
from freehold.core.progress import Silent
from freehold.ledger.index import Index
from freehold.ledger.purge import Selection
from freehold.ledger.purged import Purged
from freehold.ledger.rollup import stored_sums
from freehold.ledger.store import Ledger
from freehold.ledger.verify import verify
from freehold.state.database import first_broken_entry
from freehold.state.schema import AUDIT_TRAIL, CORRECTIONS
from freehold.state.subject_key import subjects_of
from freehold.state.workspace import find_workspace
from tests.cli.conftest import desk_rows
from tests.ledger.deaths import Died, Mortal
from tests.ledger.traffic import open_writer, record_call

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.cli.conftest import Shown, Terminal

_DAY = datetime(2026, 11, 10, 12, tzinfo=UTC)
_SECRET = "tulipwhisper"
_ANN = "ann@example.org"


def _calls(folder: Path) -> list[Call]:
    """Ninety labelled calls on three days, every sixth of them Ann's."""
    ann = subjects_of(find_workspace(folder)).hashed(_ANN)
    calls = []
    for number, row in enumerate(desk_rows(90, seed=5)):
        is_ann = number % 6 == 0
        said = f"{row['input']} {_SECRET}" if is_ann else row["input"]
        calls.append(
            Call(
                id=f"0199aa00-0000-7000-8000-{number:012x}",
                task="desk",
                started_at=_DAY + timedelta(days=number // 30, minutes=number),
                key_id=f"key{number % 3}",
                subject=ann if is_ann else None,
                route="rent",
                provider="openai",
                model_served="gpt-5.4",
                status=200,
                input_tokens=10,
                output_tokens=5,
                request={"messages": [{"role": "user", "content": said}]},
                response={"choices": [{"message": {"role": "assistant", "content": row["output"]}}]},
            )
        )
    return calls


@pytest.fixture
def filled(terminal: Terminal) -> list[Call]:
    """A workspace with calls, corrections of all of them, and a dataset."""
    calls = _calls(terminal.folder)
    Ledger(find_workspace(terminal.folder).calls).append(calls)
    rows = desk_rows(90, seed=5)
    words = [{"call_id": call.id, "output": row["output"]} for call, row in zip(calls, rows, strict=True)]
    text = "".join(json.dumps(word) + "\n" for word in words)
    (terminal.folder / "words.jsonl").write_text(text, encoding="utf-8")
    assert terminal.run("import", "words.jsonl", "--json").code == 0
    assert terminal.run("dataset", "build", "desk").code == 0
    return calls


def _done(shown: Shown) -> dict[str, Any]:
    assert shown.code == 0, shown.err
    return shown.record


def _holds_secret(folder: Path) -> list[str]:
    """Files in which Ann's word stands, Parquet files unpacked."""
    data = folder / ".freehold"
    plain = [path.name for path in data.rglob("*") if path.is_file() and _SECRET.encode() in path.read_bytes()]
    rows = [call.id for call in Ledger(find_workspace(folder).calls).read() if _SECRET in str(call.request)]
    return [*plain, *rows]


def _sums(folder: Path) -> int:
    index = Index(find_workspace(folder).calls)
    sums = stored_sums(index.connection)
    index.close()
    return sum(sums.column("calls").to_pylist())


def _trail(folder: Path) -> list[tuple[str, Mapping[str, Any]]]:
    with open_session(folder).state.connect() as connection:
        assert first_broken_entry(connection) is None
        found = connection.execute(select(AUDIT_TRAIL.c.action, AUDIT_TRAIL.c.details))
        return [(row.action, row.details) for row in found if row.action.startswith("purge")]


def test_an_end_user_goes_from_every_place_and_the_others_stay(terminal: Terminal, filled: list[Call]) -> None:
    assert _holds_secret(terminal.folder)
    before = _done(terminal.run("dataset", "show", "desk", "--json"))

    dry = _done(terminal.run("purge", "--subject", _ANN, "--dry-run", "--json"))
    assert (dry["dry_run"], dry["purge"], dry["counts"]["calls"]) == (True, None, 15)
    assert len(_holds_secret(terminal.folder)) > 0
    done = _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))

    assert _holds_secret(terminal.folder) == []
    assert done["counts"] == dry["counts"]
    assert done["found"] == [
        {"task": "desk", "day": f"2026-11-{day}", "calls": 5, "with_bodies": 5} for day in (10, 11, 12)
    ]
    assert (done["counts"]["calls"], done["counts"]["bodies"], done["counts"]["corrections"]) == (15, 15, 15)
    after = _done(terminal.run("dataset", "show", "desk", "--json"))
    assert after["sha256"] == before["sha256"]
    assert sum(after["purged"].values()) == done["counts"]["dataset_rows"] > 0
    assert sum(after["rows"].values()) == sum(before["rows"].values()) - done["counts"]["dataset_rows"]
    assert "rows of this version were purged" in after["warnings"][-1]
    assert len(Ledger(find_workspace(terminal.folder).calls).tasks()) == 1
    assert _sums(terminal.folder) == 90, "what was spent stays known"
    assert verify(find_workspace(terminal.folder).events).damaged == []
    assert _ANN not in json.dumps(_trail(terminal.folder))
    assert [action for action, _ in _trail(terminal.folder)] == ["purge.started", "purge.done"]


def test_a_new_dataset_leaves_purged_rows_out_and_an_old_one_can_still_be_read(
    terminal: Terminal, filled: list[Call]
) -> None:
    old = _done(terminal.run("dataset", "show", "desk", "--json"))["dataset"]
    _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))
    assert terminal.run("dataset", "export", old, "train.jsonl").code == 0
    new = _done(terminal.run("dataset", "build", "desk", "--json"))
    assert new["purged"] is None
    assert sum(new["rows"].values()) + sum(one["rows"] for one in new["excluded"]) == 75


def test_purged_calls_do_not_come_back_with_their_log(terminal: Terminal, filled: list[Call]) -> None:
    assert terminal.run("ledger", "export", "--out", "all.jsonl").code == 0
    _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))
    back = Ledger(find_workspace(terminal.folder).calls).append(filled)
    assert (back.new, back.duplicates, back.purged) == (0, 75, 15)
    again = _done(terminal.run("import", "all.jsonl", "--json"))
    assert (again["imported"], again["duplicates"]) == (0, 75)
    assert _holds_secret(terminal.folder) == []


def test_a_correction_of_a_purged_call_is_counted_as_purged(terminal: Terminal) -> None:
    rows = [{"id": f"lf-{number}", "input": f"question {number}", "model_output": "a"} for number in range(3)]
    (terminal.folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert terminal.run("import", "log.jsonl", "--task", "desk").code == 0
    (known,) = (call for call in Ledger(find_workspace(terminal.folder).calls).read() if call.request_id == "lf-1")
    _done(terminal.run("purge", "--task", "desk", "--yes", "--json"))
    words = [{"call_id": one, "output": "b"} for one in ("lf-0", known.id, "lf-7")]
    (terminal.folder / "words.jsonl").write_text("".join(json.dumps(word) + "\n" for word in words))
    record = _done(terminal.run("import", "words.jsonl", "--json"))
    assert (record["purged"], record["imported"]) == (2, 0)
    assert [(one["line"], one["reason"]) for one in record["rejected"]] == [
        (3, "no call 'lf-7' in the ledger: import its log first")
    ]


def test_a_backup_that_was_put_back_is_purged_again(terminal: Terminal, filled: list[Call]) -> None:
    calls = find_workspace(terminal.folder).calls
    shutil.copytree(calls, terminal.folder / "backup", ignore=shutil.ignore_patterns("_*"))
    _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))
    for path in (terminal.folder / "backup").glob("day=*/*.parquet"):
        (calls / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, calls / path.parent.name / path.name)
    assert terminal.run("ledger", "repair").code == 0
    assert _holds_secret(terminal.folder)
    assert _done(terminal.run("purge", "--again", "--yes", "--json"))["counts"]["calls"] == 15
    assert _holds_secret(terminal.folder) == []
    assert verify(find_workspace(terminal.folder).events).damaged == []


def test_bodies_alone_can_go_and_the_facts_stay(terminal: Terminal, filled: list[Call]) -> None:
    done = _done(terminal.run("purge", "--subject", _ANN, "--bodies-only", "--yes", "--json"))
    assert (done["counts"]["calls"], done["counts"]["bodies"]) == (15, 15)
    assert _holds_secret(terminal.folder) == []
    calls = list(Ledger(find_workspace(terminal.folder).calls).read())
    assert (len(calls), sum(call.input_tokens or 0 for call in calls)) == (90, 900)
    assert sum(call.request is None and call.response is None for call in calls) == 15
    back = Ledger(find_workspace(terminal.folder).calls).append(filled)
    assert (back.new, back.duplicates) == (0, 90)
    assert _holds_secret(terminal.folder) == []
    again = _done(terminal.run("purge", "--subject", _ANN, "--bodies-only", "--yes", "--json"))
    assert (again["counts"]["bodies"], again["counts"]["corrections"], again["counts"]["dataset_rows"]) == (0, 0, 0)


def test_conditions_are_taken_together_and_each_works_alone(terminal: Terminal, filled: list[Call]) -> None:
    def counted(*options: str) -> int:
        count: int = _done(terminal.run("purge", *options, "--dry-run", "--json"))["counts"]["calls"]
        return count

    assert counted("--task", "desk") == counted("--all") == 90
    assert counted("--before", "2026-11-11") == 30
    assert counted("--key", "key1") == 30
    assert counted("--key", "key1", "--before", "2026-11-11") == 10
    assert counted("--subject", _ANN, "--key", "key1") == 0
    assert counted("--subject", subjects_of(find_workspace(terminal.folder)).hashed(_ANN)) == 15


def test_a_key_of_litellm_goes_by_its_hash_and_by_its_alias(terminal: Terminal) -> None:
    def row(number: int, alias: object, **metadata: Any) -> dict[str, Any]:
        return {
            "request_id": f"chatcmpl-{number}",
            "call_type": "acompletion",
            "api_key": f"hash-of-{alias}",
            "spend": 0.1,
            "prompt_tokens": 60,
            "completion_tokens": 3,
            "startTime": "2026-10-01 10:00:00.000",
            "model": "gpt-5.4-mini",
            "metadata": {"user_api_key_alias": alias, **metadata},
        }

    aliases = ["claims desk"] * 30 + ["legal"] * 20 + [None, {"not": "text"}]
    rows = [row(number, alias) for number, alias in enumerate(aliases)]
    rows.append(row(99, "legal", proxy_server_request={"messages": [{"role": "user", "content": "hello"}]}))
    log = terminal.folder / "spend.jsonl"
    log.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    assert _done(terminal.run("import", "spend.jsonl", "--json"))["imported"] == 53

    def counted(key: str) -> int:
        count: int = _done(terminal.run("purge", "--key", key, "--dry-run", "--json"))["counts"]["calls"]
        return count

    assert counted("claims desk") == counted("hash-of-claims desk") == 30
    assert counted("legal") == 21
    assert _done(terminal.run("purge", "--key", "claims desk", "--yes", "--json"))["counts"]["calls"] == 30
    again = _done(terminal.run("import", "spend.jsonl", "--json"))
    assert (again["imported"], again["purged"]) == (0, 30)
    assert counted("claims desk") == 0


def test_a_task_goes_whole_with_its_sums_if_that_is_wanted(terminal: Terminal, filled: list[Call]) -> None:
    done = _done(terminal.run("purge", "--task", "desk", "--with-sums", "--yes", "--json"))
    assert done["counts"]["calls"] == 90
    assert _sums(terminal.folder) == 0
    workspace = find_workspace(terminal.folder)
    assert list(Ledger(workspace.calls).read()) == []
    assert not any(workspace.calls.glob("day=*"))
    with open_session(terminal.folder).state.connect() as connection:
        assert connection.execute(select(CORRECTIONS)).all() == []
    shown = _done(terminal.run("dataset", "show", "desk", "--json"))
    assert sum(shown["rows"].values()) == 0
    assert verify(workspace.events).damaged == []
    again = _done(terminal.run("purge", "--task", "desk", "--yes", "--json"))
    assert set(again["counts"].values()) == {0}


def test_what_gateways_have_recorded_and_nobody_has_ingested_goes_too(terminal: Terminal) -> None:
    workspace = find_workspace(terminal.folder)
    ann = subjects_of(workspace).hashed(_ANN)
    writer = open_writer(workspace.events)
    record_call(writer, 0, subject=ann)
    record_call(writer, 1)
    shown = _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))
    assert (shown["counts"]["calls"], shown["segments_left"]["files"]) == (1, 1)
    record_call(writer, 2)
    writer.seal()
    assert _done(terminal.run("ledger", "stats", "--json"))["calls"] == 2
    (workspace.calls / "_index.db").unlink()
    assert _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))["segments_left"]["files"] == 0


def test_an_index_that_is_made_anew_does_not_bring_purged_calls_back_from_segments(terminal: Terminal) -> None:
    workspace = find_workspace(terminal.folder)
    writer = open_writer(workspace.events)
    record_call(writer, 0, subject=subjects_of(workspace).hashed(_ANN))
    record_call(writer, 1)
    _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))
    for path in workspace.calls.glob("_index.db*"):
        path.write_bytes(b"damaged" * 1000)
    writer.seal()
    assert terminal.run("ledger", "repair").code == 0
    assert _done(terminal.run("ledger", "stats", "--json"))["calls"] == 1


def test_names_that_nobody_knows_and_commands_that_say_nothing_are_refused(
    terminal: Terminal, filled: list[Call]
) -> None:
    unknown = terminal.run("purge", "--task", "'; drop table tasks; --\x1b[2J", "--yes")
    assert (unknown.code, "no such task" in unknown.err, "\x1b" in unknown.err) == (2, True, False)
    assert terminal.run("purge", "--key", "../../etc", "--yes").code == 2
    assert terminal.run("purge").code == 2
    assert terminal.run("purge", "--all", "--task", "desk").code == 2
    assert terminal.run("purge", "--task", "desk", "--with-sums", "--bodies-only", "--yes").code == 2
    asked = terminal.run("purge", "--task", "desk")
    assert (asked.code, "add --yes" in asked.err) == (2, True)
    nobody = _done(terminal.run("purge", "--subject", "nobody\udcff", "--yes", "--json"))
    assert nobody["counts"]["calls"] == 0
    assert len(list(Ledger(find_workspace(terminal.folder).calls).read())) == 90


def test_a_damaged_list_of_purged_calls_is_told_and_nothing_is_taken_in(terminal: Terminal, filled: list[Call]) -> None:
    _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))
    calls = find_workspace(terminal.folder).calls
    (calls / "_purged.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(Exception, match="list of purged calls cannot be read"):
        Ledger(calls).append(filled)
    assert len(list(Ledger(calls).read())) == 75


def test_a_damaged_dataset_is_named_before_anything_is_purged(terminal: Terminal, filled: list[Call]) -> None:
    (manifest,) = find_workspace(terminal.folder).datasets.glob("*/manifest.json")
    manifest.write_text("{", encoding="utf-8")
    assert "manifest.json: the dataset's file is damaged" in terminal.run("purge", "--all", "--yes").error
    assert len(list(Ledger(find_workspace(terminal.folder).calls).read())) == 90


def test_whenever_a_purge_dies_the_same_one_again_completes_it(
    terminal: Terminal, filled: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = terminal.folder / ".freehold"
    kept = terminal.folder / "kept"
    shutil.copytree(original, kept)
    hashes = subjects_of(find_workspace(terminal.folder)).forms(_ANN)
    request = Request(selection=Selection(subjects=hashes), said={"subject": "ann"})
    for at in range(1, 2_000, 3):
        shutil.rmtree(original)
        shutil.copytree(kept, original)
        mortal = Mortal(at)
        session = open_session(terminal.folder)
        planned = plan(session, request, progress=Silent())
        with monkeypatch.context() as dying:
            mortal.install(dying)
            with suppress(Died):
                carry_out(session, request, planned, progress=Silent())
        session.state.dispose()
        back = Ledger(session.workspace.calls).append([call for call in filled if call.subject])
        known = Purged(session.workspace.calls).counts()["row"]
        assert back.new == 0
        assert back.purged <= known

        session = open_session(terminal.folder)
        carry_out(session, request, plan(session, request, progress=Silent()), progress=Silent())
        session.state.dispose()

        assert _holds_secret(terminal.folder) == [], f"died at change {at}"
        assert verify(session.workspace.events).damaged == []
        assert _sums(terminal.folder) == 90
        assert _done(terminal.run("dataset", "show", "desk", "--json"))["purged"] is not None
        assert terminal.run("dataset", "export", "desk", "train.jsonl").code == 0
        if not mortal.is_dead:
            return
    pytest.fail("the purge never came to its end")


def test_an_end_user_of_an_imported_log_is_found_and_what_humans_said_does_not_come_back_either(
    terminal: Terminal,
) -> None:
    def row(number: int, user: str) -> dict[str, Any]:
        asked = {"model": "gpt-4o", "user": user, "messages": [{"role": "user", "content": f"{_SECRET} {number}"}]}
        answer = {"id": f"chatcmpl-{number}", "object": "chat.completion", "model": "gpt-4o", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "done"}, "finish_reason": "stop"}]}  # fmt: skip
        return {"input": asked, "output": answer, "tags": {}}

    lines = [row(number, _ANN if number % 2 else "bob") for number in range(10)]
    (terminal.folder / "openpipe.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    labels = [
        {"id": f"x{n}", "task": "desk", "input": f"text {n} {_SECRET}", "output": f"private {n}"} for n in range(4)
    ]
    (terminal.folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labels))
    assert _done(terminal.run("import", "openpipe.jsonl", "--task", "chat", "--json"))["imported"] == 10
    subjects = {call.subject for call in Ledger(find_workspace(terminal.folder).calls).read("chat")}
    hashes = subjects_of(find_workspace(terminal.folder))
    assert subjects == {hashes.hashed(_ANN), hashes.hashed("bob")}
    assert _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))["counts"]["calls"] == 5
    again = _done(terminal.run("import", "openpipe.jsonl", "--task", "chat", "--json"))
    assert (again["imported"], again["duplicates"], again["purged"]) == (0, 5, 5)

    assert terminal.run("import", "rows.jsonl").code == 0
    _done(terminal.run("purge", "--task", "desk", "--yes", "--json"))
    back = _done(terminal.run("import", "rows.jsonl", "--json"))
    assert (back["imported"], back["purged"], back["human_words"]) == (0, 4, 0)
    with open_session(terminal.folder).state.connect() as connection:
        assert connection.execute(select(CORRECTIONS)).all() == []


def test_buckets_of_a_usage_export_go_by_task_and_do_not_come_back(terminal: Terminal) -> None:
    trace = "".join(f"client-{n % 2},{n * 300},{n + 1}\n" for n in range(6))
    (terminal.folder / "windows.csv").write_text("client,t_s,requests\n" + trace)
    imported = _done(terminal.run("import", "windows.csv", "--task", "bulk", "--start", "2026-11-01", "--json"))
    assert imported["volumes"] == 6
    assert _done(terminal.run("purge", "--subject", _ANN, "--yes", "--json"))["counts"]["volumes"] == 0
    assert _done(terminal.run("purge", "--before", "2026-11-02", "--dry-run", "--json"))["counts"]["volumes"] == 6
    assert _done(terminal.run("purge", "--before", "2026-11-02", "--yes", "--json"))["counts"]["volumes"] == 6
    again = _done(terminal.run("import", "windows.csv", "--task", "bulk", "--start", "2026-11-01", "--json"))
    assert again["imported"] == 0
    assert _done(terminal.run("purge", "--all", "--dry-run", "--json"))["counts"]["volumes"] == 0
