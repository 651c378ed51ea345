"""Mixed logs as different teams would write them: each way of asking is a function, and sizes are very unequal.

Discovery was chosen on some seeds of `DEVELOPMENT`; what is told of it is of other seeds and of held_out.py.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from tests.tasks.held_out import TEST_FILES
from tests.tasks.mixed_logs import SETS, Row, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Examples = Sequence[tuple[str, str]]
    Way = Callable[[random.Random, str, str, Examples], Row]

_PARAPHRASES: Mapping[str, tuple[str, ...]] = {
    "banking": (
        "Map the customer's question to one of our support intents.",
        "You sort incoming bank chats. Say which intent it is and nothing more.",
        "Which intent does the customer have? Give its identifier only.",
    ),
    "ner": (
        "Mark names of people, organisations and places in this text as JSON.",
        "Return all named entities as a list of objects with their type.",
        "Extract the entities. Output JSON only, with type and text.",
    ),
    "receipts": (
        "Extract vendor, date, address and sum of the receipt as JSON.",
        "Turn this scanned till slip into a JSON record.",
        "Parse the receipt. The output is JSON with four fields.",
    ),
    "clauses": (
        "What sort of clause is this? One of our six categories.",
        "Classify the contract passage by its category.",
        "Assign the clause to its heading in our clause library.",
    ),
    "screening": (
        "Say whether the clause is of the named type: Yes or No.",
        "Review the contract clause. Is it of the kind in question?",
        "Answer yes or no: does the text contain the clause type?",
    ),
    "spam": (
        "Decide if this SMS is junk.",
        "Filter text messages: spam or ham?",
        "Is the following message unwanted advertising (spam) or not (ham)?",
    ),
    "terms": (
        "Shorten the passage of the privacy policy to one sentence.",
        "Explain in a few words what these terms mean.",
        "Write a one line summary of the legal text.",
    ),
    "sums": (
        "Work out the answer to this maths question.",
        "Solve this exercise for a primary school pupil.",
        "Compute the result of the word problem.",
    ),
    "romanian": (
        "Put this Romanian text into English.",
        "English translation of the Romanian sentence, please.",
        "You translate Romanian to English for a news site.",
    ),
    "estonian": (
        "Put this Estonian text into English.",
        "English translation of the Estonian sentence, please.",
        "You translate Estonian to English for a news site.",
    ),
}
_SHARED = {
    "clauses": "You support the contracts department of a software company.",
    "screening": "You support the contracts department of a software company.",
    "romanian": "You are a professional translator. Translate into English and give the translation only.",
    "estonian": "You are a professional translator. Translate into English and give the translation only.",
    "terms": "You work in consumer protection and write plainly.",
    "banking": "You are part of the mobile team's inbox.",
    "spam": "You are part of the mobile team's inbox.",
    "sums": "You are a tutor.",
    "ner": "You process documents. Answer in JSON.",
    "receipts": "You process documents. Answer in JSON.",
}
_PEOPLE = ("Marta Lind", "Joe Park", "Ines Duarte", "Sam Okoye", "Dr. Wolf", "Lena Ho", "Piotr Zając", "Ana Cruz")
_CITIES = ("Lyon", "Gdańsk", "Leeds", "Porto", "Tartu", "Cluj")


def _plain(_: random.Random, task: str, text: str, __: Examples) -> Row:
    return Row(task, None, text, None)


def _paraphrased(rng: random.Random, task: str, text: str, _: Examples) -> Row:
    return Row(task, rng.choice(_PARAPHRASES[task]), text, None)


def _rotating(rng: random.Random, task: str, text: str, examples: Examples) -> Row:
    shown = "\n".join(f"Q: {asked}\nA: {answer}" for asked, answer in rng.sample(examples, rng.randint(2, 4)))
    return Row(task, f"{_PARAPHRASES[task][0]} Here are examples.\n{shown}", text, None)


def _rotating_in_question(rng: random.Random, task: str, text: str, examples: Examples) -> Row:
    shown = "\n###\n".join(f"{asked}\n=> {answer}" for asked, answer in rng.sample(examples, 4))
    return Row(task, None, f"{_PARAPHRASES[task][1]}\n###\n{shown}\n###\n{text}\n=>", None)


def _shots_as_turns(rng: random.Random, task: str, text: str, examples: Examples) -> Row:
    return Row(task, _PARAPHRASES[task][2], text, None, tuple(rng.sample(examples, 3)))


def _stamped(rng: random.Random, task: str, text: str, _: Examples) -> Row:
    return Row(
        task,
        f"Session {rng.randbytes(8).hex()} of {rng.choice(_PEOPLE)} in {rng.choice(_CITIES)}, "
        f"202{rng.randint(4, 6)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} {rng.randint(0, 23):02}:15 UTC. "
        f"{_PARAPHRASES[task][0]} Sign nothing with the name of {rng.choice(_PEOPLE)}.",
        text,
        None,
    )


def _one_message(rng: random.Random, task: str, text: str, _: Examples) -> Row:
    return Row(task, None, f"{rng.choice(('Hi. ', '', 'Hello! '))}{_PARAPHRASES[task][1]}\n\n{text}", None)


def _instruction_last(_: random.Random, task: str, text: str, __: Examples) -> Row:
    return Row(task, None, f"{text}\n\n{_PARAPHRASES[task][0]}", None)


def _context_first(rng: random.Random, task: str, text: str, examples: Examples) -> Row:
    passages = "\n".join(f"[{n}] {asked}" for n, (asked, _) in enumerate(rng.sample(examples, 3), 1))
    return Row(
        task,
        "Use the context where it helps.",
        f"Context:\n{passages}\n\nQuestion: {_PARAPHRASES[task][1]}\n{text}",
        None,
    )


def _json_input(rng: random.Random, task: str, text: str, _: Examples) -> Row:
    record = {
        "id": rng.randint(1, 10**7),
        "instruction": _PARAPHRASES[task][2],
        "text": text,
        "user": rng.choice(_PEOPLE),
    }
    return Row(task, None, json.dumps(record, ensure_ascii=rng.random() < 0.5), None)


def _bare_json(rng: random.Random, task: str, text: str, _: Examples) -> Row:
    return Row(task, _PARAPHRASES[task][0], json.dumps({"id": rng.randint(1, 10**7), "body": text}), None)


def _shared_prompt(_: random.Random, task: str, text: str, __: Examples) -> Row:
    return Row(task, _SHARED[task], text, None)


def _versions(rng: random.Random, task: str, text: str, _: Examples) -> Row:
    version = rng.choice((0, 0, 0, 1))
    return Row(task, f"{_PARAPHRASES[task][version]}\nBe brief." if version else _PARAPHRASES[task][0], text, None)


DEVELOPMENT: Mapping[str, Way] = {
    "plain": _plain,
    "paraphrased prompts": _paraphrased,
    "rotating examples": _rotating,
    "rotating examples in the question": _rotating_in_question,
    "examples as turns": _shots_as_turns,
    "stamped prompts": _stamped,
    "one message": _one_message,
    "instruction last": _instruction_last,
    "context first": _context_first,
    "JSON with instruction": _json_input,
    "JSON under a prompt": _bare_json,
    "prompts that tasks share": _shared_prompt,
    "versions of prompts": _versions,
}
SIZES: Mapping[str, tuple[int, int]] = {"short": (15, 45), "middle": (40, 400), "unequal": (10, 3_000)}
"""Fewest and most calls of a task; between them all orders of size are equally likely."""


def team_log(
    data: Path, way: str, size: str, *, seed: int, ways: Mapping[str, Way] = DEVELOPMENT, rows: str = "train"
) -> list[Row]:
    """Calls of all tasks in random order, asked in one way; or each task in its own, if `way` is "each its own"."""
    rng = random.Random(f"{way} {size} {seed}")
    fewest, most = SIZES[size]
    names = sorted(ways)
    found: list[Row] = []
    for task in SETS:
        file = data / (SETS if rows == "train" else TEST_FILES)[task]
        there = rows_of(file if file.exists() else data / SETS[task])
        answers = [str(row["weak_correct"]) if task == "sums" else str(row.get("output") or "") for row in there]
        pool = rng.sample(range(len(there)), min(len(there), rng.choice((12, 40, 150))))
        examples = [(there[place]["input"][:300], answers[place][:200]) for place in pool]
        ask = ways[rng.choice(names) if way == "each its own" else way]
        number = round(fewest * (most / fewest) ** rng.random())
        for place in rng.sample(range(len(there)), min(number, len(there))):
            row = ask(rng, task, there[place]["input"], examples)
            found.append(Row(row.task, row.system, row.asked, answers[place] or None, row.examples))
    rng.shuffle(found)
    return found
