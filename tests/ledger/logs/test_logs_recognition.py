"""Which format a row belongs to, and that no row makes a reader fall over."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.ledger.logs.format import BadRow, HumanWord, LoggedCall, Skipped, Unusable, Volume
from freehold.ledger.logs.formats.table import FORMATS, OF_OTHER_TOOLS
from tests.ledger.logs.reading import FIXTURES, Desk, MemoryShelf, fixture_rows, known_as

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.ledger.logs.format import Format

FILES = sorted(path for path in FIXTURES.rglob("*") if path.is_file())
EXPECTED = {
    "helicone/export.csv": "helicone",
    "helicone/export.json": "helicone",
    "helicone/requests.jsonl": "helicone",
    "langfuse/api.json": "langfuse-observations",
    "langfuse/observations/legacy.jsonl": "langfuse-observations",
    "langfuse/observations_v2/enriched.csv": "langfuse-observations",
    "langfuse/observations_v2/without_io.jsonl": "langfuse-observations",
    "langfuse/scores/legacy.jsonl": "langfuse-scores",
    "langfuse/trace.json": "langfuse-traces",
    "langfuse/traces/legacy.jsonl": "langfuse-traces",
    "langfuse/ui.json": "langfuse-observations",
    "litellm/spend_logs.csv": "litellm-spend-logs",
    "litellm/spend_logs.json": "litellm-spend-logs",
    "litellm/standard_logging.jsonl": "litellm-standard-logging",
    "openai/batch_a_input.jsonl": "openai-batch-inputs",
    "openai/batch_a_output.jsonl": "openai-batch",
    "openai/batch_b_input.jsonl": "openai-batch-inputs",
    "openai/batch_b_output.jsonl": "openai-batch",
    "openai/costs.json": "openai-usage",
    "openai/dpo.jsonl": "openai-preferences",
    "openai/sft.jsonl": "openai-fine-tuning",
    "openai/stored_completions.json": "openai-stored-completions",
    "openai/stored_messages.jsonl": "openai-stored-messages",
    "openai/usage.json": "openai-usage",
    "openpipe/logs.jsonl": "openpipe",
    "otel/genai_010.otlp.json": "otlp",
    "otel/old_events.jsonl": "otel-spans",
    "otel/openinference.jsonl": "otel-spans",
    "otel/openllmetry.jsonl": "otel-spans",
    "otel/phoenix.csv": "otel-spans",
    "otel/v141.otlp.jsonl": "otlp",
}


def _name(file: Path) -> str:
    return file.relative_to(FIXTURES).as_posix()


def test_every_fixture_is_expected_to_be_something() -> None:
    assert {_name(file) for file in FILES} == EXPECTED.keys()


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_each_row_of_a_fixture_is_known_by_its_own_format_and_by_no_other(file: Path) -> None:
    for row in fixture_rows(file):
        assert [each.name for each in OF_OTHER_TOOLS if each.recognises(row)] == [EXPECTED[_name(file)]]
        assert known_as(row) == EXPECTED[_name(file)]


def test_every_format_of_another_tool_has_a_fixture_and_says_how_it_is_known() -> None:
    assert {each.name for each in OF_OTHER_TOOLS} == set(EXPECTED.values())
    assert all(each.says for each in OF_OTHER_TOOLS)
    assert max(Counter(each.name for each in FORMATS).values()) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"input": "hi", "output": "a"},
        {"input": [{"role": "user", "content": "hi"}], "output": "a", "model_output": "b", "id": "1", "task": "t"},
        {"call_id": "1", "output": "a"},
        {"t_s": 1.0, "input_tokens": 3, "output_tokens": 4},
        {"client": "c", "t_s": 0, "requests": 4},
        {
            "id": "1",
            "task": "t",
            "started_at": None,
            "route": "rent",
            "error_type": None,
            "request": {},
            "response": {},
        },
        {"id": "a", "name": "b", "type": "c", "timestamp": "d"},
        {"messages": [{"role": "user", "content": "nobody answers"}]},
        {"object": "list", "data": []},
        {"object": "chat.completion.chunk", "choices": []},
        {},
    ],
)
def test_a_row_of_no_other_tool_is_known_by_none_of_them(row: dict[str, Any]) -> None:
    assert [each.name for each in OF_OTHER_TOOLS if each.recognises(row)] == []


_TRAPS = ("", " ", "{", "[]", '[{"role":"user","content":"x"}]', "\ud800", "data: {}\n\n", "True", "-3", "1e999")
_TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(_TRAPS))
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXTS)
_WORDS = (
    "role content type text messages choices message usage input_tokens prompt_tokens error id key value stringValue "
    "arrayValue values spans attributes results object body data"
)
_NAMES = st.one_of(st.sampled_from(_WORDS.split()), st.text(max_size=3))
_JSON = st.recursive(
    _SCALARS,
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(_NAMES, inside, max_size=4)),
    max_leaves=8,
)
_ROWS = [
    (next(each for each in OF_OTHER_TOOLS if each.recognises(row)), row) for file in FILES for row in fixture_rows(file)
]


@settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_row_whose_fields_hold_whatever_json_can_is_read_or_refused(data: st.DataObject) -> None:
    format_, row = data.draw(st.sampled_from(_ROWS))
    changed = {**row}
    for name in data.draw(st.lists(st.sampled_from(sorted(row)), min_size=1, max_size=3)):
        changed[name] = data.draw(_JSON)
    if data.draw(st.booleans()):
        del changed[data.draw(st.sampled_from(sorted(row)))]
    _must_not_crash(format_, changed)


@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(OF_OTHER_TOOLS), st.dictionaries(_NAMES, _JSON, max_size=5))
def test_any_object_at_all_is_read_or_refused(format_: Format, row: dict[str, Any]) -> None:
    _must_not_crash(format_, row)


def _must_not_crash(format_: Format, row: dict[str, Any]) -> None:
    for each in OF_OTHER_TOOLS:
        assert each.recognises(row) in (True, False)
    try:
        items = Desk(MemoryShelf()).read([row], of=format_.name)
    except BadRow:
        return
    assert all(isinstance(item, LoggedCall | Volume | HumanWord | Skipped | Unusable) for item in items)


@pytest.mark.parametrize("format_", OF_OTHER_TOOLS, ids=lambda each: each.name)
def test_a_body_that_is_nested_too_deep_is_refused(format_: Format) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    row = next(row for each, row in _ROWS if each is format_)
    for name in row:
        _must_not_crash(format_, {**row, name: deep})
        _must_not_crash(format_, {**row, name: {"messages": deep, "choices": deep, "key": deep}})


@pytest.mark.parametrize("file", [file for file in FILES if "scores" not in file.parts], ids=_name)
def test_no_call_of_a_fixture_has_cached_input_beyond_its_input_or_text_that_cannot_be_written(file: Path) -> None:
    for call in Desk().calls(fixture_rows(file), of=EXPECTED[_name(file)]):
        if call.input_tokens is not None:
            assert (call.cache_read_tokens or 0) + (call.cache_write_tokens or 0) <= call.input_tokens
        if call.output_tokens is not None:
            assert (call.reasoning_tokens or 0) <= call.output_tokens
        str(call).encode()
