"""Tokens that cannot be are rejected with the reason, whichever way their rows are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from freehold.core.progress import Silent
from freehold.ledger.answer_facts import facts_of
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes
from freehold.tasks.assign import Assigner
from tests.ledger.logs.reading import the_call

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.ledger.logs.imported import Imported

ROW = {"input": "hi", "output": "a", "started_at": "2026-10-05T12:00:00Z", "input_tokens": 10, "output_tokens": 4}
CALL = {"started_at": "2026-10-05T12:00:00Z", "input_tokens": 10, "output_tokens": 4}


def _take(folder: Path, path: Path) -> Imported:
    stores = Stores(
        ledger=Ledger(folder / "calls"),
        volumes=Volumes(folder / "volumes"),
        keep=lambda words: {"labelled": len(words)},
        assign=lambda logged: Assigner().task_of(logged.call, logged.key),
    )
    return import_logs(find_logs([path]), stores, Choices(), progress=Silent())


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        ({"cache_read_tokens": 11}, "are parts of 'input_tokens'"),
        ({"cache_write_tokens": 11}, "are parts of 'input_tokens'"),
        ({"cache_read_tokens": 6, "cache_write_tokens": 5}, "are parts of 'input_tokens'"),
        ({"reasoning_tokens": 5}, "is a part of 'output_tokens'"),
        ({"input_tokens": -1}, "0 or more"),
        ({"input_tokens": 10**12 + 1}, "no call has fewer than 0 or more than 1,000,000,000,000 tokens"),
        ({"output_tokens": True}, "'output_tokens' must be a number"),
        ({"output_tokens": 1.5}, "whole number"),
        ({"output_tokens": "many"}, "must be a number"),
        ({"input_tokens": float("nan")}, "must be a number"),
        ({"input_tokens": float("inf")}, "must be a number"),
    ],
)
@pytest.mark.parametrize("base", [ROW, CALL])
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_tokens_that_cannot_be_are_rejected_with_the_reason(
    tmp_path: Path, base: dict[str, Any], form: str, tokens: dict[str, Any], says: str
) -> None:
    rows = [{**base, "cache_read_tokens": 1}, {**base, "cache_read_tokens": 1, **tokens}]
    path = tmp_path / "log"
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        names = sorted({name for row in rows for name in row})
        cells = [",".join(str(row.get(name, "")) for name in names) for row in rows]
        path.write_text("\n".join([",".join(names), *cells]) + "\n")
    result = _take(tmp_path, path)
    assert (result.tally.imported, result.tally.rejected) == (1, 1)
    assert says in result.rejected[0].reason
    assert result.rejected[0].line == (2 if form == "jsonl" else 3)


def test_parts_as_large_as_the_whole_are_possible(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{**base, "cache_read_tokens": 4, "cache_write_tokens": 6, "reasoning_tokens": 4} for base in (ROW, CALL)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:1]))
    assert _take(tmp_path, path).tally.imported == 1
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    assert _take(tmp_path, path).tally.imported == 1


def test_what_a_tool_counts_beside_the_rest_is_added_and_not_rejected() -> None:
    answer = {
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": "a"}}],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
    }
    row = {"input": {"messages": [{"role": "user", "content": "hi"}]}, "output": answer, "tags": {}}
    call = the_call(row, of="openpipe").call
    assert (call.input_tokens, call.cache_read_tokens) == (15, 10)
    assert (call.output_tokens, call.reasoning_tokens) == (34, 30)


def _usage(**result: Any) -> str:
    kind = {"object": "organization.usage.completions.result", "num_model_requests": 3, "input_tokens": 10}
    bucket = {"object": "bucket", "start_time": 1793491200, "end_time": 1793577600}
    return json.dumps({**bucket, "results": [{**kind, "output_tokens": 4, **result}]}) + "\n"


def test_usage_is_of_its_key_or_else_of_its_model(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_text(_usage(model="gpt-5.4", api_key_id="key_triage") + _usage(model="gpt-5.4-mini") + _usage())
    result = _take(tmp_path, path)
    assert dict(result.tally.tasks) == {"key_triage": 1, "gpt-5.4-mini": 1, "unassigned": 1}
    stored = {row["task"] for batch in Volumes(tmp_path / "volumes").read() for row in batch.to_pylist()}
    assert stored == {"key_triage", "gpt-5.4-mini", "unassigned"}


def _buckets(width_s: int, count: int, *, first: int = 0, **names: Any) -> str:
    result = {"object": "organization.usage.completions.result", "num_model_requests": width_s, "model": "m", **names}
    starts = [1793491200 + first + number * width_s for number in range(count)]
    return "".join(
        json.dumps({"object": "bucket", "start_time": at, "end_time": at + width_s, "results": [result]}) + "\n"
        for at in starts
    )


@pytest.mark.parametrize("is_one_import", [True, False])
@pytest.mark.parametrize(("former", "later"), [((86_400, 2), (3_600, 72)), ((3_600, 48), (86_400, 3))])
def test_the_same_time_in_other_buckets_never_counts_twice(
    tmp_path: Path, former: tuple[int, int], later: tuple[int, int], is_one_import: bool
) -> None:
    (tmp_path / "logs").mkdir()
    first, second = tmp_path / "logs/1.jsonl", tmp_path / "logs/2.jsonl"
    first.write_text(_buckets(*former))
    if not is_one_import:
        _take(tmp_path, first)
    second.write_text(_buckets(*later))
    result = _take(tmp_path, tmp_path / "logs")
    assert sum(result.tally.skipped.values()) == 2 * 86_400 // later[0]
    assert "longer or shorter buckets" in next(iter(result.tally.skipped))
    calls = sum(row["calls"] for batch in Volumes(tmp_path / "volumes").read() for row in batch.to_pylist())
    assert calls == 3 * 86_400
    again = _take(tmp_path, tmp_path / "logs")
    assert (again.tally.imported, again.tally.duplicates) == (0, former[1] + later[1] * 1 // 3)


def test_other_keys_and_tiers_in_other_buckets_count(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_text(
        _buckets(86_400, 1)
        + _buckets(3_600, 24, api_key_id="key_a")
        + _buckets(3_600, 24, batch=True)
        + _buckets(3_600, 24, first=86_400)
    )
    assert _take(tmp_path, path).tally.imported == 73


def test_usage_that_cannot_be_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_text(_usage(model="gpt-5.4", input_tokens=-4))
    result = _take(tmp_path, path)
    assert (result.tally.imported, result.tally.rejected) == (0, 1)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_call_that_failed_needs_no_answer(tmp_path: Path, form: str) -> None:
    failed = {"input": "a", "model_output": "", "model": "m", "id": "bad", "status": 429}
    rows = [failed, {**failed, "id": "good", "model_output": "b", "status": 200}, {**failed, "id": "no", "status": 200}]
    path = tmp_path / "log"
    if form == "jsonl":
        told = [{name: value for name, value in row.items() if value != ""} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in told))
    else:
        cells = [",".join(str(value) for value in row.values()) for row in rows]
        path.write_text("\n".join([",".join(failed), *cells]) + "\n")
    result = _take(tmp_path, path)
    assert (result.tally.imported, result.tally.rejected) == (2, 1)
    calls = {call.request_id: call for call in Ledger(tmp_path / "calls").read()}
    assert (calls["bad"].status, calls["bad"].error_type, calls["bad"].route) == (429, "error", "rent")
    assert (calls["bad"].response, calls["good"].error_type) == (None, None)


def test_a_call_that_writes_nothing_needs_no_answer_and_a_labelled_row_is_still_no_call() -> None:
    row = {"input": "a", "model": "text-embedding-3-small", "input_tokens": 7, "output_tokens": 0}
    call = the_call(row, of="rows").call
    assert (call.status, call.route, call.error_type, call.response) == (200, "rent", None, None)
    labelled = the_call({**row, "output": "refund"}, of="rows").call
    assert (labelled.status, labelled.route) == (None, None)


@pytest.mark.parametrize("at", [1793000000.25, 1793000000250, "1793000000.25", "1793000000250"])
def test_a_time_may_count_seconds_or_milliseconds(at: object) -> None:
    call = the_call({"input": "a", "model_output": "b", "started_at": at}, of="rows").call
    assert str(call.started_at) == "2026-10-26 07:33:20.250000+00:00"


_BESIDE = {
    "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 170,
    "completion_tokens_details": {"reasoning_tokens": 20},
}  # fmt: skip


def test_reasoning_beside_the_output_is_put_into_it_by_the_total() -> None:
    answer = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "a"}}]}
    row = {"input": {"messages": [{"role": "user", "content": "hi"}]}, "tags": {}}
    beside = the_call({**row, "output": {**answer, "usage": _BESIDE}}, of="openpipe").call
    inside = the_call({**row, "output": {**answer, "usage": {**_BESIDE, "total_tokens": 150}}}, of="openpipe").call
    assert (beside.output_tokens, inside.output_tokens) == (70, 50)


def test_a_gateway_counts_reasoning_as_an_import_does() -> None:
    facts = facts_of("openai-chat", {"usage": _BESIDE})
    assert (facts.output_tokens, facts.reasoning_tokens) == (70, 20)
