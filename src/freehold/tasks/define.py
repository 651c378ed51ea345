"""Guesses what kind of work a task is from the answers that humans gave, and remembers it."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, insert, select, update

from freehold.core.errors import InputError
from freehold.core.task import Task, TaskKind, WorkKind
from freehold.state.database import record_action
from freehold.state.schema import DATASETS, TASKS
from freehold.tasks.kinds import Guess
from freehold.text.pii import mask_pii

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LABELS_MAX = 300
_LABEL_CHARACTERS = 80
_LABEL_WORDS = 6
_ENUM_MAX = 12
_ENUM_REPEATS = 5
_MASKABLE_DIGITS = 6
"""Digits from which on a value may be masked in a dataset because its input tells what it is."""
_SAMPLE = 200_000
_MOST_NAMED = 40
"""Tasks that a message lists."""


def guess_task(name: str, outputs: Iterable[str], *, kind: TaskKind | None = None) -> Task:
    """The task that these answers belong to.

    All answers are JSON objects: extraction, with the schema they share. Few short answers that repeat:
    classification, with the answers as labels. Anything else: text. Answers with personal data are no labels, and
    no closed set of a field: a dataset masks them.

    Args:
        name: Name of the task.
        outputs: Answers, humans' where there are any.
        kind: Taken as given instead of guessed.

    Raises:
        InputError: the answers do not fit the kind that was given.
    """
    answers = Counter(output.strip() for output in islice(outputs, _SAMPLE))
    objects = [value for value in map(_json_object, answers) if value is not None]
    chosen = kind or _guess_kind(answers, objects)
    words = name.replace("_", " ").replace("-", " ").strip() or name
    match chosen:
        case "classification":
            if len(answers) > LABELS_MAX:
                raise InputError(
                    f"Task {name!r}: {len(answers)} different answers are no label set; "
                    f"at most {LABELS_MAX} are. Import it with --kind text."
                )
            personal = sum(map(_is_personal, answers))
            if personal:
                raise InputError(
                    f"Task {name!r}: {personal} of {len(answers)} different answers hold personal data, which no "
                    "label may. Import it with --kind text."
                )
            return Task(name=name, kind=chosen, labels=tuple(sorted(answers)), own_prompt=f"Classify: {words}.")
        case "extraction":
            if not objects:
                raise InputError(f"Task {name!r}: no answer is a JSON object. Import it with --kind text.")
            schema = _schema_of(objects)
            fields = ", ".join(schema["properties"])
            return Task(name=name, kind=chosen, json_schema=schema, own_prompt=f"Extract as JSON: {fields}.")
        case _:
            return Task(name=name, kind=chosen, own_prompt=f"Task: {words}.")


def _guess_kind(answers: Counter[str], objects: Sequence[Mapping[str, Any]]) -> TaskKind:
    if objects and len(objects) >= 0.9 * len(answers):
        return "extraction"
    is_closed = all(map(_is_short, answers)) and 0 < len(answers) <= min(LABELS_MAX, max(1, answers.total() // 2))
    if is_closed and not any(map(_is_personal, answers)):
        return "classification"
    return "text"


def kind_confidence(kind: TaskKind, outputs: Iterable[str]) -> float | None:
    """How well these answers bear a guessed kind out, from 0 to 1; None: there is no answer.

    Extraction: share of the answers that are JSON objects. Classification: chance that the next answer is one that
    has been seen, by Good and Turing: one minus the share of answers that came up once. Text: the share of answers
    that are no JSON objects, and long or unique. Few answers prove little: one for and one against are added to
    them (Laplace's rule).
    """
    answers = Counter(output.strip() for output in islice(outputs, _SAMPLE))
    if not answers:
        return None
    objects = sum(number for text, number in answers.items() if _json_object(text) is not None)
    once = sum(number == 1 for number in answers.values())
    match kind:
        case "extraction":
            found = objects
        case "classification":
            found = answers.total() - once
        case "text":
            found = sum(
                number
                for text, number in answers.items()
                if _json_object(text) is None and (number == 1 or not _is_short(text))
            )
    return (found + 1) / (answers.total() + 2)


def _is_short(text: str) -> bool:
    return len(text) <= _LABEL_CHARACTERS and len(text.split()) <= _LABEL_WORDS


def _is_personal(answer: str) -> bool:
    return mask_pii(answer).text != answer


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value else None


def _schema_of(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A JSON Schema that all the objects obey: fields in the order they usually have."""
    order: dict[str, list[int]] = {}
    for value in objects:
        for position, key in enumerate(value):
            order.setdefault(key, []).append(position)
    keys = sorted(order, key=lambda key: (sum(order[key]) / len(order[key]), key))
    properties = {key: _field_schema([value[key] for value in objects if key in value]) for key in keys}
    required = [key for key in keys if len(order[key]) == len(objects)]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _field_schema(values: Sequence[Any]) -> dict[str, Any]:
    types = {_type_name(value) for value in values}
    if types == {"string"}:
        counts = Counter(values)
        is_closed = len(counts) <= _ENUM_MAX and min(counts.values()) >= _ENUM_REPEATS
        if is_closed and not any(map(_may_be_masked, counts)):
            return {"enum": sorted(counts)}
    if any(_is_whole(value) and _may_be_masked(str(int(value))) for value in values):
        types.add("string")  # the placeholder that stands for such a number
    if {"integer", "number"} <= types <= {"integer", "number", "null", "string"}:
        types.discard("integer")
    names = sorted(types)
    return {"type": names[0] if len(names) == 1 else names}


def _is_whole(value: object) -> bool:
    return _type_name(value) == "integer" or (isinstance(value, float) and value.is_integer())


def _may_be_masked(value: str) -> bool:
    """A dataset may replace it: it is personal data, or long enough for its input to say so."""
    return sum(map(str.isdigit, value)) >= _MASKABLE_DIGITS or _is_personal(value)


def _type_name(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def define_task(engine: Engine, task: Task) -> Task:
    """Remember the task as its answers make it.

    Until a dataset of the task exists, a new definition takes the place of the old one. From then on kind and
    prompt stay, labels are only added, and fields are renewed.

    Raises:
        InputError: a dataset of the task exists, as another kind.
    """
    columns = {
        "kind": task.kind,
        "labels": list(task.labels),
        "json_schema": task.json_schema,
        "own_prompt": task.own_prompt,
    }
    with engine.begin() as connection:
        row = connection.execute(select(TASKS).where(TASKS.c.name == task.name)).mappings().one_or_none()
        if row is None:
            connection.execute(insert(TASKS).values(name=task.name, **columns))
            return task
        if is_in_use(engine, task.name):
            if row["kind"] != task.kind:
                raise InputError(
                    f"Task {task.name!r} has datasets as {row['kind']} and cannot become {task.kind}. "
                    "Import the rows under another name with --task."
                )
            columns |= {"labels": sorted({*row["labels"], *task.labels}), "own_prompt": row["own_prompt"]}
        connection.execute(update(TASKS).where(TASKS.c.name == task.name).values(columns))
    return load_task(engine, task.name)


_HELD_TO: Mapping[WorkKind, tuple[TaskKind, ...]] = {
    "classification": ("classification", "extraction"), "screening": ("classification", "extraction"),
    "extraction": ("extraction",), "ner": ("extraction", "text"), "summarisation": ("text",), "chat": ("text",),
    "code": ("text",), "other": ("text",),
}  # fmt: skip
"""What answers of a kind of work may be held to: the first one that they fit."""


def form_of(kind: WorkKind | TaskKind, outputs: Sequence[str]) -> TaskKind:
    """What the answers of a kind of work are held to, by what they look like."""
    if kind == "text":
        return "text"
    forms = _HELD_TO[kind]
    if len(forms) == 1:
        return forms[0]
    answers = Counter(output.strip() for output in outputs)
    objects = sum(_json_object(text) is not None for text in answers)
    return (
        "extraction"
        if answers and 2 * objects >= len(answers)
        else next(each for each in forms if each != "extraction")
    )


def in_accord(guess: Guess | None, task: Task, confidence: float | None) -> Guess | None:
    """A guess that does not contradict what the task's answers are held to; None: nothing speaks for any.

    Humans' answers define the task, models' answers the guess: where they differ, humans are right.
    """
    if guess is not None and task.kind in _HELD_TO[guess.kind]:
        kind, sure = guess.kind, guess.confidence
        if kind == "classification" and task.kind == "classification" and len(task.labels) == 2:
            kind = "screening"
        if kind in {"classification", "screening", "extraction"} and confidence is not None:
            sure = confidence
        return Guess(kind, sure)
    if confidence is None and guess is None:
        return None
    kinds: dict[TaskKind, WorkKind] = {
        "classification": "screening" if len(task.labels) == 2 else "classification", "extraction": "extraction",
        "text": "other",
    }  # fmt: skip
    return Guess(kinds[task.kind], 0.5 if confidence is None else confidence)


def set_kind(engine: Engine, name: str, kind: WorkKind | TaskKind, outputs: Sequence[str]) -> Task:
    """Let a person say what kind of work a task is; it stays that until somebody says otherwise.

    Raises:
        InputError: the answers do not fit the kind, or a dataset has settled another one.
    """
    task = define_task(engine, guess_task(name, outputs, kind=form_of(kind, outputs)))
    work: WorkKind = "other" if kind == "text" else kind
    values = {"work": work, "work_confidence": None, "work_source": "set", "origin": None}
    with engine.begin() as connection:
        connection.execute(update(TASKS).where(TASKS.c.name == name).values(values))
        record_action(connection, "task.set", name, {"kind": work, "held_to": task.kind})
    return load_task(engine, name)


def is_in_use(engine: Engine, name: str) -> bool:
    """A dataset of this task was built: its kind is settled."""
    with engine.connect() as connection:
        return connection.execute(select(DATASETS.c.id).where(DATASETS.c.task == name).limit(1)).scalar() is not None


def load_task(engine: Engine, name: str) -> Task:
    """The task of this name.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    with engine.connect() as connection:
        row = connection.execute(select(TASKS).where(TASKS.c.name == name)).mappings().one_or_none()
        some = select(TASKS.c.name).order_by(TASKS.c.name).limit(_MOST_NAMED)
        known = () if row is not None else connection.execute(some).scalars().all()
    if row is None:
        raise InputError(
            f"There is no task {name!r}. " + (f"Known: {', '.join(known)}." if known else "Import a log first.")
        )
    return Task(
        name=row["name"],
        kind=row["kind"],
        labels=tuple(row["labels"]),
        json_schema=row["json_schema"],
        work=row["work"],
        own_prompt=row["own_prompt"],
    )


def known_kind(engine: Engine, name: str) -> TaskKind | None:
    """The kind under which a task is known already, or None."""
    with engine.connect() as connection:
        kind: TaskKind | None = connection.execute(select(TASKS.c.kind).where(TASKS.c.name == name)).scalar()
    return kind
