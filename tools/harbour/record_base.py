"""Records what the untuned base model answers to the sample's messages, shown a few of the desk's answers.

One example per label for the intents, six for the disputes, all from the first days of the log. Answers are
held to the label set or the JSON schema, as an own model's are; greedy, so the same engine repeats them.

    .venv/bin/python tools/harbour/record_base.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from openai import OpenAI

from freehold.core.progress import Silent
from freehold.serving._grammar import task_grammar
from freehold.serving.cpu_engine import CpuEngine
from freehold.tasks.define import guess_task
from freehold.tuning.bases import fetch_base

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

SAMPLE = Path(__file__).parents[2] / "src" / "freehold" / "samples" / "harbour"
DISPUTES_SHOWN = 6
INSTRUCTIONS = {
    "support_intent": "Sort the customer's message. Answer with one label.",
    "dispute_fields": "Read the customer's dispute. "
    "Answer with one JSON object: amount, currency, merchant, date, wants.",
}


def read(name: str) -> list[dict[str, Any]]:
    """Rows of a file of the sample."""
    return [json.loads(line) for line in (SAMPLE / name).read_text(encoding="utf-8").splitlines()]


def shots(task: str, calls: list[dict[str, Any]], filed: dict[str, str]) -> list[dict[str, Any]]:
    """The messages that are shown with their answers."""
    chosen: dict[str, dict[str, Any]] = {}
    for call in calls:
        answer = filed.get(call["id"])
        if answer is not None and answer not in chosen and len(call["input"][-1]["content"]) <= 220:
            chosen[answer] = call
        if task == "dispute_fields" and len(chosen) == DISPUTES_SHOWN:
            break
    return list(chosen.values())


def main() -> None:
    """Write base_answers.jsonl of the sample."""
    calls, corrections = read("log.jsonl"), read("corrections.jsonl")
    filed = {word["call_id"]: word["output"] for word in corrections}
    base = fetch_base("smollm2-135m", progress=Silent())
    assert base.gguf is not None
    rows = []
    log_file = Path(tempfile.mkdtemp()) / "engine.log"
    with CpuEngine(base.gguf, log_file=log_file, parallel=1, context_tokens=4096) as engine:
        client = OpenAI(base_url=f"{engine.base_url}/v1", api_key=engine.headers["Authorization"].split()[1])
        for task, instruction in INSTRUCTIONS.items():
            asked = [call for call in calls if call["task"] == task]
            definition = guess_task(task, [filed[call["id"]] for call in asked if call["id"] in filed])
            prefix = [{"role": "system", "content": instruction}]
            for shot in shots(task, asked, filed):
                prefix.append({"role": "user", "content": shot["input"][-1]["content"]})
                prefix.append({"role": "assistant", "content": filed[shot["id"]]})
            for number, call in enumerate(asked):
                reply = client.chat.completions.create(
                    model="base",
                    messages=cast("list[ChatCompletionMessageParam]", [*prefix, call["input"][-1]]),
                    temperature=0,
                    max_tokens=120,
                    extra_body={"grammar": task_grammar(definition), "cache_prompt": True},
                )
                rows.append(
                    {
                        "call_id": call["id"],
                        "output": reply.choices[0].message.content,
                        "model": "SmolLM2-135M-Instruct, untuned, few-shot",
                    }
                )
                if number % 50 == 0:
                    print(task, number, rows[-1]["output"], "| desk:", filed.get(call["id"]), flush=True)
    rows.sort(key=lambda row: row["call_id"])
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (SAMPLE / "base_answers.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
