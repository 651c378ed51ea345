"""Which format a row belongs to, and that no row makes a reader fall over."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.ledger.logs.format import BadRow, HumanWord, LoggedCall, Skipped, Unusable, Volume
from freehold.ledger.logs.formats._usage import completed, usage_of
from freehold.ledger.logs.formats.table import FORMATS, OF_OTHER_TOOLS
from tests.ledger.logs.reading import FIXTURES, Desk, MemoryShelf, fixture_rows, known_as

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.ledger.logs.format import Format, Item

FILES = sorted(path for path in FIXTURES.rglob("*") if path.is_file())
CALLS = [file for file in FILES if "scores" not in file.parts]
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


@pytest.mark.parametrize("file", CALLS, ids=_name)
def test_no_call_of_a_fixture_has_cached_input_beyond_its_input_or_text_that_cannot_be_written(file: Path) -> None:
    for call in Desk().calls(fixture_rows(file), of=EXPECTED[_name(file)]):
        if call.input_tokens is not None:
            assert (call.cache_read_tokens or 0) + (call.cache_write_tokens or 0) <= call.input_tokens
        if call.output_tokens is not None:
            assert (call.reasoning_tokens or 0) <= call.output_tokens
        str(call).encode()


@pytest.mark.parametrize("file", CALLS, ids=_name)
def test_a_log_without_humans_answers_is_no_test_set(file: Path) -> None:
    name = EXPECTED[_name(file)]
    desk = Desk()
    for row in fixture_rows(file):
        if name in ("openai-fine-tuning", "openai-preferences"):
            words = [item.human for item in desk.read([row], of=name, is_test=True) if isinstance(item, LoggedCall)]
            assert all(word is not None and word.is_test for word in words)
        elif any(isinstance(item, LoggedCall) for item in Desk().read([row], of=name)):
            with pytest.raises(BadRow, match="no test set"):
                raise_first(desk.read([row], of=name, is_test=True))


def raise_first(items: list[Item]) -> None:
    """A row that holds several calls says of each why it cannot be used."""
    for item in items:
        if isinstance(item, Unusable):
            raise BadRow(item.reason)


_COUNTS = st.one_of(st.none(), st.integers(0, 5_000))
_USAGES = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": _COUNTS,
        "input_tokens": _COUNTS,
        "completion_tokens": _COUNTS,
        "output_tokens": _COUNTS,
        "cache_read_input_tokens": _COUNTS,
        "cache_creation_input_tokens": _COUNTS,
        "prompt_tokens_details": st.fixed_dictionaries({}, optional={"cached_tokens": _COUNTS}),
    },
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(_USAGES, _USAGES, st.sampled_from([None, "message"]))
def test_whatever_is_counted_cached_input_is_a_part_of_the_input(
    one: dict[str, Any], other: dict[str, Any], kind: str | None
) -> None:
    first, second = usage_of({"usage": one, "type": kind}), usage_of({"usage": other})
    for usage in (first, second, completed(first, second), completed(second, first)):
        if usage.input_tokens is not None:
            assert (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0) <= usage.input_tokens
