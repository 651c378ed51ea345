"""Mixed logs that discovery was not made on: other samples, uneven sizes, and other ways of writing prompts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.tasks.mixed_logs import SETS, Row, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Wrapper = Callable[[random.Random, str, str, list[tuple[str, str]]], tuple[str | None, str]]

TEST_FILES = {
    task: file.replace("train.jsonl", "test.jsonl") for task, file in SETS.items()
}  # of sets without a test half all rows
FEWEST, MOST = 40, 900

_GERMAN = {
    "banking": "Ordne die Nachricht des Bankkunden genau einer Absicht zu. Gib nur deren Namen aus.",
    "ner": "Suche Personen, Firmen und Orte im Satz und gib sie als JSON-Liste mit type und text zurück.",
    "receipts": "Lies den Kassenbon aus. Antworte mit JSON: company, date, address, total.",
    "clauses": "Zu welcher Kategorie gehört diese Vertragsklausel? Nenne nur die Kategorie.",
    "screening": "Prüfe, ob die Klausel von der genannten Art ist. Antworte mit Yes oder No.",
    "spam": "Ist diese Kurznachricht Werbung? Antworte mit spam oder ham.",
    "terms": "Fasse den Abschnitt der Nutzungsbedingungen in einem englischen Satz zusammen.",
    "sums": "Löse die Textaufgabe und nenne am Ende die Zahl.",
    "romanian": "Übersetze aus dem Rumänischen ins Englische.",
    "estonian": "Übersetze aus dem Estnischen ins Englische.",
}
_ENGLISH = {
    "banking": "Which of our intents does this customer's message express?",
    "ner": "List the named entities of the passage.",
    "receipts": "Pull the header fields out of this receipt.",
    "clauses": "Tag this clause for the contract database.",
    "screening": "Check the clause against the question of the reviewer.",
    "spam": "Screen this SMS for the mobile carrier.",
    "terms": "Tell users in plain words what this passage means for them.",
    "sums": "Help the pupil with this word problem.",
    "romanian": "Render this Romanian sentence in English.",
    "estonian": "Render this Estonian sentence in English.",
}
_AGENTS = ("Mia", "Tom", "Aisha", "Ravi", "Chloé", "Jakub", "Ngozi", "Hiro")


def _macro(rng: random.Random, task: str, text: str, _: list[tuple[str, str]]) -> tuple[str | None, str]:
    """A help desk's macro: its header is the same in all tasks but for who uses it."""
    ticket = rng.randint(100_000, 999_999)
    return None, (
        f"[macro v{rng.randint(2, 4)}] Ticket #{ticket} opened by {rng.choice(_AGENTS)}\n"
        f"Instruction: {_ENGLISH[task]}\n---\n{text}\n---\nReply without a greeting."
    )


def _tagged(_: random.Random, task: str, text: str, __: list[tuple[str, str]]) -> tuple[str | None, str]:
    """Everything in tags, in what is asked."""
    return "Follow the instructions in the tags.", (
        f"<instructions>\n{_ENGLISH[task]}\n</instructions>\n<document>\n{text}\n</document>\n<answer>"
    )


def _few_shots(rng: random.Random, task: str, text: str, examples: list[tuple[str, str]]) -> tuple[str | None, str]:
    """Three examples in the system message, drawn anew for each call."""
    shown = "\n\n".join(f"Input: {asked}\nOutput: {answer}" for asked, answer in rng.sample(examples, 3))
    return f"{_ENGLISH[task]}\n\nExamples:\n\n{shown}", f"Input: {text}\nOutput:"


def _german(_: random.Random, task: str, text: str, __: list[tuple[str, str]]) -> tuple[str | None, str]:
    return _GERMAN[task], text


def _mixed_habits(rng: random.Random, task: str, text: str, examples: list[tuple[str, str]]) -> tuple[str | None, str]:
    """Each task is written by another team."""
    names = ("macro", "tags", "German", "nothing")
    chosen = names[sorted(SETS).index(task) % len(names)]
    return (None, text) if chosen == "nothing" else WRAPPERS[chosen](rng, task, text, examples)


WRAPPERS: dict[str, Wrapper] = {
    "macro": _macro,
    "tags": _tagged,
    "few shots": _few_shots,
    "German": _german,
    "nothing": lambda _, __, text, ___: (None, text),
    "a habit per team": _mixed_habits,
}


def held_out_log(data: Path, wrapper: str, *, seed: int, most: int = MOST) -> list[Row]:
    """Between 40 and `most` calls of each task, in random order."""
    rng = random.Random(f"held out {seed}")
    found: list[Row] = []
    for task, file in TEST_FILES.items():
        place = data / file
        there = list(rows_of(place if place.exists() else data / SETS[task]))
        answers = [str(row["weak_correct"]) if task == "sums" else str(row.get("output") or "") for row in there]
        examples = [(row["input"][:200], answer[:200]) for row, answer in zip(there[:40], answers, strict=False)]
        number = round(FEWEST * (most / FEWEST) ** rng.random())
        for place_of_row in rng.sample(range(len(there)), min(number, len(there))):
            system, asked = WRAPPERS[wrapper](rng, task, there[place_of_row]["input"], examples)
            found.append(Row(task, system, asked, answers[place_of_row] or None))
    rng.shuffle(found)
    return found
