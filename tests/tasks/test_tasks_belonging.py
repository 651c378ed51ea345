"""What is like nothing else is of no task, in a log of ten calls as in a long one."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.tasks.mixed_logs import SETS, Row, calls_of, mixed_log
from tests.tasks.test_tasks_discover import found_in

if TYPE_CHECKING:
    from pathlib import Path

QUESTIONS = (
    ("What is the capital of Mongolia?", "Ulaanbaatar."),
    ("Write a haiku about rust.", "Iron turns to red."),
    ("How do I boil an egg for seven minutes?", "Put it into boiling water, wait seven minutes, then cool it."),
    ("Compare Kant and Hume on causality in short.", "Kant held it to be a category; Hume a habit of the mind."),
    ("My printer shows error 0x6100004a, help", "Turn it off and clean the carriage of the print head."),
    ("Plan a three day trip to Lisbon with kids", "Day 1: Alfama. Day 2: Belém and its tower. Day 3: Sintra."),
    ("Why is the sky blue", "Short waves are scattered more than long ones."),
    ("Draft an apology mail to my landlord about noise", "Dear Mr. Smith, I am sorry for the noise last night."),
    ("Recommend a sci-fi novel like Dune", "Try Hyperion by Dan Simmons."),
    ("Explain the offside rule", "You may not be nearer to the goal than the last two defenders."),
    ("What does idempotent mean in http", "Doing it twice has the effect of doing it once."),
    ("How much does a blue whale weigh?", "About 150 tonnes."),
    ("Is it legal to fly a drone over a park in Oslo?", "Only with a permit of the city."),
    ("Who painted The Night Watch?", "Rembrandt."),
    ("convert 12 stone to kg", "76.2 kg"),
    ("Suggest names for a grey kitten", "Ash, Misty, Pebble"),
    ("When was the Suez Canal opened", "1869"),
    ("Can I freeze cooked rice?", "Yes, for up to a month."),
    ("my knee hurts after running what could it be", "It may be the tendon under the kneecap. See a physician."),
    ("Which metals are liquid at room temperature?", "Mercury; gallium on a warm day."),
    ("how to center a div", "Use display: grid with place-items: center."),
    ("Is my sourdough starter dead if it smells of acetone?", "No, it is hungry. Feed it twice a day."),
    ("What were the main causes of the French revolution", "Debt, bread prices and an unequal tax."),
    ("Give the chords of Wonderwall", "Em7 G Dsus4 A7sus4"),
)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("system", [None, "You are a helpful assistant."])
@pytest.mark.parametrize("answered", [True, False])
def test_questions_that_have_nothing_in_common_are_no_task(
    seed: int, system: str | None, answered: bool, tmp_path: Path
) -> None:
    some = random.Random(seed).sample(QUESTIONS, 10 if seed % 2 else 20)
    calls = list(calls_of([Row("none", system, asked, answer if answered else None) for asked, answer in some]))

    found, moves = found_in(tmp_path, calls)

    assert ([one.name for one in found.tasks], moves, found.unassigned) == ([], {}, len(some))


@pytest.mark.parametrize("tasks", [("spam",), ("banking", "spam"), ("terms", "romanian", "clauses")])
def test_a_call_like_nothing_else_does_not_go_to_a_task_that_is_known(
    tasks: tuple[str, ...], shared_data: Path, tmp_path: Path
) -> None:
    logs = {task: mixed_log(shared_data, "no prompt", 60, tasks=(task,)) for task in tasks}
    known = [call for task, log in logs.items() for call in calls_of(log, task=task)]
    strange = list(calls_of([Row("none", None, *pair) for pair in QUESTIONS], start=datetime(2026, 10, 1, tzinfo=UTC)))
    home = mixed_log(shared_data, "no prompt", 20, seed=8, tasks=tasks)
    usual = list(calls_of(home, start=datetime(2026, 11, 1, tzinfo=UTC)))

    _, moves = found_in(tmp_path, [*known, *strange, *usual], known=tasks)

    assert sum(call.id in moves for call in strange) <= 0.1 * len(strange)
    assert sum(call.id in moves for call in usual) >= 0.97 * len(usual)


def test_strange_calls_among_many_others_stay_unassigned(shared_data: Path, tmp_path: Path) -> None:
    strange = [Row("none", None, asked, answer) for asked, answer in QUESTIONS]
    log = [*mixed_log(shared_data, "no prompt", 60), *strange]
    calls = list(calls_of(log))

    _, moves = found_in(tmp_path, calls)

    lost = [row.task for row, call in zip(log, calls, strict=True) if call.id not in moves]
    assert lost.count("none") >= 0.6 * len(strange)
    assert len(lost) - lost.count("none") <= 0.03 * 60 * len(SETS)
