"""What must hold before answers are worth comparing, and what a reader must be told when it barely does."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.evaluation.contender import input_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.evaluation.compare import Basis
    from freehold.evaluation.contender import Contender
    from freehold.evaluation.metrics.score import Scorer
    from freehold.evaluation.summary import ScoredAnswers

FEWEST_CASES = 20


def check_cases(task: Task, scorer: Scorer, examples: Sequence[Example], train: Sequence[Example]) -> None:
    """Refuse cases whose scores would prove nothing.

    Raises:
        InputError: there are none, a case has no usable target or stands there twice, there is one class
            only, or test cases stand in the training set too.
    """
    rebuild = f"Build the dataset again: freehold dataset build {task.name}"
    for what, rows in (("test", examples), ("training", train)):
        if not rows:
            raise InputError(f"Task {task.name!r} has no {what} cases. Import labelled rows, then build its dataset.")
        bad = [row.id for row in rows if not scorer.is_target(row.target)]
        if bad:
            wanted = "a JSON object" if task.kind == "extraction" else "a text that is not blank"
            raise InputError(
                f"{len(bad)} {what} cases of {task.name!r} have a target that is not {wanted}, the first is "
                f"{bad[0]!r}. Correct the rows and import them again. {rebuild}"
            )
        twice = [id_ for id_, count in Counter(row.id for row in rows).items() if count > 1]
        if twice:
            raise InputError(
                f"{len(twice)} ids stand more than once among the {what} cases of {task.name!r}, the first "
                f"is {twice[0]!r}. {rebuild}"
            )
        if task.kind == "classification" and len({row.target.strip() for row in rows}) == 1:
            raise InputError(
                f"All {len(rows)} {what} cases of {task.name!r} have the same label: there is nothing to "
                "tell apart. Import rows of at least one other label."
            )
    _check_leak(task, examples, train, rebuild)


def _check_leak(task: Task, examples: Sequence[Example], train: Sequence[Example], rebuild: str) -> None:
    trained_on = {input_text(row) for row in train}
    leaked = sum(input_text(example) in trained_on for example in examples)
    if leaked:
        raise InputError(
            f"{leaked} of {len(examples)} test cases of {task.name!r} stand in the training set too, word "
            f"for word. Their scores would prove nothing. {rebuild} (it drops such rows from training, "
            "reason 'leak')"
        )


def check_basis(basis: Basis) -> None:
    """Refuse levels at which no comparison makes sense.

    Raises:
        InputError: one is out of range.
    """
    if not 0 <= basis.margin < 1:
        raise InputError(
            f"The margin is {basis.margin * 100:g} points; it must be at least 0 and below 100 (2 is usual)."
        )
    if not 0.5 <= basis.confidence < 1:
        raise InputError(
            f"The confidence is {basis.confidence!r}; it must be at least 0.5 and below 1 (0.95 is usual)."
        )
    if basis.tasks_compared < 1:
        raise InputError(f"The number of tasks judged together is {basis.tasks_compared!r}; it must be 1 or more.")
    if basis.seed < 0:
        raise InputError(f"The seed is {basis.seed!r}; it must be 0 or more.")


def check_contenders(contenders: Sequence[Contender]) -> None:
    """Refuse contenders among which no comparison makes sense.

    Raises:
        InputError: two have the same name, or there are several own or rented ones.
    """
    twice = [name for name, count in Counter(each.name for each in contenders).items() if count > 1]
    if twice:
        raise InputError(f"Two contenders are named {twice[0]!r}. Give each a name of its own.")
    for kind in ("own", "rented"):
        names = [each.name for each in contenders if each.kind == kind]
        if len(names) > 1:
            raise InputError(
                f"{len(names)} contenders are {kind}: {', '.join(names)}. Choose one on validation cases; "
                "the test cases judge one only."
            )


def warnings_about(
    task: Task, examples: Sequence[Example], train: Sequence[Example], scored: Sequence[ScoredAnswers]
) -> tuple[str, ...]:
    """What weakens the result, one plain sentence each."""
    warnings = []
    if len(examples) < FEWEST_CASES:
        warnings.append(
            f"There are only {len(examples)} test cases; with fewer than {FEWEST_CASES} nothing can be decided."
        )
    if task.kind == "classification":
        known = {row.target.strip() for row in train}
        unknown = sum(row.target.strip() not in known for row in examples)
        if unknown:
            warnings.append(
                f"{unknown} test cases have a label that no training row has; no trained model can get them."
            )
    if any(each.kind == "rented" for each in scored):
        warnings.extend(_leaning(examples))
    models = {row.rented_model for row in examples if row.rented_output is not None}
    if len(models) > 1:
        warnings.append(f"The recorded answers come from {len(models)} rented models, which count as one here.")
    for each in scored:
        if len(each.answers) < len(examples):
            warnings.append(
                f"{each.name} answered {len(each.answers)} of {len(examples)} test cases; it is compared "
                "on those alone."
            )
    return tuple(warnings)


def _leaning(examples: Sequence[Example]) -> list[str]:
    """A warning when most right answers were the rented model's before a human agreed."""
    accepted = sum(example.provenance == "human-accepted" for example in examples)
    if 2 * accepted <= len(examples):
        return []
    share = 100 * accepted / len(examples)
    return [
        f"The right answer of {accepted} of {len(examples)} test cases ({share:.0f} %) is a rented answer that a "
        "human accepted: the comparison leans to the rented model."
    ]


def note_on_human_words(examples: Sequence[Example], scored: Sequence[ScoredAnswers]) -> str | None:
    """How own and rented score where no rented answer was accepted as right; None where that says nothing new."""
    own = next((each for each in scored if each.kind == "own"), None)
    rented = next((each for each in scored if each.kind == "rented"), None)
    if own is None or rented is None or all(example.provenance != "human-accepted" for example in examples):
        return None
    both = [
        (ours, theirs, example.provenance == "human-corrected")
        for example in examples
        if example.provenance in ("human-corrected", "human-labelled")
        and (ours := own.value_of(example.id)) is not None
        and (theirs := rented.value_of(example.id)) is not None
    ]
    if not both:
        return "No test case that a human corrected or labelled was answered by both the own and the rented model."
    mine, theirs, corrected = (sum(values) for values in zip(*both, strict=True))
    lean = (
        f" A human corrected {corrected} of them because the rented answer was wrong: these lean to the own model."
        if corrected
        else ""
    )
    return (
        f"On the {len(both)} test cases that a human corrected or labelled, {own.name} scores "
        f"{100 * mine / len(both):.1f} and {rented.name} {100 * theirs / len(both):.1f} of 100.{lean}"
    )
