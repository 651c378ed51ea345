"""Tasks are found in mixed logs, the same ones every time, and next month's calls come home to them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sklearn.metrics import v_measure_score

from freehold.core.progress import Silent
from freehold.ledger.store import Ledger
from freehold.state.settings import TasksSection
from freehold.tasks.discover import Discovery, discover
from freehold.tasks.evidence import clean
from freehold.tasks.learned import Learned
from freehold.tasks.rules import TaskRules
from tests.tasks.mixed_logs import SETS, Row, calls_of, mixed_log
from tests.tasks.team_logs import team_log

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from freehold.core.call import Call


class Nobody:
    task = None

    def may_use_task(self, task: str) -> bool:
        return bool(task)


def found_in(
    folder: Path, calls: Sequence[Call], known: Collection[str] = (), source: str = "unassigned"
) -> tuple[Discovery, dict[str, str]]:
    ledger = Ledger(folder)
    ledger.append(calls)
    moves: dict[str, str] = {}
    found = discover(folder, source, known=known, taken={source, *known}, move=moves.update, progress=Silent())
    return found, moves


@pytest.mark.parametrize(
    "style", ["no prompt", "prompt with names and dates", "prompt behind house rules", "prompt in the question"]
)
def test_tasks_are_found_in_a_log_whose_tasks_were_taken_off(style: str, shared_data: Path, tmp_path: Path) -> None:
    log = mixed_log(shared_data, style, 100, seed=5)
    calls = list(calls_of(log))

    found, moves = found_in(tmp_path, calls)

    labels = [moves.get(call.id, "unassigned") for call in calls]
    assert v_measure_score([row.task for row in log], labels) >= 0.95
    assert len(SETS) <= len(found.tasks) <= 2 * len(SETS)
    assert found.unassigned <= 0.05 * len(log)
    kinds = Counter(one.guess.kind for one in found.tasks)
    assert kinds["ner"] == kinds["extraction"] == 1
    assert kinds["screening"] == 3
    assert kinds["classification"] >= 1  # a hundred messages with 77 intents are too few to see a closed set


def test_the_same_log_in_another_order_gives_the_same_tasks(shared_data: Path, tmp_path: Path) -> None:
    log = mixed_log(shared_data, "no prompt", 40, seed=1, tasks=("banking", "spam", "receipts", "estonian"))
    calls = list(calls_of(log))

    first = found_in(tmp_path / "a", calls)
    second = found_in(tmp_path / "b", calls[::-1])

    assert first[1] == second[1]
    assert [(one.name, one.calls) for one in first[0].tasks] == [(one.name, one.calls) for one in second[0].tasks]
    assert {rule.id for rule in first[0].rules} == {rule.id for rule in second[0].rules}


def test_calls_of_the_next_month_come_home_to_their_tasks(shared_data: Path, tmp_path: Path) -> None:
    tasks = ("banking", "spam", "receipts", "estonian", "clauses")
    september = mixed_log(shared_data, "no prompt", 60, seed=1, tasks=tasks)
    october = mixed_log(shared_data, "no prompt", 60, seed=2, tasks=(*tasks, "ner"))
    first, moves = found_in(tmp_path / "a", list(calls_of(september)))
    named = [
        call for row, bare in zip(september, calls_of(september), strict=True)
        for call in calls_of([row], task=moves.get(bare.id, "unassigned"), start=bare.started_at)
    ]  # fmt: skip
    names = {one.name for one in first.tasks}

    Ledger(tmp_path / "b").append(named)
    later = list(calls_of(october, start=datetime(2026, 10, 1, tzinfo=UTC)))
    second, new_moves = found_in(tmp_path / "b", later, known=names)

    new = [one.name for one in second.tasks if one.is_new]
    assert len(new) == 1
    home: dict[str, Counter[str]] = {}
    for row, call in zip(september, calls_of(september), strict=True):
        home.setdefault(row.task, Counter())[moves.get(call.id, "unassigned")] += 1
    right = sum(
        new_moves.get(call.id) == (new[0] if row.task == "ner" else home[row.task].most_common(1)[0][0])
        for row, call in zip(october, later, strict=True)
    )
    assert right >= 0.97 * len(october)


def test_rules_know_new_calls_by_their_template_whoever_is_named_in_it(shared_data: Path, tmp_path: Path) -> None:
    log = mixed_log(shared_data, "prompt with names and dates", 60, seed=1)
    found, moves = found_in(tmp_path, list(calls_of(log)))
    rules = TaskRules(TasksSection(), Learned(found.rules))
    home = {row.task: moves[call.id] for row, call in zip(log, calls_of(log), strict=True)}

    fresh = mixed_log(shared_data, "prompt with names and dates", 30, seed=99)
    named = [rules.task_of((), "m", json.dumps(call.request).encode(), Nobody()) for call in calls_of(fresh)]

    assert sum(name == home[row.task] for name, row in zip(named, fresh, strict=True)) >= 0.97 * len(fresh)


def hostile() -> list[Row]:
    rows = [Row("empty", "", "", "")] * 3
    rows += [Row("one", None, "Only once is this asked, and nothing else like it.", "No.")]
    rows += [Row("deep", "{" * 5_000, "[" * 5_000, '{"a":' * 2_000)]
    rows += [Row("nul", "a\x00b \ud800", "\udfff" * 50, "\ud800")]
    rows += [Row("long", "word " * 50_000, "x" * 200_000, "y" * 300_000)]
    rows += [
        Row("cjk", "请把下面的句子翻译成英文。", f"这是第{number}个句子，今天天气很好。", "ok") for number in range(30)
    ]
    rows += [Row("arabic", None, f"ما هو رصيد حسابي رقم {number}؟", "الرصيد") for number in range(30)]
    return rows


def test_hostile_logs_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = [Row(row.task, clean(row.system or ""), clean(row.asked), clean(row.answer or "")) for row in hostile()]
    calls = list(calls_of(rows))

    found, moves = found_in(tmp_path, calls)

    of = {row.task: moves.get(call.id) for row, call in zip(rows, calls, strict=True)}
    assert of["cjk"] is not None
    assert of["arabic"] is not None
    assert of["cjk"] != of["arabic"]
    assert len(moves) + found.unassigned == len(calls)


def test_a_log_of_one_call_stays_unassigned(tmp_path: Path) -> None:
    found, moves = found_in(tmp_path, list(calls_of([Row("one", None, "What is the time?", "Noon.")])))
    assert (found.tasks, moves, found.unassigned) == ([], {}, 1)


def test_an_empty_ledger_has_no_tasks_to_find(tmp_path: Path) -> None:
    found, moves = found_in(tmp_path, [])
    assert (found.tasks, found.rules, moves) == ([], [], {})


def test_what_was_not_sampled_is_given_to_the_nearest_task(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.tasks.discover.SAMPLE_ROWS", 400)
    log = mixed_log(shared_data, "no prompt", 200, seed=3, tasks=("banking", "spam", "receipts", "estonian", "ner"))
    calls = list(calls_of(log))

    found, moves = found_in(tmp_path, calls)

    assert found.sampled == 400
    labels = [moves.get(call.id, "unassigned") for call in calls]
    assert v_measure_score([row.task for row in log], labels) >= 0.93
    assert found.unassigned <= 0.05 * len(log)


@pytest.mark.parametrize(
    "way", ["paraphrased prompts", "prompts that tasks share", "rotating examples", "context first"]
)
def test_prompts_that_tasks_share_or_that_change_do_not_hide_tasks(way: str, shared_data: Path, tmp_path: Path) -> None:
    log = team_log(shared_data, way, "middle", seed=2)
    calls = list(calls_of(log))

    found, moves = found_in(tmp_path, calls)

    labels = [moves.get(call.id, "unassigned") for call in calls]
    assert v_measure_score([row.task for row in log], labels) >= 0.95
    assert len(SETS) <= len(found.tasks) <= 2 * len(SETS)
    assert found.unassigned <= 0.05 * len(log)


def test_the_same_texts_under_two_prompts_are_two_tasks_if_they_are_answered_in_two_ways(
    shared_data: Path, tmp_path: Path
) -> None:
    terms = mixed_log(shared_data, "no prompt", 80, tasks=("terms",))
    summaries = [replace(row, system="Summarise the passage of the terms of service in one sentence.") for row in terms]
    letters = [
        Row("letters", "Write the reply of our legal department to the passage that a customer quotes.", row.asked,
            f"Dear customer,\n\nthank you for your question. {row.answer}\n\nKind regards,\nLegal Department")
        for row in terms
    ]  # fmt: skip
    log = [*summaries, *letters, *mixed_log(shared_data, "system prompt", 80, tasks=("banking", "spam"))]
    calls = list(calls_of(log))

    _, moves = found_in(tmp_path, calls)

    assert v_measure_score([row.task for row in log], [moves.get(call.id, "-") for call in calls]) >= 0.95
