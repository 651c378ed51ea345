"""Rows of LiteLLM's database without prompts are read many at once, with the result that one by one gives."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.ledger.logs import raw_rows
from freehold.ledger.logs.formats.litellm_columns import SpendLogColumns
from freehold.ledger.logs.formats.table import format_named
from tests.ledger.logs.test_logs_traces import calls_in, take

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    import pytest

    from freehold.ledger.logs.format import Columns

SPEND_LOGS = format_named("litellm-spend-logs")
ONE_BY_ONE = replace(SPEND_LOGS, columns=None)

_TOKENS = st.sampled_from(["0", "7", "12", "1200", "", "x", "-1", "1.5"])
_TIMES = st.sampled_from([
    "2026-10-01 08:00:00", "2026-10-01T08:00:01.25Z", "2026-10-01 08:00:02.123456", "2026-10-01 10:00:03+02:00",
    "2026-10-01 08:00:02 UTC", "", "soon", "1999-01-01",
])  # fmt: skip
_USAGES = st.sampled_from([
    None,
    {"prompt_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}},
    {"prompt_tokens": 12, "prompt_tokens_details": {"cached_tokens": 40}},
    {"prompt_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 3}},
    {"prompt_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4},
     "completion_tokens_details": {"reasoning_tokens": 3}},
    {"cache_read_input_tokens": 5, "prompt_tokens": 9},
    {"prompt_tokens": True, "prompt_tokens_details": {"cached_tokens": "4"}},
    "odd",
])  # fmt: skip
_METADATA = st.one_of(
    st.sampled_from([None, "{}", "null", "no json", "[1]", '{"status": "failure"}']),
    st.builds(
        lambda usage, more: json.dumps({**({} if usage is None else {"usage_object": usage}), **more}),
        _USAGES,
        st.sampled_from([
            {},
            {"requester_metadata": {"task": "intent"}},
            {"additional_usage_values": {"cache_read_input_tokens": 2}},
            {"error_information": {"error_class": "RateLimitError", "error_code": "429"}},
            {"proxy_server_request": json.dumps({"messages": [{"role": "user", "content": "hi"}]})},
        ]),
    ),
)  # fmt: skip
_PLAIN = {
    "request_id": st.sampled_from(["a", "b", "c", "d", " e "]),
    "call_type": st.sampled_from(["acompletion", "aresponses"]),
    "startTime": st.sampled_from(["2026-10-01 08:00:00", "2026-10-01 08:00:01.5"]),
    "endTime": st.sampled_from(["2026-10-01 08:00:02.125", "2026-10-01 07:00:00", ""]),
    "prompt_tokens": st.sampled_from(["12", "40"]),
    "completion_tokens": st.sampled_from(["0", "5"]),
    "total_tokens": st.sampled_from(["17", "20", "48"]),
    "spend": st.just("0.01"),
    "model": st.sampled_from(["openai/gpt-5.4", "gpt-5.4"]),
    "custom_llm_provider": st.just("openai"),
    "metadata": _METADATA,
}
_MORE = {
    "completionStartTime": _TIMES,
    "request_duration_ms": _TOKENS,
    "cache_hit": st.sampled_from(["None", "False", "True", ""]),
    "request_tags": st.sampled_from(["", "[]", '["task:intent"]', '["one"]', "odd"]),
    "status": st.sampled_from(["success", "failure", ""]),
    "api_key": st.sampled_from(["", "88dc", " k "]),
    "end_user": st.sampled_from(["", "ada"]),
    "user": st.sampled_from(["", "default_user_id", "bob"]),
    "session_id": st.sampled_from(["", "s1", " s2 "]),
    "messages": st.sampled_from(["", "{}", "[]"]),
    "response": st.sampled_from(["", "{}"]),
    "proxy_server_request": st.sampled_from(["", "{}"]),
}
_ODD = {"call_type": st.sampled_from(["acompletion", "call_mcp_tool", ""]), "startTime": _TIMES, "endTime": _TIMES,
        "prompt_tokens": _TOKENS, "completion_tokens": _TOKENS, "total_tokens": _TOKENS,
        "response": st.just('{"choices": [{"message": {"role": "assistant", "content": "x"}}]}')}  # fmt: skip


def _table(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = sorted({name for row in rows for name in row})
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.fixed_dictionaries(_PLAIN),
            st.fixed_dictionaries(_PLAIN | _MORE),
            st.fixed_dictionaries(_PLAIN | _MORE | _ODD),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_many_rows_at_once_are_what_they_are_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("spend")
    path = _table(folder / "log.csv", rows)
    fast = take(folder / "fast", path, form=SPEND_LOGS)
    slow = take(folder / "slow", path, form=ONE_BY_ONE)
    assert calls_in(folder / "fast") == calls_in(folder / "slow")
    assert fast.tally == slow.tally
    assert fast.rejected == slow.rejected


def test_plain_rows_are_indeed_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"request_id": f"r{number}", "call_type": "acompletion", "startTime": "2026-10-01 08:00:00", "spend": "0.1",
         "endTime": "2026-10-01 08:00:01", "prompt_tokens": "9", "completion_tokens": "1", "total_tokens": "10",
         "cache_hit": "True" if number % 4 == 0 else "None", "model": "m", "messages": "{}",
         "metadata": json.dumps({"usage_object": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3}}})}
        for number in range(40)
    ]  # fmt: skip
    read = SpendLogColumns.read
    found: list[Columns | None] = []

    def noted(self: SpendLogColumns, table: pa.Table) -> Columns | None:
        found.append(read(self, table))
        return found[-1]

    monkeypatch.setattr(SpendLogColumns, "read", noted)
    result = take(tmp_path, _table(tmp_path / "log.csv", rows))
    assert [len(columns.contents) for columns in found if columns is not None] == [30]
    assert (result.tally.imported, result.tally.skipped.total(), result.files[0].rows) == (30, 10, 40)
    assert {call.cache_read_tokens for call in calls_in(tmp_path)} == {3}


def test_rows_of_json_are_not_made_a_table_first_which_would_be_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_data: bytes) -> None:
        raise AssertionError

    monkeypatch.setattr(raw_rows, "_json_table", refused)
    row = {"request_id": "a", "call_type": "acompletion", "startTime": "2026-10-01 08:00:00", "spend": 0.5,
           "prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9, "metadata": {}}  # fmt: skip
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")

    take(tmp_path / "taken", path, form=SPEND_LOGS)

    assert len(calls_in(tmp_path / "taken")) == 1
