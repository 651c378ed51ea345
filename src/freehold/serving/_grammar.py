"""What a task may be answered, as a grammar that the engine obeys.

llama.cpp's server has two grammar engines. GBNF lets a model spell a label in tokens it never learned,
and with 300 labels halves its speed; JSON under it may have any white space. So llguidance is used: it keeps
to the tokenizer's own cuts, costs nothing that can be measured, and writes JSON with the separators of the
training data. What it cannot compile it silently leaves free, so everything is checked here first.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, assert_never

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from freehold.core.task import Task

_HEADER = "%llguidance {}\nstart: "
_SEPARATORS = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_KEYWORDS = frozenset(
    {"type", "enum", "const", "anyOf", "properties", "required", "additionalProperties", "items"}
    | {"title", "description", "$schema"}
)


def task_grammar(task: Task) -> str | None:
    r"""The grammar of a task's answers; None for a text task, which may say anything.

    >>> from freehold.core.task import Task
    >>> print(task_grammar(Task(name="t", kind="classification", labels=("no", "yes"), own_prompt="")))
    %llguidance {}
    start: "no" | "yes"

    Raises:
        InputError: a label or the schema holds something that the engine would not obey.
    """
    match task.kind:
        case "classification":
            _check_labels(task)
            return _HEADER + " | ".join(json.dumps(label, ensure_ascii=False) for label in task.labels)
        case "extraction":
            schema = task.json_schema or {"type": "object"}
            faults = list(_schema_faults(schema, "json_schema"))
            if faults:
                raise InputError(f"Task {task.name!r}: {'; '.join(faults)}.")
            return f"{_HEADER}%json {json.dumps({**schema, 'x-guidance': _SEPARATORS}, ensure_ascii=False)}"
        case "text":
            return None
        case unreachable:
            assert_never(unreachable)


def _check_labels(task: Task) -> None:
    if not task.labels:
        raise InputError(f"Task {task.name!r} has no labels, so nothing could be answered.")
    for label in task.labels:
        is_clean = all(character.isprintable() or character in "\n\t" for character in label)
        if not is_clean or "<|" in label:
            raise InputError(
                f"Task {task.name!r}: label {label!r} holds control characters or '<|', which the engine "
                "cannot be held to. Rename it."
            )


def _schema_faults(schema: Any, where: str) -> Iterator[str]:  # Any: JSON
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"{where} is {schema!r}, it must be an object"
        return
    unknown = sorted(schema.keys() - _KEYWORDS)
    if unknown:
        yield f"{where} uses {', '.join(map(repr, unknown))}, which the engine would not be held to"
    types = schema.get("type", [])
    for name in [types] if isinstance(types, str) else types:
        if name not in _TYPES:
            yield f"{where}.type is {name!r}, it must be one of {', '.join(sorted(_TYPES))}"
    yield from _parts_faults(schema, where)


def _parts_faults(schema: Mapping[str, Any], where: str) -> Iterator[str]:  # Any: JSON
    for name, part in schema.get("properties", {}).items():
        yield from _schema_faults(part, f"{where}.properties.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from _schema_faults(schema[keyword], f"{where}.{keyword}")
    for index, part in enumerate(schema.get("anyOf", ())):
        yield from _schema_faults(part, f"{where}.anyOf[{index}]")
