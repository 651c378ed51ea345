from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.ledger.logs import json_values as module
from freehold.ledger.logs.json_values import json_values
from freehold.ledger.logs.shape import Shape, shape_of

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='"\\{}[],:x\né', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='"\\[]{}a', max_size=3), inner),
    max_leaves=8,
)
_ROWS = st.lists(st.dictionaries(st.text(max_size=3), _VALUES, max_size=3), max_size=5)


def _cut(text: str, depth: int) -> list[Any]:
    found = []
    for value in json_values("f", io.BytesIO(text.encode()), depth=depth):
        assert value is not None
        found.append(json.loads(value))
    return found


@settings(max_examples=200, deadline=None)
@given(_ROWS, st.integers(1, 9), st.none() | st.integers(0, 2))
def test_a_document_gives_its_values_wherever_it_is_cut_into_pieces(
    rows: list[Any], piece: int, indent: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_BYTES", piece)
        assert _cut(json.dumps(rows, indent=indent), 1) == rows
        assert _cut("\n".join(json.dumps(row, indent=indent) for row in rows), 0) == rows
        wrapped = {"object": "list", "data": rows, "first": [{"no": "row"}], "more": {"data": [{"no": "row"}]}}
        assert _cut(json.dumps(wrapped, indent=indent), 2) == rows


def test_a_comma_too_much_does_no_harm() -> None:
    assert _cut('[{"a": 1},{"a": 2},\n]', 1) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a"', '[{"a": 1}', '[{"a": "x', '{"data": [{"a": 1}'])
def test_a_document_that_is_cut_off_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="ends in the middle of its JSON"):
        _cut(text, 2 if text.startswith("{") else 1)


def test_a_bracket_too_much_is_no_json() -> None:
    with pytest.raises(InputError, match="a bracket is closed that was never opened"):
        _cut('[{"a": 1}]]', 1)


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (b'{"a": 1}\n{"a": 2}\n', Shape("json-lines")),
        (b'{"a": 1}', Shape("json-lines")),
        (b'{"a": \n{"a": 2}\n', Shape("json-lines")),
        (b' [\n{"a": 1}]', Shape("json-values", depth=1)),
        (b'{\n "a": 1\n}\n{\n "a": 2\n}', Shape("json-values")),
        (b'{"object": "list", "data": [{"a": 1}]}', Shape("json-values", depth=2)),
        (b'{"messages": [{"role": "user"}]}', Shape("json-lines")),
        (b'{\n "resourceSpans": [\n {"scopeSpans": []}]}', Shape("json-values", depth=2)),
        (b'{"data": [{"a": 1}]}\n{"data": [{"a": 1}]}\n', Shape("json-lines")),
        (b"a,b\n1,2\n", Shape("table")),
        (b'"a";"b,c";d\r\n1;2;3\n', Shape("table", delimiter=";")),
        (b"just some words\n", None),
        (b"\x00\x01\x02,\x03", None),
        (b"  \n ", None),
    ],
)
def test_the_shape_of_a_file_follows_from_how_it_begins(head: bytes, shape: Shape | None) -> None:
    assert shape_of(head) == shape
