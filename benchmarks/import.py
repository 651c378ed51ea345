"""How fast logs are imported: rows per second of one core, and the memory that it takes.

    python benchmarks/import.py                      # each kind of log, a million rows
    python benchmarks/import.py --rows 10000000 trace-csv

The logs are made here, seeded. Each is imported by a process of its own into an empty workspace; CPU time and peak
memory are those of that process, its start included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.progress import Silent
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.logs.tasks import assign
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Row = Callable[[int, float, int, int], dict[str, object]]
    """Number of a call, seconds since the start, tokens in and out -> its row."""
    Make = Callable[[Path, int], None]
    """Writes a log with so many rows."""

_BATCH = 100_000
_START = datetime(2026, 10, 1, tzinfo=UTC)
_DAYS = 30
_MODELS = ("gpt-5.4", "gpt-5.4-mini", "claude-sonnet-5")


def _calls(rows: int) -> Iterator[tuple[int, list[float], list[int], list[int]]]:
    """Number of the first one, seconds since the start, tokens in and out; in order of time."""
    random = np.random.default_rng(7)
    step_s = _DAYS * 86_400 / rows
    for first in range(0, rows, _BATCH):
        count = min(_BATCH, rows - first)
        seconds = (first + np.arange(count) + random.random(count)) * step_s
        inputs = random.lognormal(6.5, 0.8, count).astype(int) + 1
        outputs = random.lognormal(4.5, 0.9, count).astype(int) + 1
        yield first, seconds.round(3).tolist(), inputs.tolist(), outputs.tolist()


def trace_csv(path: Path, rows: int) -> None:
    """The columns of the trace that Azure published in 2023."""
    with path.open("w", encoding="utf-8") as file:
        file.write("TIMESTAMP,ContextTokens,GeneratedTokens\n")
        for _, seconds, inputs, outputs in _calls(rows):
            file.writelines(
                f"{_START + timedelta(seconds=t):%Y-%m-%d %H:%M:%S.%f}0,{i},{o}\n"
                for t, i, o in zip(seconds, inputs, outputs, strict=True)
            )


def trace_jsonl(path: Path, rows: int) -> None:
    """Freehold's own fields."""
    with path.open("w", encoding="utf-8") as file:
        for _, seconds, inputs, outputs in _calls(rows):
            file.writelines(
                f'{{"t_s":{t},"input_tokens":{i},"output_tokens":{o}}}\n'
                for t, i, o in zip(seconds, inputs, outputs, strict=True)
            )


def spend_logs_csv(path: Path, rows: int) -> None:
    """LiteLLM's table as PostgreSQL exports it, prompts switched off."""
    with path.open("w", encoding="utf-8") as file:
        file.write(
            "request_id,call_type,api_key,spend,total_tokens,prompt_tokens,completion_tokens,startTime,endTime,"
            "completionStartTime,model,model_id,model_group,custom_llm_provider,api_base,user,metadata,cache_hit,"
            "cache_key,request_tags,team_id,end_user,requester_ip_address,messages,response,session_id,status,"
            "proxy_server_request\n"
        )
        for first, seconds, inputs, outputs in _calls(rows):
            for place, (t, i, o) in enumerate(zip(seconds, inputs, outputs, strict=True)):
                number = first + place
                start = _START + timedelta(seconds=t)
                end = start + timedelta(milliseconds=200 + 11 * o)
                model = _MODELS[number % 3]
                usage = f'{{""prompt_tokens"": {i}, ""prompt_tokens_details"": {{""cached_tokens"": {i // 3}}}}}'
                metadata = f'{{""user_api_key_alias"": ""team-{number % 8}"", ""usage_object"": {usage}}}'
                file.write(
                    f"chatcmpl-{number:012d},acompletion,88dc28d0f03{number % 8},{o * 1e-5:.6f},{i + o},{i},{o},"
                    f"{start:%Y-%m-%d %H:%M:%S.%f},{end:%Y-%m-%d %H:%M:%S.%f},,{model},,{model},openai,,"
                    f'default_user_id,"{metadata}",None,Cache OFF,"[""app-{number % 5}""]",,,10.0.0.1,{{}},{{}},'
                    f"session-{number // 4},success,{{}}\n"
                )


