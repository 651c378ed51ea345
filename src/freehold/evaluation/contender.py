"""Who takes part in an evaluation, and how its answers are had."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from freehold.core.chat import Answer
from freehold.core.errors import InputError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.core.chat import ChatModel
    from freehold.core.dataset import Example
    from freehold.core.progress import Progress
    from freehold.core.task import Task

ContenderKind = Literal["own", "rented", "rent-tuned", "hosted-open", "base", "baseline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A model that answers now, or answers that were recorded before."""

    name: str
    kind: ContenderKind
    model: ChatModel | None = None
    answers: Mapping[str, Answer] | None = None
    """Recorded answers by example id; cases without one are left out. Used when there is no model."""
    version: str | None = None
    """Registry id of an own model."""


def recorded_rented(examples: Sequence[Example]) -> Contender | None:
    """The rented model as the log recorded it; None when no example has its answer.

    It is named after the model when the log names exactly one.
    """
    answers = {
        example.id: Answer(text=example.rented_output) for example in examples if example.rented_output is not None
    }
    if not answers:
        return None
    names = Counter(example.rented_model for example in examples if example.id in answers)
    only = next(iter(names)) if len(names) == 1 else None
    return Contender(name=only or "rented", kind="rented", answers=answers)


def answers_of(
    contender: Contender,
    examples: Sequence[Example],
    *,
    task: Task,
    max_output_tokens: int,
    progress: Progress,
) -> dict[str, Answer]:
    """Answers by example id; a recording may lack some.

    Raises:
        InputError: the contender has neither a model nor answers.
        UpstreamError: its model failed, or gave fewer or more answers than it was asked for.
    """
    if contender.model is None:
        if contender.answers is None:
            raise InputError(f"Contender {contender.name!r} has neither a model nor recorded answers; give it one.")
        return {example.id: contender.answers[example.id] for example in examples if example.id in contender.answers}
    given = contender.model.answer(
        [example.messages for example in examples],
        constraint=task.constraint,
        max_output_tokens=max_output_tokens,
        progress=progress,
    )
    if len(given) != len(examples):
        raise UpstreamError(f"{contender.name}: {len(given)} answers came back to {len(examples)} conversations.")
    return {example.id: answer for example, answer in zip(examples, given, strict=True)}


def input_text(example: Example) -> str:
    """What the user wrote: the turns that are not ours."""
    return "\n".join(message.content for message in example.messages if message.role != "system")
