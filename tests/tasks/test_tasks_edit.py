"""Whatever belongs to a task goes along when it is renamed or merged, or nothing does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, insert, select

from freehold.core.errors import InputError
from freehold.core.identity import content_hash
from freehold.ledger.logs.format import Volume
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes
from freehold.state.database import first_broken_entry
from freehold.state.keys import create_key, list_keys
from freehold.state.schema import (
    ALIASES,
    AUDIT_TRAIL,
    CORRECTIONS,
    DATASETS,
    DECISIONS,
    EVALUATIONS,
    MODELS,
    SPLITS,
    TASK_MOVES,
    TASK_RULES,
    TASKS,
)
from freehold.tasks import moves
from freehold.tasks.assign import Assigner
from freehold.tasks.edit import follow_names, merge_tasks, rename_task, split_task
from freehold.tasks.learned import LearnedRule
from freehold.tasks.moves import MoveFile, follow_moves
from freehold.tasks.store import keep_rules, load_tasks, task_names
from tests.tasks.mixed_logs import Row, calls_of

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.call import Call

OWNING = (CORRECTIONS, SPLITS, DATASETS, MODELS, ALIASES, EVALUATIONS, DECISIONS, TASK_RULES)


def correction(task: str, call: str) -> dict[str, Any]:  # Any: a row of the database
    row = {"call_id": call, "task": task, "kind": "labelled", "output": "ham", "reviewer": None, "reviewed_at": None,
           "split": None}  # fmt: skip
    return {"id": content_hash(row), **row}


def furnish(state: Engine, task: str, call: str = "c1") -> None:
    """One of everything for a task."""
    at = "2026-11-01T00:00:00+00:00"
    with state.begin() as connection:
        connection.execute(
            insert(TASKS).values(name=task, kind="classification", labels=["ham", task], own_prompt="Classify.")
        )
        connection.execute(insert(CORRECTIONS).values(correction(task, call)))
        connection.execute(insert(SPLITS).values(task=task, fingerprint="f" * 64, split="train"))
        connection.execute(
            insert(DATASETS).values(id=f"{task}-d", task=task, sha256="0" * 64, manifest={}, created_at=at)
        )
        connection.execute(
            insert(MODELS).values(id=f"{task}-m", task=task, base="b", dataset_id=f"{task}-d", sha256="0" * 64,
                                  recipe={}, run={}, created_at=at)
        )  # fmt: skip
        connection.execute(insert(ALIASES).values(task=task, alias="champion", model_id=f"{task}-m"))
        connection.execute(
            insert(EVALUATIONS).values(id=f"{task}-e", task=task, dataset_id=f"{task}-d", record={}, created_at=at)
        )
        connection.execute(
            insert(DECISIONS).values(id=f"{task}-v", task=task, verdict="own", sha256="0" * 64, signature="s",
                                     created_at=at)
        )  # fmt: skip
        keep_rules(
            connection, [LearnedRule(task, "system", {"anchors": [f"classify for {task} now"], "longest": None})]
        )


def tasks_in(state: Engine) -> set[str]:
    with state.connect() as connection:
        return {task for table in OWNING for task in connection.execute(select(table.c.task)).scalars()}


def test_everything_of_a_task_goes_along_when_it_is_renamed(state: Engine, tmp_path: Path) -> None:
    furnish(state, "a")
    create_key(state, "desk", task="a", tasks=["a", "b*"])
    ledger = Ledger(tmp_path / "calls")
    ledger.append(calls_of([Row("a", None, "Hello", "ham")] * 1, task="a"))

    edited = rename_task(state, "a", "spam", known={"a"})
    follow_moves(state, ledger, tmp_path)

    assert tasks_in(state) == {"spam"}
    assert edited.carried == dict.fromkeys(
        ("datasets", "models", "evaluations", "decisions", "rules", "corrections", "aliases", "keys"), 1
    )
    assert set(load_tasks(state)) == {"spam"}
    assert ledger.tasks() == {"spam": 1}
    (key,) = list_keys(state)
    assert (key.task, list(key.tasks)) == ("spam", ["spam", "b*"])
    with state.connect() as connection:
        assert connection.execute(select(CORRECTIONS.c.id)).scalar() == correction("spam", "c1")["id"]
        assert connection.execute(select(AUDIT_TRAIL.c.action)).scalars().all()[-1] == "task.renamed"
        assert first_broken_entry(connection) is None


def test_calls_that_come_with_an_old_name_are_of_the_task_of_today(state: Engine) -> None:
    furnish(state, "a")
    rename_task(state, "a", "b", known={"a"})
    rename_task(state, "b", "c", known={"b"})

    assert task_names(state) == {"a": "c", "b": "c"}
    (call,) = calls_of([Row("a", None, "Hello", "ham")], task="a")
    assert Assigner(names=task_names(state)).task_of(call) == "c"
    assert follow_names(state, ["a", "other"]) == {"a": "c"}


def test_a_rename_can_be_taken_back(state: Engine) -> None:
    furnish(state, "a")
    rename_task(state, "a", "b", known={"a"})
    rename_task(state, "b", "a", known={"b"})

    assert tasks_in(state) == {"a"}
    assert task_names(state) == {"b": "a"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("supprt", "x", "There is no task 'supprt'. Did you mean 'support'?"),
        ("support", "a/b", "The new name begins with a dot, or holds '/'"),
        ("support", "support", "The task is named 'support' already."),
        ("support", "other", "There is a task 'other' already. To put the two together: freehold tasks merge"),
        ("support", "unassigned", "The new name is reserved"),
        ("support", "Unassigned", "The new name is reserved"),
        ("unassigned", "support2", "'unassigned' is no task"),
        ("support", "x\x1b[31m", "The new name begins with a dot, or holds"),
        ("support", "x\u202ey", "The new name begins with a dot, or holds"),
        ("support", "x" * 10_000, "The new name is longer than 100 bytes"),
        ("support", "supp\u043ert", "The new name mixes letters that look alike, of Cyrillic and Latin"),
        ("support", "\uff53upport", "The new name holds letters that only look like others"),
        ("private", "open", "says what is kept of 'private'. Write the same for 'open' there first"),
    ],
)
def test_a_name_that_cannot_be_given_changes_nothing(state: Engine, old: str, new: str, message: str) -> None:
    furnish(state, "support")
    with pytest.raises(InputError, match=message[:60].replace("(", "\\(").replace("?", "\\?")):
        rename_task(state, old, new, known={"support", "other", "private", "unassigned"}, policies={"private"})
    assert tasks_in(state) == {"support"}


def test_merged_tasks_hold_out_what_either_held_out_and_keep_the_champion_of_the_one_that_stays(state: Engine) -> None:
    furnish(state, "a", "c1")
    furnish(state, "b", "c2")
    with state.begin() as connection:
        connection.execute(SPLITS.update().where(SPLITS.c.task == "a").values(split="test"))

    edited = merge_tasks(state, ["a"], "b", known={"a", "b"})

    assert tasks_in(state) == {"b"}
    assert edited.left == {"aliases": 1}
    assert load_tasks(state)["b"].labels == ("a", "b", "ham")
    with state.connect() as connection:
        assert connection.execute(select(SPLITS.c.split)).scalars().all() == ["test"]
        assert connection.execute(select(ALIASES.c.model_id)).scalars().all() == ["b-m"]


def test_a_task_is_not_merged_with_itself(state: Engine) -> None:
    with pytest.raises(InputError, match="cannot be merged with itself"):
        merge_tasks(state, ["a"], "a", known={"a"})


def test_corrections_go_with_their_calls_and_held_out_cases_stay_held_out(state: Engine, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "calls")
    stays, goes = calls_of([Row("a", None, "One", "ham"), Row("a", None, "Two", "spam")], task="a")
    ledger.append([stays, goes])
    furnish(state, "a", goes.id)
    with MoveFile(tmp_path) as file:
        file.add([(goes.id, "new")])

    split_task(state, "a", file, tasks={"new": 1})
    follow_moves(state, ledger, tmp_path)

    assert ledger.tasks() == {"a": 1, "new": 1}
    with state.connect() as connection:
        assert connection.execute(select(CORRECTIONS.c.task)).scalars().all() == ["new"]
        sides = connection.execute(select(SPLITS.c.task, SPLITS.c.split).order_by(SPLITS.c.task)).all()
    assert [tuple(side) for side in sides] == [("a", "train"), ("new", "train")]
    assert not list(tmp_path.glob("move-*"))


def test_a_death_between_the_database_and_the_ledger_is_made_good(
    state: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(state, "a")
    ledger = Ledger(tmp_path / "calls")
    ledger.append(calls_of([Row("a", None, "Hello", "ham")], task="a"))
    rename_task(state, "a", "b", known={"a"})

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(moves, "_rename", die)
        with pytest.raises(KeyboardInterrupt):
            follow_moves(state, ledger, tmp_path)
    assert ledger.tasks() == {"a": 1}

    assert follow_moves(state, ledger, tmp_path) == 1
    assert follow_moves(state, ledger, tmp_path) == 0
    assert ledger.tasks() == {"b": 1}
    with state.connect() as connection:
        assert connection.execute(select(TASK_MOVES)).all() == []


def bare(**facts: Any) -> Call:  # Any: fields of a call
    (call,) = calls_of([Row("", None, "Hello", "ham")], task="")
    return replace(call, request=None, response=None, model_requested=None, **facts)


class Key:
    def __init__(self, kind: str, value: str) -> None:
        self.kind, self.value = kind, value


def test_a_call_is_of_its_own_task_else_of_its_key_else_of_whoever_called() -> None:
    assigner = Assigner()
    assert assigner.task_of(bare(task="own"), Key("tag", "t")) == "own"
    assert assigner.task_of(bare(), Key("metadata", "invoice triage")) == "invoice triage"
    assert assigner.task_of(bare(), Key("prompt", "../../etc/passwd")) == "etc-passwd"
    assert assigner.task_of(bare(), Key("prompt", "7b0c9a52-1f4e-4c39-9c11-0a2b3c4d5e6f")) == "prompt-0a2b3c4d5e6f"
    assert assigner.task_of(bare(key_id="billing")) == "billing"
    assert assigner.task_of(replace(bare(), model_served="openai/gpt-5-mini")) == "openai-gpt-5-mini"
    assert assigner.task_of(bare()) == "unassigned"
    assert assigner.task_of(bare(), Key("tag", "\x00\x01")) == "unassigned"


def test_a_rule_that_was_learned_is_known_in_the_request_and_at_import() -> None:
    from freehold.tasks.learned import Learned

    rule = LearnedRule(
        "spam", "system", {"anchors": ["is this text message spam?", "reply spam or ham."], "longest": None}
    )
    (call,) = calls_of(
        [Row("", "Dear Ann,\nIs this  text message SPAM? (7) Reply spam or ham.", "Win!", "spam")], task=""
    )
    assert Assigner(learned=Learned([rule])).task_of(call) == "spam"
    (other,) = calls_of([Row("", "Reply spam or ham. Is this text message spam?", "Win!", "spam")], task="")
    assert Assigner(learned=Learned([rule])).task_of(other) == "unassigned"  # the pieces stand in another order
    assert json.loads(json.dumps(dict(rule.body))) == rule.body


def test_rows_known_only_by_their_sums_follow_a_new_name(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path / "volumes")
    volumes.append([Volume(started_at=None, task=task, calls=7, source_id=f"{task}-1") for task in ("spam", "other")])
    volumes.append([Volume(started_at=None, task=None, calls=7, source_id="nobody's")])

    first = volumes.rename({"spam": "screening"})

    assert first == 1
    assert volumes.rename({"spam": "screening"}) == 0
    tasks = [row["task"] for batch in volumes.read() for row in batch.to_pylist()]
    assert sorted(map(str, tasks)) == ["None", "other", "screening"]


@pytest.mark.parametrize("tasks", [("a", "unassigned"), ("unassigned", "a")])
def test_calls_that_are_like_no_others_are_no_task_to_merge(state: Engine, tasks: tuple[str, str]) -> None:
    furnish(state, "a")
    with pytest.raises(InputError, match="'unassigned' is no task"):
        merge_tasks(state, tasks[:1], tasks[1], known={"a", "unassigned"})
    assert tasks_in(state) == {"a"}
