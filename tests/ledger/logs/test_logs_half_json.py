"""JSON that a log has cut off is known by ending in the middle; prose is not taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freehold.ledger.logs.formats._bodies import answer_of, request_of
from freehold.ledger.logs.formats._fields import is_half_json
from tests.ledger.logs.reading import the_call

_LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_JSON = st.recursive(_LEAF, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@settings(deadline=None, max_examples=300)
@given(value=st.dictionaries(st.text(), _JSON, min_size=1), ascii_only=st.booleans(), data=st.data())
@example(value={"a": -1.5e-7, "b": '\ud7ff\\"\n', "c": True, "d": None}, ascii_only=True, data=None)
def test_json_that_ends_anywhere_in_the_middle_is_known(
    value: dict[str, Any], ascii_only: bool, data: st.DataObject | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    ends = range(2, len(text)) if data is None else [data.draw(st.integers(2, len(text) - 1), label="end")]
    for end in ends:
        assert is_half_json(text[:end]), text[:end]
    assert not is_half_json(text)


@pytest.mark.parametrize(
    "prose",
    [
        "[Note: the customer wrote “yes”",
        "[1] As shown by Smith et al.",
        '[1] "An open quotation mark',
        '{name}, your order of "{item}',
        "{{ user }} said",
        "[see page 3",
        "[",
        "{",
        "{'role': 'user', 'content': 'x",
        "[INST] What is 2 + 2? [/INST]",
        "{ not json",
        "[ ] buy milk\n[x] buy bread",
        "42",
        '"quoted',
        "",
        "{}",
        "[]",
    ],
)
def test_prose_that_begins_with_a_bracket_is_not_cut(prose: str) -> None:
    assert not is_half_json(prose)
    assert not request_of(prose).is_cut
    assert not answer_of(prose).is_cut


def test_bodies_that_langfuse_has_cut_are_marked() -> None:
    row = {
        "id": "g1",
        "trace_id": "t1",
        "type": "GENERATION",
        "start_time": "2026-10-05T12:00:00Z",
        "provided_model_name": "gpt-4o-mini",
        "input": '[{"role":"user","content":"extr',
        "output": '{"company": "ACME", "total": 12',
    }
    for cut in ({"input", "output"}, {"input"}, {"output"}, set()):
        whole = {"input": '[{"role":"user","content":"extract"}]', "output": '{"company": "ACME", "total": 12}'}
        call = the_call({**row, **{name: whole[name] for name in whole if name not in cut}}).call
        assert call.truncated == (True if cut else None)


def test_a_cell_with_half_a_list_of_messages_is_marked_in_rows_of_ones_own() -> None:
    cut, prose = '[{"role":"user","content":"extr', "[Note] extract"
    assert the_call({"input": cut, "output": "a"}, of="rows").call.truncated
    assert the_call({"input": prose, "output": "a"}, of="rows").call.truncated is None
