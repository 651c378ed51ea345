"""Scenario files and `--set`: numbers of one's own in place of the shipped ones, and where each was given."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import yaml

from freehold.core.errors import InputError
from freehold.economics.resembling import resembling
from freehold.economics.scenario import GIVEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from freehold.economics.scenario import Spread

NUMBERS = ("queries_per_month", "input_tokens", "output_tokens")
WHOLE_NUMBERS = ("gpus", "seed", "draws")
SWITCHES = ("own_bought",)
WORDS = ("rent", "own", "hosted", "tuned", "precision")
KEYS = (*NUMBERS, *WHOLE_NUMBERS, *SWITCHES, *WORDS, "as_of", "set")
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Given:
    """A number in place of a shipped one, and who says so."""

    value: Spread
    source: str = GIVEN


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """What a scenario file holds: options of the command by name, and numbers of the model."""

    options: Mapping[str, Any] = field(default_factory=dict)  # Any: a number, a word or a day, by its key
    values: Mapping[str, Given] = field(default_factory=dict)


def parse_settings(texts: Iterable[str]) -> dict[str, Given]:
    """Values of `--set name=value` and `--set name=low,typical,high`.

    Raises:
        InputError: a text is not of that form, or a name is given two values.
    """
    found: dict[str, Given] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise InputError(f"--set {text!r}; it must read name=value or name=low,typical,high.")
        given = Given(_spread([_number(part, f"--set {name}") for part in value.split(",")], f"--set {name}"))
        if found.setdefault(name, given) != given:
            raise InputError(f"--set {name} is given twice with different values. Leave one of them out.")
    return found


def read_scenario(path: Path) -> ScenarioFile:
    """The scenario in a YAML file.

    Raises:
        InputError: it cannot be read, is no YAML mapping, or holds unknown, doubled or impossible entries; with file
            and line.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror}). A scenario is a YAML file.") from error
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: it is larger than {_MOST_BYTES:,} bytes; no scenario is.")
    try:
        root = yaml.compose(content.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: it is no UTF-8 text.") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}" if mark is None else f"{path}, line {mark.line + 1}"
        raise InputError(f"{where}: it is no YAML ({getattr(error, 'problem', None) or 'nested too deep'}).") from error
    if root is None:
        return ScenarioFile()
    options: dict[str, Any] = {}
    values: dict[str, Given] = {}
    for key, node, where in _entries(root, str(path)):
        if key == "set":
            values = {name: _given(inner, at) for name, inner, at in _entries(node, str(path))}
        elif key in KEYS:
            options[key] = _option(key, node, where)
        else:
            near = resembling(key, KEYS, otherwise=f"there are {', '.join(sorted(KEYS))}")
            raise InputError(f"{where}: {key!r} is unknown; {near}. Numbers of the model stand under set.")
    return ScenarioFile(options, values)


def _entries(node: yaml.Node, path: str) -> list[tuple[str, yaml.Node, str]]:
    """Key, value and place of each entry of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}, line {node.start_mark.line + 1}: a mapping (name: value) must stand here.")
    found: dict[str, tuple[str, yaml.Node, str]] = {}
    for key, value in node.value:
        where = f"{path}, line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{where}: a name must stand before the colon.")
        if key.value in found:
            raise InputError(f"{where}: {key.value!r} stands there twice. Leave one of them out.")
        found[key.value] = (key.value, value, where)
    return list(found.values())


def _given(node: yaml.Node, where: str) -> Given:
    """A number, [low, typical, high], or {value: either of these, source: words}."""
    if isinstance(node, yaml.MappingNode):
        parts = {name: (inner, at) for name, inner, at in _entries(node, where.rpartition(", line ")[0])}
        if "value" not in parts or not parts.keys() <= {"value", "source"}:
            raise InputError(f"{where}: it must be a number, [low, typical, high], or {{value: …, source: …}}.")
        source = _word(*parts["source"]) if "source" in parts else ""
        return Given(_given(*parts["value"]).value, f"{GIVEN}: {source}" if source else GIVEN)
    if isinstance(node, yaml.SequenceNode):
        return Given(_spread([_number(_word(part, where), where) for part in node.value], where))
    return Given(_number(_word(node, where), where))


def _option(key: str, node: yaml.Node, where: str) -> float | int | str | date:
    text = _word(node, where)
    if key in WORDS:
        return text
    if key in SWITCHES:
        if text.lower() not in {"true", "false"}:
            raise InputError(f"{where}: {key} is {text!r}; it must be true or false.")
        return text.lower() == "true"
    if key == "as_of":
        try:
            return datetime.strptime(text, "%Y-%m-%d").date()
        except ValueError:
            raise InputError(f"{where}: as_of is {text!r}; it must be a day, such as 2026-06-15.") from None
    value = _number(text, where)
    if key in NUMBERS:
        return value
    if value != int(value):
        raise InputError(f"{where}: {key} is {text!r}; it must be a whole number.")
    return int(value)


def _word(node: yaml.Node, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        raise InputError(f"{where}: one value must stand here.")
    return str(node.value)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: {text!r} is no number.") from None
    if not math.isfinite(value):
        raise InputError(f"{where}: {text!r} is no finite number.")
    return value


def _spread(values: list[float], where: str) -> Spread:
    match values:
        case [value]:
            return value
        case [low, typical, high]:
            return (low, typical, high)
    raise InputError(f"{where}: {len(values)} numbers are given; it must be one, or low, typical and high.")
