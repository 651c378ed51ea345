"""YAML from strangers as plain values: no tags, no aliases, no duplicate keys, and nothing too large or too deep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 256 * 1024
_DEEPEST = 20
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # Any: the two classes share no typed parent


def plain_yaml(text: str, *, name: str) -> Any:  # Any: pydantic checks at once what YAML holds
    """The one document of a text.

    Raises:
        InputError: it is too large, is not YAML, or uses what a file of plain values does not need.
    """
    if len(text.encode("utf-8", errors="surrogatepass")) > MOST_BYTES:
        raise InputError(f"{name} is larger than {MOST_BYTES:,} bytes, the most that is read. Split it.")
    try:
        _refuse_tricks(text, name)
        loader = _LOADER(text)
        try:
            node = loader.get_single_node()
            _refuse_duplicates(node, name)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        where = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise InputError(f"{name}{where}: not YAML that can be read: {error.problem or error.context}.") from error
    except (yaml.YAMLError, ValueError, UnicodeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{name}: not YAML that can be read: {reason}.") from error


def _refuse_tricks(text: str, name: str) -> None:
    """Look at the parts one after the other, before anything is built from them."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = 1 + (event.start_mark.line if event.start_mark else 0)
        if isinstance(event, yaml.AliasEvent):
            raise InputError(f"{name}, line {line}: aliases (*name) are refused. Write the value again.")
        if getattr(event, "tag", None) is not None:
            raise InputError(f"{name}, line {line}: tags (!name) are refused. Leave it out.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise InputError(f"{name}, line {line}: nested deeper than {_DEEPEST} levels.")


def _refuse_duplicates(root: yaml.Node | None, name: str) -> None:
    for node in _nodes(root):
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                where = f"{name}, line {key.start_mark.line + 1}"
                if not isinstance(key, yaml.ScalarNode):
                    raise InputError(f"{where}: a key must be a word.")
                if key.value in seen:
                    raise InputError(f"{where}: {key.value[:80]!r} is given twice. Keep one of them.")
                seen.add(key.value)


def _nodes(root: yaml.Node | None) -> Iterator[yaml.Node]:
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting.extend(part for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
