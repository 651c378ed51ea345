"""The traffic of a task whose log counts no tokens, estimated from the length of its texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.core.spoken import asked
from freehold.economics.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from freehold.core.call import Call

CHARACTERS_PER_TOKEN = 4.0
"""Of European languages under the usual tokenizers; an assumption that the caller must name."""


def estimated_workload(calls: Iterable[Call], outputs: Iterable[str], *, queries_per_month: float) -> Workload:
    """A workload whose tokens are guessed: characters of requests and of answers, divided by four.

    Args:
        calls: Calls or labelled rows of the task.
        outputs: Answers, the humans' or the models'.
        queries_per_month: The volume, since rows that were never sent have none.

    Raises:
        InputError: there are no rows or no answers to measure.
    """
    inputs = [_characters(call) for call in calls]
    answers = [len(output) for output in outputs]
    if not inputs or not answers:
        raise InputError("The task has no rows with answers, so its traffic cannot be estimated.")
    return Workload(
        queries_per_month=queries_per_month,
        input_tokens=max(1.0, sum(inputs) / len(inputs) / CHARACTERS_PER_TOKEN),
        output_tokens=max(1.0, sum(answers) / len(answers) / CHARACTERS_PER_TOKEN),
        cached_share=None,
    )


def _characters(call: Call) -> int:
    return sum(len(turn.content) for turn in asked(call.request))
