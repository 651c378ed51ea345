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

import numpy as np

from freehold.core.progress import Silent
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.logs.tasks import assign
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


LOGS: dict[str, Callable[[Path, int], None]] = {
    "trace-csv": trace_csv,
    "trace-jsonl": trace_jsonl,
    "spend-logs-csv": spend_logs_csv,
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
