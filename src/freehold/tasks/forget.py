"""After a purge: tasks forget what only calls that are gone had shown, such as a template, a word or a label."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, delete, insert, select, update

from freehold.state.database import now
from freehold.state.schema import CORRECTIONS, DATASETS, MODELS, TASK_NAMES, TASK_RULES, TASKS
from freehold.tasks.evidence import evidence_of
from freehold.tasks.learned import FIRST_ASKED, Learned, LearnedRule, first_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Connection

    from freehold.core.call import Call
    from freehold.ledger.store import Ledger


@dataclass(slots=True)
class Forgotten:
    """What tasks no longer know."""

    rules: int = 0
    labels: int = 0
    tasks: int = 0
    """Without any call, and taken out with their definition."""
    kept: list[str] = field(default_factory=list)
    """Without any call, whose definition stays because a dataset or a model was made by it."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As `purge --json` has it."""
        return {"rules": self.rules, "labels": self.labels, "tasks": self.tasks, "definitions_left": self.kept}


def forget_gone(engine: Engine, ledger: Ledger, touched: Iterable[str]) -> Forgotten:
    """Let tasks that lost calls, or what was said in them, forget whatever no call that stays bears out.

    A task without a call goes with its rules, its labels and the names it had; where a dataset or a model was made by
    its definition, that stays with them. It may be done again at any time.

    Args:
        engine: Of the state database.
        ledger: After the purge.
        touched: Names of tasks.
    """
    done, left = Forgotten(), ledger.tasks()
    for task in sorted(set(touched)):
        if left.get(task):
            _forget_unseen(engine, ledger, task, done)
        else:
            _forget_whole(engine, task, done)
    return done


def _forget_whole(engine: Engine, task: str, done: Forgotten) -> None:
    in_use = _is_in_use(engine, task)
    with engine.begin() as connection:
        row = connection.execute(select(TASKS.c.labels).where(TASKS.c.name == task)).one_or_none()
        own = TASK_RULES.c.task == task
        words = connection.execute(select(TASK_RULES.c.id).where(own, TASK_RULES.c.kind == "words")).first()
        # Words decide by comparison: without one of the tasks, its calls would be given to the others.
        of_all = delete(TASK_RULES).where(own | (TASK_RULES.c.kind == "words") if words else own)
        done.rules += connection.execute(of_all).rowcount
        if row is None:
            return
        if in_use:
            done.kept.append(task)
            return
        connection.execute(delete(TASK_NAMES).where(TASK_NAMES.c.name == task))
        connection.execute(delete(TASKS).where(TASKS.c.name == task))
        done.labels += len(row.labels)
        done.tasks += 1


def _forget_unseen(engine: Engine, ledger: Ledger, task: str, done: Forgotten) -> None:
    """Of a task that has calls: what none of them shows any more."""
    in_use = _is_in_use(engine, task)
    with engine.connect() as connection:
        row = connection.execute(select(TASKS).where(TASKS.c.name == task)).mappings().one_or_none()
        rules = connection.execute(select(TASK_RULES).where(TASK_RULES.c.task == task)).mappings().all()
        said = connection.execute(select(CORRECTIONS.c.output).where(CORRECTIONS.c.task == task)).scalars().all()
    labels = set() if row is None or in_use else set(row["labels"])
    values = set() if row is None or in_use else set(_closed_values(row["json_schema"]))
    unseen = _Unseen({rule["id"]: LearnedRule(task, rule["kind"], rule["body"]) for rule in rules}, labels, values)
    for answer in said:
        unseen.answer(answer)
    if not unseen.is_empty:
        unseen.read(ledger.read(task))
    with engine.begin() as connection:
        for identifier in sorted(unseen.pieces):
            connection.execute(delete(TASK_RULES).where(TASK_RULES.c.id == identifier))
        for identifier, words in sorted(unseen.words.items()):
            _drop_words(connection, unseen.rules[identifier], words)
        done.rules += len(unseen.pieces)
        done.labels += len(unseen.labels)
        if row is not None and (unseen.labels or unseen.values):
            schema = _without_values(row["json_schema"], unseen.values)
            stay = [label for label in row["labels"] if label not in unseen.labels]
            change = update(TASKS).where(TASKS.c.name == task).values(labels=stay, json_schema=schema)
            connection.execute(change)


def _is_in_use(engine: Engine, task: str) -> bool:
    """A dataset or a model was made by its definition."""
    with engine.connect() as connection:
        made = (select(table.c.id).where(table.c.task == task).limit(1) for table in (DATASETS, MODELS))
        return any(connection.execute(query).scalar() is not None for query in made)


class _Unseen:
    """What no call has shown yet, of all that is known of a task."""

    def __init__(self, rules: Mapping[str, LearnedRule], labels: set[str], values: set[str]) -> None:
        self.rules, self.labels, self.values = rules, labels, values
        self.pieces = {name: Learned([rule]) for name, rule in rules.items() if rule.kind != "words"}
        self.words = {name: set(rule.body["weights"]) for name, rule in rules.items() if rule.kind == "words"}

    @property
    def is_empty(self) -> bool:
        return not (self.labels or self.values or self.pieces or any(self.words.values()))

    def answer(self, answer: str) -> None:
        self.labels.discard(answer.strip())
        if self.values:
            self.values -= {value for value in self.values if value in answer or json.dumps(value)[1:-1] in answer}

    def read(self, calls: Iterable[Call]) -> None:
        """Look at calls until everything has been seen."""
        for call in calls:
            shown = evidence_of(call.request, call.response)
            self.answer(shown.answer)
            for name in [name for name, rule in self.pieces.items() if rule.task_of(shown.system, shown.asked)]:
                del self.pieces[name]
            if self.words:
                known = set(first_words(shown.asked[:FIRST_ASKED]))
                for words in self.words.values():
                    words.difference_update(known)
            if self.is_empty:
                return


def _drop_words(connection: Connection, rule: LearnedRule, words: set[str]) -> None:
    """The same rule without some words."""
    if not words:
        return
    weights = {word: weight for word, weight in rule.body["weights"].items() if word not in words}
    less = LearnedRule(rule.task, rule.kind, {**rule.body, "weights": weights})
    connection.execute(delete(TASK_RULES).where(TASK_RULES.c.id == rule.id))
    row = {"id": less.id, "task": less.task, "kind": less.kind, "body": dict(less.body), "created_at": now()}
    connection.execute(insert(TASK_RULES), [row])


def _closed_values(schema: Mapping[str, Any] | None) -> Iterator[str]:  # Any: JSON
    """Texts that stand in the closed sets of a schema's fields."""
    for field_schema in (schema or {}).get("properties", {}).values():
        yield from (value for value in field_schema.get("enum", ()) if isinstance(value, str))


def _without_values(schema: dict[str, Any] | None, values: set[str]) -> dict[str, Any] | None:  # Any: JSON
    """The schema, its closed sets without these; a set of which nothing stays is any text."""
    if schema is None or not values:
        return schema
    fields: dict[str, Any] = {}
    for name, of_field in schema.get("properties", {}).items():
        stay = [value for value in of_field.get("enum", ()) if value not in values]
        fields[name] = of_field if "enum" not in of_field else {"enum": stay} if stay else {"type": "string"}
    return {**schema, "properties": fields}
