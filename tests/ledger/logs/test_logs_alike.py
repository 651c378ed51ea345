"""Rows without bodies are read many at once, with the result that one by one gives."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.ledger.logs import take as taking
from freehold.ledger.logs.formats._alike import AlikeRows
from freehold.ledger.logs.formats.table import format_named
from tests.ledger.logs.test_logs_traces import calls_in, take

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from freehold.ledger.logs.format import Columns

Rows = list[dict[str, Any]]  # Any: JSON


def _written(value: object, *, is_text: bool) -> object:
    return json.dumps(value) if is_text else value


_TIMES = st.sampled_from([
    "2026-10-01T08:00:00Z", "2026-10-01 08:00:01.25", "2026-10-01 10:00:03+02:00", "2026-10-01 08:00:02 UTC",
    1790841600.5, "", None,
])  # fmt: skip
_COUNTS = st.sampled_from([0, 7, 12, 1200, "9", 12.0, None, ""])
_ODD = st.sampled_from([-1, 1.5, "x", True, 10**13, float("nan"), [], {}, "1999-01-01", "soon", "\ud800"])
_TEXTS = st.sampled_from([None, "", "a", " b ", "c", 7])
_IDS = st.sampled_from(["a", "b", "c", "d", " e ", "é"])
_TAGS = st.sampled_from([None, [], ["task:intent"], ["one"], '["two"]', "odd", ["prod", "x"]])
_USAGE = st.sampled_from([
    None, {}, "odd", {"prompt_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}},
    {"prompt_tokens": 12, "prompt_tokens_details": {"cached_tokens": 40}},
    {"completion_tokens_details": {"reasoning_tokens": 30}}, {"cache_read_input_tokens": 5, "input_tokens": 9},
])  # fmt: skip
_METADATA = st.one_of(
    st.sampled_from([None, {}, "{}", "no json", "[1]", '{"a": NaN}', {"status": "failure"}]),
    st.builds(
        lambda usage, more, is_text: _written({"usage_object": usage, **more}, is_text=is_text),
        _USAGE,
        st.sampled_from([
            {}, {"requester_metadata": {"task": "intent", "session_id": "s9"}}, {"user_api_key_hash": "88dc"},
            {"error_information": {"error_class": "RateLimitError", "error_code": "429"}},
            {"additional_usage_values": {"cache_read_input_tokens": 2}},
            {"proxy_server_request": {"messages": [{"role": "user", "content": "hi"}]}},
        ]),
        st.booleans(),
    ),
)  # fmt: skip
_LITELLM = {
    "call_type": st.sampled_from(["acompletion", "aembedding", "call_mcp_tool"]),
    "startTime": _TIMES, "endTime": _TIMES, "completionStartTime": _TIMES, "prompt_tokens": _COUNTS,
    "completion_tokens": _COUNTS, "total_tokens": _COUNTS, "spend": st.just(0.5), "response_cost": st.just(0.5),
    "model": st.sampled_from(["openai/gpt-5.4", "gpt-5.4"]), "custom_llm_provider": st.sampled_from(["openai", None]),
    "metadata": _METADATA, "cache_hit": st.sampled_from(["None", True, False]), "request_tags": _TAGS,
    "status": st.sampled_from(["success", "failure", None]), "end_user": _TEXTS, "session_id": _TEXTS,
    "response_time": st.sampled_from([0.5, None]), "api_key": _TEXTS,
    "messages": st.sampled_from([None, {}, "", [{"role": "user", "content": "hi"}]]),
    "response": st.sampled_from([None, {}, "", "said"]),
}  # fmt: skip
_LANGFUSE = {
    "id": _IDS, "trace_id": st.sampled_from(["t", "u", None]),
    "type": st.sampled_from(["GENERATION", "GENERATION", "EMBEDDING", "SPAN"]),
    "start_time": _TIMES, "end_time": _TIMES, "completion_start_time": _TIMES, "latency": st.sampled_from([None, 0.25]),
    "time_to_first_token": st.sampled_from([None, 0.1, "0.2"]), "level": st.sampled_from(["DEFAULT", "ERROR"]),
    "status_message": st.sampled_from([None, "openai.RateLimitError: slow"]), "provided_model_name": _TEXTS,
    "usage_details": st.sampled_from([
        None, {}, '{"input": 5, "output": 2}', {"input": 5, "input_cached_tokens": 3, "output": 2, "total": 10},
        {"input": 5, "output": 2, "output_reasoning_tokens": 9, "total": 7}, {"input": -1},
    ]),
    "usage": st.sampled_from([None, {"unit": "CHARACTERS", "input": 3}, {"input": 3, "output": 1}]),
    "prompt_tokens": _COUNTS, "name": st.sampled_from([None, "triage", "ChatOpenAI"]), "tags": _TAGS,
    "metadata": st.sampled_from([None, {"task": "intent"}, '{"ls_provider": "openai"}']), "user_id": _TEXTS,
    "session_id": _TEXTS, "input": st.sampled_from([None, None, "hi"]), "output": st.sampled_from([None, None, "yes"]),
}  # fmt: skip
_HELICONE = {
    "response_id": _IDS, "request_id": _IDS, "request_created_at": _TIMES, "delay_ms": _COUNTS,
    "response_status": st.sampled_from([200, 429, "-3", None, 500.0]), "prompt_tokens": _COUNTS,
    "completion_tokens": _COUNTS, "prompt_cache_read_tokens": _COUNTS, "time_to_first_token": _COUNTS,
    "provider": st.sampled_from(["OPENAI", "ANTHROPIC", "CUSTOM", None]), "request_user_id": _TEXTS,
    "request_path": st.sampled_from(["/v1/chat/completions?x=1", "https://h/v1/embeddings", None]),
    "properties": st.sampled_from([
        None, {"task": "intent", "Helicone-Session-Id": "s1"}, '{"Helicone-Session-Id": "s2"}', "odd",
    ]),
    "request_properties": st.sampled_from([None, {"Helicone-Session-Name": "triage", "Helicone-Session-Id": "s3"}]),
    "cache_reference_id": st.sampled_from([None, "00000000-0000-0000-0000-000000000000", "8f"]),
    "request_body": st.sampled_from([None, "{}", {"messages": [{"role": "user", "content": "hi"}]}]),
    "response_body": st.sampled_from([None, {}, {"helicone_message": "elsewhere"}, '{"choices": ']),
}  # fmt: skip
_FORMATS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "litellm-spend-logs": {"request_id": _IDS, **_LITELLM},
    "litellm-standard-logging": {"id": _IDS, **_LITELLM},
    "langfuse-observations": _LANGFUSE,
    "helicone": _HELICONE,
}


def _rows(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Rows]:
    row = st.fixed_dictionaries(fields)
    odd = st.builds(lambda row, name, value: {**row, name: value}, row, st.sampled_from(sorted(fields)), _ODD)
    plain = st.builds(lambda row: {name: each for name, each in row.items() if each is not None}, row)
    # most rows of a log are like another one of it
    like = st.builds(lambda row, others: [{**row, **other} for other in others], plain, st.lists(
        st.fixed_dictionaries({name: fields[name] for name in list(fields)[:3]}), min_size=1, max_size=4
    ))  # fmt: skip
    return st.lists(
        st.one_of(like, plain.map(lambda row: [row]), odd.map(lambda row: [row])), min_size=1, max_size=5
    ).map(lambda groups: [row for group in groups for row in group])


def _log(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", _FORMATS)
def test_rows_that_are_read_together_are_what_they_are_one_by_one(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "_LEAST_GATHERED", 1)
    form = format_named(name)
    at_once = 0
    read = AlikeRows.read

    def noted(self: AlikeRows, rows: Sequence[Mapping[str, Any]]) -> Columns | None:
        nonlocal at_once
        found = read(self, rows)
        at_once += 0 if found is None else len(found.contents)
        return found

    monkeypatch.setattr(AlikeRows, "read", noted)

    @settings(max_examples=30, deadline=None)
    @given(_rows(_FORMATS[name]))
    def check(rows: Rows) -> None:
        folder = tmp_path_factory.mktemp("alike")
        path = _log(folder / "log.jsonl", rows)
        fast = take(folder / "fast", path, form=replace(form, columns=None))
        slow = take(folder / "slow", path, form=replace(form, columns=None, many=None))
        assert calls_in(folder / "fast") == calls_in(folder / "slow")
        assert fast.tally == slow.tally
        assert fast.rejected == slow.rejected

    check()
    assert at_once > 5
