"""Makes the sample log of the Harbour desk from the messages that were written for it.

`messages.jsonl` holds the texts, the desk's answer (`gold`) and the recorded answer of the rented model.
This script lays them out over October 2026, counts tokens, and lets the desk review most of them.
The same seed gives the same bytes.

    .venv/bin/python tools/harbour/assemble.py
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer

from freehold.core.progress import Silent
from freehold.tuning.bases import fetch_base

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "src" / "freehold" / "samples" / "harbour"
SEED = 20261001
FIRST_DAY = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 31
WEEKDAY_WEIGHTS = (1.25, 1.15, 1.0, 1.0, 1.1, 0.55, 0.35)  # Monday first
HOUR_WEIGHTS = (1, 0, 0, 0, 0, 1, 3, 7, 12, 15, 14, 13, 12, 12, 11, 11, 11, 10, 9, 7, 6, 5, 4, 2)
REVIEWED_SHARE = 0.94
SECOND_OPINIONS = {"support_intent": 10, "dispute_fields": 6}
REVIEWERS = ("m.okafor", "r.lindqvist", "j.teale", "l.wyss")
RENTED_MODEL = "large-general-model"
FIELDS = ("amount", "currency", "merchant", "date", "wants")


def system_prompt(task: str, labels: Sequence[str]) -> str:
    """What the desk's application sends before every message."""
    if task == "support_intent":
        return (
            "You sort messages of bank customers for the support desk of Harbour Savings. "
            "Answer with exactly one of these labels and nothing else: " + ", ".join(labels) + "."
        )
    return (
        "You read messages in which customers of Harbour Savings contest a card payment. "
        "Answer with one JSON object with exactly these fields: amount (number or null, what was charged "
        "and is contested), currency (ISO 4217 code or null), merchant (name as the customer writes it, or "
        "null), date (day of the charge as YYYY-MM-DD, the year is 2026 unless stated, null unless day and "
        "month are stated), wants (refund, cancel, explain, block_card or correct_amount: what the customer "
        "asks for first)."
    )


def as_text(answer: Any) -> str:  # Any: a label or an object, as the source has it
    """An answer as a model or a clerk writes it."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def moments(rng: random.Random, count: int) -> list[datetime]:
    """Sorted times of day over the month, with the week's and the day's shape."""
    days = [FIRST_DAY + timedelta(days=day) for day in range(DAYS)]
    weights = [WEEKDAY_WEIGHTS[day.weekday()] for day in days]
    drawn = [
        day + timedelta(hours=rng.choices(range(24), HOUR_WEIGHTS)[0], seconds=rng.uniform(0, 3600))
        for day in rng.choices(days, weights, k=count)
    ]
    return sorted(moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in drawn)


def lay_out(rng: random.Random, rows: Sequence[dict[str, Any]]) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Give each message a moment: a writer's messages stay in order, a dispute comes after its charge."""
    slots = moments(rng, len(rows))
    if rows[0]["task"] == "support_intent":
        writer = len(rows) // 4
        queues = [list(rows[start : start + writer]) for start in range(0, len(rows), writer)]
        for slot in slots:
            queue = rng.choices(queues, [len(queue) for queue in queues])[0]
            yield slot, queue.pop(0)
        return
    order = list(rows)
    rng.shuffle(order)
    order.sort(key=lambda row: row["gold"]["date"] or "", reverse=True)
    for row in order:
        after = row["gold"]["date"] or ""
        free = [slot for slot in slots if slot.date().isoformat() > after] or slots[-1:]
        slot = rng.choice(free)
        slots.remove(slot)
        yield slot, row


def main() -> None:
    """Write log.jsonl and corrections.jsonl of the sample."""
    rng = random.Random(SEED)
    lines = (HERE / "messages.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    labels = sorted({row["gold"] for row in rows if row["task"] == "support_intent"})
    placed: list[tuple[datetime, dict[str, Any]]] = []
    for task in ("support_intent", "dispute_fields"):
        placed += lay_out(rng, [row for row in rows if row["task"] == task])
    placed.sort(key=lambda pair: pair[0])
    tokenizer = AutoTokenizer.from_pretrained(fetch_base("smollm2-135m", progress=Silent()).folder)
    calls: list[dict[str, Any]] = []
    words: list[dict[str, str]] = []
    second = dict(SECOND_OPINIONS)
    for number, (moment, row) in enumerate(placed, start=1):
        identifier = f"hb-{number:05d}"
        messages = [
            {"role": "system", "content": system_prompt(row["task"], labels)},
            {"role": "user", "content": row["text"]},
        ]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        calls.append(
            {
                "id": identifier,
                "task": row["task"],
                "started_at": moment.isoformat(timespec="milliseconds"),
                "input": messages,
                "model_output": as_text(row["rented"]),
                "model": RENTED_MODEL,
                "input_tokens": len(tokenizer(prompt)["input_ids"]),
                "output_tokens": len(tokenizer(as_text(row["rented"]))["input_ids"]),
            }
        )
        words += review(rng, identifier, moment, row, second)
    write(SAMPLE / "log.jsonl", calls)
    words.sort(key=lambda word: (word["reviewed_at"], word["call_id"]))
    write(SAMPLE / "corrections.jsonl", words)


def review(
    rng: random.Random, identifier: str, moment: datetime, row: dict[str, Any], second: dict[str, int]
) -> Iterator[dict[str, str]]:
    """What the desk files for a message: mostly one clerk, now and then two who disagree, or nobody."""
    disagrees = row["rented"] != row["gold"]
    if rng.random() >= REVIEWED_SHARE:
        return
    opinions = [row["gold"]]
    if disagrees and second[row["task"]] and rng.random() < 0.25:
        second[row["task"]] -= 1
        opinions.append(row["rented"])
    for reviewer, answer in zip(rng.sample(REVIEWERS, len(opinions)), opinions, strict=True):
        reviewed_at = moment + timedelta(minutes=rng.expovariate(1 / 240))
        yield {
            "call_id": identifier,
            "output": as_text(answer),
            "reviewer": reviewer,
            "reviewed_at": reviewed_at.isoformat(timespec="seconds"),
        }


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path.name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
