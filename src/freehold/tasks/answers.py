"""What an answer looks like: the shape by which calls of one task know each other."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Family = Literal["none", "object", "list", "boolean", "label", "number", "code", "phrase", "prose", "tools"]

LABEL_CHARACTERS = 80
LABEL_WORDS = 6
_LONGEST_JSON = 200_000
_PHRASE_WORDS = 6
_BOOLEANS = (
    frozenset({"yes", "no"}), frozenset({"true", "false"}), frozenset({"y", "n"}), frozenset({"0", "1"}),
    frozenset({"ja", "nein"}), frozenset({"oui", "non"}), frozenset({"sí", "no"}), frozenset({"pass", "fail"}),
)  # fmt: skip
_BOOLEAN_WORDS = frozenset().union(*_BOOLEANS)
_NUMBER = re.compile(r"[-+$€£]?\d[\d.,]*\s*%?")
_FENCE = re.compile(r"\s*```(\w*)[^\n]*\n(.*?)\n?```\s*", re.DOTALL)
_CODE = re.compile(
    r"^\s*(?:def |class |import |from \w+ import |#include|SELECT\b|WITH \w+ AS|INSERT INTO|function\b|const |let |var "
    r"|public |package |<\?php|#!/)",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The outer form of one answer."""

    family: Family
    keys: frozenset[str] = frozenset()
    """Of a JSON object, or of the objects of a list; names of tools that were called."""
    word: str | None = None
    """A short answer that may be a label, as it was given; of a JSON object, the value of its only short field."""


NOTHING = Shape("none")


def shape_of(answer: str | None, tools: tuple[str, ...] = ()) -> Shape:
    """The shape of an answer. Whether a short answer is a label is only known among others: see `LABEL_WORDS`."""
    text = (answer or "").strip()
    if tools and not text:
        return Shape("tools", frozenset(tools))
    if not text:
        return NOTHING
    fenced = _FENCE.fullmatch(text) if text.startswith("```") else None
    inner = fenced[2].strip() if fenced else text
    if inner[:1] in "{[" and (found := _json_shape(inner)) is not None:
        return found
    if fenced and fenced[1].lower() not in {"", "text", "markdown", "md"}:
        return Shape("code")
    return _plain_shape(inner)


def _plain_shape(text: str) -> Shape:
    if _NUMBER.fullmatch(text) and text not in {"0", "1"}:
        return Shape("number", word=text)
    bare = text.rstrip(".!").casefold()
    if bare in _BOOLEAN_WORDS:
        return Shape("boolean", word=bare)
    if is_short(text):
        return Shape("label", word=text)
    if _CODE.search(text[:2_000]) and text.count("\n") and not text.endswith((".", "!", "?")):
        return Shape("code")
    return Shape("phrase" if len(text.split()) <= _PHRASE_WORDS and len(text) <= LABEL_CHARACTERS else "prose")


def is_short(text: str) -> bool:
    """Short enough for a label, and no sentence."""
    if len(text) > LABEL_CHARACTERS or "\n" in text:
        return False
    words = len(text.split())
    return words <= LABEL_WORDS and not (words > 3 and text.endswith((".", "!", "?")))


def boolean_pair(word: str) -> tuple[str, ...]:
    """The words with which one question is answered, such as yes and no, one of which is given."""
    return next((tuple(sorted(pair)) for pair in _BOOLEANS if word in pair), (word,))


def _json_shape(text: str) -> Shape | None:
    value = parsed_json(text)
    if isinstance(value, dict) and value:
        words = [found for found in map(_short_value, value.values()) if found is not None]
        word = words[0] if len(value) <= 3 and words else None
        return Shape("object", frozenset(map(str, value)), word)
    if isinstance(value, list):
        keys: set[str] = set()
        for item in value[:50]:
            if isinstance(item, dict):
                keys.update(map(str, item))
        return Shape("list", frozenset(keys))
    return None


def _short_value(value: Any) -> str | None:  # Any: JSON
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) and value.strip() and is_short(value) else None


def parsed_json(text: str) -> Any:  # Any: JSON
    """The JSON value of a text; None where it is none."""
    if len(text) > _LONGEST_JSON:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def style_of(label: str) -> tuple[float, ...]:
    """How a label is written: labels of one set are written alike."""
    return (
        float("_" in label),
        float("-" in label),
        float(" " in label.strip()),
        float(label.islower()),
        float(label.isupper()),
        float(label[:1].isupper() and not label.isupper()),
        float(any(map(str.isdigit, label))),
    )


def tool_names(response: Mapping[str, Any] | None) -> tuple[str, ...]:  # Any: JSON of somebody else's making
    """Names of the functions that an answer calls, in OpenAI's or Anthropic's dialect."""
    body = response or {}
    choices, content = body.get("choices"), body.get("content")
    found: list[Any] = []
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        message = choices[0].get("message")
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        found = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    elif isinstance(content, list):
        found = [part for part in content if isinstance(part, dict) and part.get("type") == "tool_use"]
    return tuple(name for each in found if isinstance(each, dict) and isinstance(name := each.get("name"), str))