def _spend_log(number: int, t: float, i: int, o: int) -> dict[str, object]:
    """A row of LiteLLM's table as its proxy gives it, prompts switched off."""
    start, end, _ = _times(t, o)
    model = _MODELS[number % 3]
    return {
        "request_id": f"chatcmpl-{number:012d}", "call_type": "acompletion", "api_key": f"88dc28d0f03{number % 8}",
        "spend": o * 1e-5, "total_tokens": i + o, "prompt_tokens": i, "completion_tokens": o,
        "startTime": start, "endTime": end, "completionStartTime": end, "model": model, "model_id": "",
        "model_group": model, "custom_llm_provider": "openai", "api_base": "", "user": "default_user_id",
        "metadata": {
            "user_api_key_alias": f"team-{number % 8}", "user_api_key_team_id": None, "status": "success",
            "usage_object": {"prompt_tokens": i, "completion_tokens": o, "total_tokens": i + o,
                             "prompt_tokens_details": {"cached_tokens": i // 3, "audio_tokens": None}},
        },
        "cache_hit": "None", "cache_key": "Cache OFF", "request_tags": [f"app-{number % 5}"], "team_id": None,
        "end_user": f"user-{number % 997}", "requester_ip_address": "10.0.0.1", "messages": {}, "response": {},
        "session_id": f"session-{number // 4}", "status": "success", "proxy_server_request": {},
    }  # fmt: skip


def _standard_payload(number: int, t: float, i: int, o: int) -> dict[str, object]:
    """What a callback of LiteLLM writes where messages are not logged."""
    model = _MODELS[number % 3]
    start_s = (_START + timedelta(seconds=t)).timestamp()
    end_s = start_s + 0.2 + 0.011 * o
    return {
        "id": f"chatcmpl-{number:012d}", "trace_id": f"trace-{number:012d}", "call_type": "acompletion", "stream": True,
        "response_cost": o * 1e-5, "status": "success", "custom_llm_provider": "openai", "total_tokens": i + o,
        "prompt_tokens": i, "completion_tokens": o, "startTime": start_s, "endTime": end_s,
        "completionStartTime": start_s + 0.2, "response_time": 0.2, "model": model, "model_id": "",
        "model_group": model, "api_base": "https://api.openai.com", "cache_hit": False, "cache_key": None,
        "saved_cache_cost": 0.0,
        "metadata": {"user_api_key_hash": f"88dc28d0f03{number % 8}", "user_api_key_alias": f"team-{number % 8}",
                     "usage_object": {"prompt_tokens": i, "completion_tokens": o, "total_tokens": i + o}},
        "request_tags": [f"app-{number % 5}"], "end_user": f"user-{number % 997}", "messages": None, "response": None,
        "error_str": None, "model_parameters": {"stream": True, "temperature": 0},
        "hidden_params": {"model_id": "", "cache_key": None, "litellm_overhead_time_ms": t},
    }  # fmt: skip


def _langfuse_legacy(number: int, t: float, i: int, o: int) -> dict[str, object]:
    """An observation of a blob export, the columns of bodies left out."""
    start, end, first = _times(t, o)
    return {
        "id": f"{number:016x}", "trace_id": f"{number:032x}", "project_id": "p", "environment": "default",
        "type": "GENERATION", "parent_observation_id": None, "start_time": start, "end_time": end,
        "completion_start_time": first, "name": f"step-{number % 5}", "level": "DEFAULT", "status_message": None,
        "version": None, "provided_model_name": _MODELS[number % 3], "model_parameters": {"temperature": 0},
        "usage_details": {"input": i - i // 3, "input_cached_tokens": i // 3, "output": o, "total": i + o},
        "cost_details": {"input": i * 1e-6, "output": o * 1e-5, "total": i * 1e-6 + o * 1e-5},
        "prompt_name": None, "prompt_version": None, "latency": 0.2 + 0.011 * o, "time_to_first_token": 0.2,
        "created_at": start, "updated_at": end,
    }  # fmt: skip


def _langfuse_enriched(number: int, t: float, i: int, o: int) -> dict[str, object]:
    """The newer export, where a row has what its trace says too."""
    return _langfuse_legacy(number, t, i, o) | {
        "user_id": f"user-{number % 997}", "session_id": f"session-{number // 4}", "trace_name": f"app-{number % 5}",
        "tags": ["production"], "release": None, "total_cost": o * 1e-5,
    }  # fmt: skip


def _helicone(number: int, t: float, i: int, o: int) -> dict[str, object]:
    """A row of Helicone's export, without bodies."""
    start, end, _ = _times(t, o)
    return {
        "response_id": f"{number:032x}", "response_created_at": end, "response_status": 200,
        "request_id": f"{number:032x}", "request_created_at": start,
        "request_path": "https://api.openai.com/v1/chat/completions",
        "request_user_id": f"user-{number % 997}", "request_model": _MODELS[number % 3], "provider": "OPENAI",
        "response_model": _MODELS[number % 3], "prompt_tokens": i, "completion_tokens": o, "total_tokens": i + o,
        "prompt_cache_read_tokens": i // 3, "prompt_cache_write_tokens": 0, "delay_ms": 200 + 11 * o,
        "time_to_first_token": 200, "cost": o * 1e-5,
        "request_properties": {"feature": f"app-{number % 5}", "Helicone-Session-Id": f"session-{number // 4}"},
        "cache_reference_id": "00000000-0000-0000-0000-000000000000",
    }  # fmt: skip


def _span(number: int, t: float, i: int, o: int) -> dict[str, object]:
    """A span as OTLP's JSON has it, contents switched off."""
    start_ns = int((_START.timestamp() + t) * 1e9)
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": _MODELS[number % 3],
        "gen_ai.response.model": _MODELS[number % 3], "gen_ai.response.id": f"chatcmpl-{number:012d}",
        "gen_ai.usage.input_tokens": i, "gen_ai.usage.output_tokens": o, "gen_ai.agent.name": f"app-{number % 5}",
    }  # fmt: skip
    return {
        "traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": "chat", "kind": 3,
        "startTimeUnixNano": str(start_ns), "endTimeUnixNano": str(start_ns + (200 + 11 * o) * 1_000_000),
        "attributes": [
            {"key": name, "value": {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}}
            for name, value in attributes.items()
        ],
        "status": {"code": 1},
    }  # fmt: skip


def _times(t: float, o: int) -> tuple[str, str, str]:
    """Start, end and first token of a call."""
    start = _START + timedelta(seconds=t)
    moments = (start, start + timedelta(milliseconds=200 + 11 * o), start + timedelta(milliseconds=200))
    return tuple(f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z" for moment in moments)  # type: ignore[return-value]  # three


def _with_bodies(row: Row, request: str, answer: str) -> Row:
    """The same row with a prompt of about 2 kB and an answer of about 400 bytes."""

    def filled(number: int, t: float, i: int, o: int) -> dict[str, object]:
        text = f"Case {number}: " + "the customer writes that the delivery has not come. " * 38
        asked = [{"role": "system", "content": "Sort the letter."}, {"role": "user", "content": text}]
        said = {"role": "assistant", "content": f"delivery {number} " * 25}
        return row(number, t, i, o) | {request: asked, answer: {"choices": [{"message": said}]}}

    return filled


def rows_of_calls(number: int, t: float, i: int, o: int) -> dict[str, object]:
    """Freehold's own rows, which always have bodies."""
    start, *_ = _times(t, o)
    text = f"Case {number}: " + "the customer writes that the delivery has not come. " * 38
    return {"input": text, "model_output": f"delivery {number} " * 25, "task": f"app-{number % 5}", "started_at": start,
            "model": _MODELS[number % 3], "input_tokens": i, "output_tokens": o}  # fmt: skip


def json_lines(row: Row) -> Make:
    """A log with a row of JSON for each call."""

    def make(path: Path, rows: int) -> None:
        with path.open("wb") as file:
            for first, seconds, inputs, outputs in _calls(rows):
                columns = zip(seconds, inputs, outputs, strict=True)
                for number, (t, i, o) in enumerate(columns, start=first):
                    file.write(msgspec.json.encode(row(number, t, i, o)) + b"\n")

    return make


def parquet(row: Row) -> Make:
    """The same in Parquet."""

    def make(path: Path, rows: int) -> None:
        writer = None
        for first, *columns in _calls(rows):
            given = enumerate(zip(*columns, strict=True), start=first)
            table = pa.Table.from_pylist([row(number, *each) for number, each in given])
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
        assert writer is not None
        writer.close()

    return make


LOGS: dict[str, Make] = {
    "trace-csv": trace_csv,
    "trace-jsonl": trace_jsonl,
    "spend-logs-csv": spend_logs_csv,
    "spend-logs": json_lines(_spend_log),
    "standard-logging": json_lines(_standard_payload),
    "langfuse-legacy": json_lines(_langfuse_legacy),
    "langfuse": json_lines(_langfuse_enriched),
    "langfuse-parquet": parquet(_langfuse_enriched),
    "helicone": json_lines(_helicone),
    "otel": json_lines(_span),
    "standard-logging-bodies": json_lines(_with_bodies(_standard_payload, "messages", "response")),
    "langfuse-bodies": json_lines(_with_bodies(_langfuse_enriched, "input", "output")),
    "rows-bodies": json_lines(rows_of_calls),
}


def measure(name: str, rows: int) -> dict[str, object]:
    """Make a log, import it in a process of its own, and again; what that took."""
    folder = Path(tempfile.mkdtemp(prefix="freehold-import-"))
    try:
        log = folder / "log"
        LOGS[name](log, rows)
        first = _imported(folder, log)
        again = _imported(folder, log)
        size = sum(file.stat().st_size for file in folder.glob("calls/**/*") if file.is_file())
        return {"log": name, "rows": rows, "mb": log.stat().st_size / 1e6, "ledger_mb": size / 1e6} | {
            f"{key}{which}": value for which, one in (("", first), ("_again", again)) for key, value in one.items()
        }
    finally:
        shutil.rmtree(folder)


def _imported(folder: Path, log: Path) -> dict[str, object]:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        began = time.perf_counter()
        record = _import(folder, log) | {"wall_s": round(time.perf_counter() - began, 2)}
        os.write(writer, json.dumps(record).encode())
        os._exit(0)
    os.close(writer)
    _, status, used = os.wait4(child, 0)
    with os.fdopen(reader) as stream:
        record = json.loads(stream.read() or "{}")
    if status or not record:
        raise SystemExit(f"the import of {log.name} failed with status {status}")
    cpu_s = used.ru_utime + used.ru_stime
    return record | {
        "cpu_s": round(cpu_s, 2),
        "rows_per_cpu_s": round(record["rows_read"] / cpu_s),
        "mb_per_cpu_s": round(log.stat().st_size / 1e6 / cpu_s, 1),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def _import(folder: Path, log: Path) -> dict[str, object]:

    stores = Stores(
        ledger=Ledger(folder / "calls"), volumes=Volumes(folder / "volumes"), keep=lambda _words: {}, assign=assign
    )
    result = import_logs(find_logs([log]), stores, Choices(), progress=Silent(), today=_START + timedelta(days=60))
    assert not result.refused
    assert not result.tally.rejected
    return {"rows_read": result.rows, "imported": result.tally.imported}


def main() -> None:
    """Print one line of JSON for each kind of log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("logs", nargs="*", choices=[*LOGS, []], help="which kinds; all")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in options.logs or LOGS:
        print(json.dumps(measure(name, options.rows)), file=sys.stdout, flush=True)


if __name__ == "__main__":
    main()
