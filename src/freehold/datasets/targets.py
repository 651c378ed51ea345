"""The answer that an example teaches: checked against its task, in one spelling, personal data masked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.text.known_values import known_number
from freehold.text.pii import mask_pii

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.core.task import Task


@dataclass(frozen=True, slots=True)
class Target:
    """An answer in canonical form, or why it cannot be one."""

    text: str
    reason: str | None = None
    """None when it is usable, else `empty`, `label-unknown` or `invalid-json`."""


def canonical_target(task: Task, output: str) -> Target:
    """The answer in the one spelling in which the task's examples write it.

    Classification: the label, without spaces around it. Extraction: the object with its keys in the schema's
    order (unknown ones after them, sorted), as `json.dumps(value, ensure_ascii=False)` writes it, so with
    `, ` and `: `. Text: the text without spaces around it.
    """
    text = clean(output).strip()
    if not text:
        return Target(text, "empty")
    if task.kind == "classification":
        return Target(text, None if text in task.labels else "label-unknown")
    return _canonical_json(text, task.json_schema) if task.kind == "extraction" else Target(text)


def mask_target(task: Task, target: str, known: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """A target with the placeholders of its input, and those that it adds itself.

    A label is no personal data. In a JSON object only values are masked, so that it stays JSON. A value that the
    input showed is masked wherever it stands in the target, for the own model never saw it.
    """
    if task.kind == "classification" and target in task.labels:
        return target, known
    if task.kind == "extraction":
        value = _parse(target)
        if value is not None:
            masked, mapping = _mask_values(value, known)
            return (target, known) if masked == value else (_dump(masked), mapping)
    result = mask_pii(target, known=known)
    return result.text, result.mapping


def clean(text: str) -> str:
    """A text that UTF-8 can write: lone surrogates become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _canonical_json(text: str, schema: Mapping[str, Any] | None) -> Target:
    value = _parse(text)
    return Target(text, "invalid-json") if value is None else Target(_dump(_in_order(value, schema)))


def _parse(text: str) -> dict[str, Any] | None:  # Any: a JSON object of whatever schema
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _dump(value: Any) -> str:  # Any: parsed JSON
    return json.dumps(value, ensure_ascii=False)


def _in_order(value: Any, schema: Mapping[str, Any] | None) -> Any:  # Any: parsed JSON and JSON Schema
    known = schema or {}
    if isinstance(value, list):
        return [_in_order(item, known.get("items")) for item in value]
    if not isinstance(value, dict):
        return value
    properties = known.get("properties") or {}
    keys = [key for key in properties if key in value] + sorted(value.keys() - properties.keys())
    return {key: _in_order(value[key], properties.get(key)) for key in keys}


def _mask_values(value: Any, known: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:  # Any: parsed JSON
    """Mask each string and each whole number (a card or a telephone number may be written as one)."""
    if isinstance(value, dict):
        masked = {}
        for key, item in value.items():
            masked[key], known = _mask_values(item, known)
        return masked, known
    if isinstance(value, list):
        items = []
        for item in value:
            masked_item, known = _mask_values(item, known)
            items.append(masked_item)
        return items, known
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(whole, int) and not isinstance(whole, bool):
        placeholder = known_number(whole, known)
        if placeholder is not None:
            return placeholder, known
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        result = mask_pii(str(value), known=known)
        return (value if result.text == str(value) else result.text), result.mapping
    return value, known
