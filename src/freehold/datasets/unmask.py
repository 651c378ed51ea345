"""Puts personal data back into examples, for whoever may train on it.

Nothing that was masked is kept with a dataset: a token such as `[EMAIL_1]` is turned back by reading the call in the
ledger again and masking it anew. So it can be reversed for as long as the call is there, and no longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from freehold.core.chat import Message
from freehold.core.errors import InputError
from freehold.core.spoken import answered
from freehold.datasets.rows import row_of, turns_of, verdict_of
from freehold.datasets.targets import canonical_target, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from freehold.core.call import Call
    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.datasets.rows import HumanWord

_BATCH_ROWS = 2_000


class Calls(Protocol):
    """Gives calls by their ids; the ledger does."""

    def __call__(self, references: Iterable[str], /) -> Mapping[str, Call]:
        """The calls that are there."""
        ...


@dataclass(slots=True)
class Unmasking:
    """Examples with what was masked in them, and how many could not be had."""

    task: Task
    calls: Calls
    words: Mapping[str, Sequence[HumanWord]]
    restored: int = 0
    """Examples that hold personal data again."""
    missing: int = 0
    """Examples with tokens whose call is not in the ledger, such as rows of files; they stay masked."""

    def __call__(self, examples: Iterable[Example]) -> Iterator[Example]:
        """The examples in their order.

        Raises:
            InputError: the rules that mask are others than when the dataset was built.
        """
        waiting = iter(examples)
        while batch := list(islice(waiting, _BATCH_ROWS)):
            there = self.calls([example.id for example in batch])
            for example in batch:
                call = there.get(example.id)
                yield self._masked(example) if call is None else self._restored(example, call)

    def _masked(self, example: Example) -> Example:
        self.missing += 1
        return example

    def _restored(self, example: Example, call: Call) -> Example:
        words = self.words.get(call.id, ())
        _, content = row_of(self.task, call, words)
        if content.messages != example.messages[1:] or content.target != example.target:
            raise InputError(
                f"Call {call.id} gives another row than it did: its correction or the rules that mask personal data "
                f"have changed since. Build the dataset again: freehold dataset build {self.task.name}"
            )
        turns = tuple(Message(turn.role, clean(turn.content)) for turn in turns_of(call))
        answer = answered(call.response)
        output = verdict_of(self.task, words)[0] if words else answer or ""
        said = None if answer is None else clean(answer)
        plain = replace(
            example,
            messages=(example.messages[0], *turns),
            target=canonical_target(self.task, output).text,
            rented_output=None if example.rented_output is None else said,
            own_output=None if example.own_output is None else said,
        )
        self.restored += plain != example
        return plain
