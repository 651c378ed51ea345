"""How many tokens the rows of a dataset have: by the base's own tokenizer where it is at hand, else by characters."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.tuning.plan import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from freehold.core.dataset import Example

CHARACTERS_PER_TOKEN = 4.0
"""Where the base's own tokenizer is not at hand: usual for English; the plan says that it was used."""

TEMPLATE_TOKENS = 8
"""Of the chat template, per message."""

MOST_TOKENISED = 2000
"""Rows; of more, so many at random are tokenised, and the others follow by their characters."""

Count = tuple[int, int]
"""Tokens of a row, and of its answer."""


def count_rows(
    train: Sequence[Example], *, validation: int, max_tokens: int, count: Callable[[Example], Count] | None
) -> Rows:
    """The rows in numbers.

    Args:
        train: rows to train on.
        validation: how many validation rows there are.
        max_tokens: longer rows are left out.
        count: tokens of a row by the base's tokenizer; None: by characters.

    Raises:
        InputError: no rows, or none short enough.
    """
    if not train:
        raise InputError("There are no rows to train on. Build a dataset first: freehold dataset build TASK")
    rough = [_by_characters(row) for row in train]
    if count is None:
        return _rows(rough, validation=validation, max_tokens=max_tokens, source="characters", is_estimate=True)
    if len(train) <= MOST_TOKENISED:
        exact = [count(row) for row in train]
        return _rows(exact, validation=validation, max_tokens=max_tokens, source="tokenizer", is_estimate=False)
    places = random.Random(0).sample(range(len(train)), MOST_TOKENISED)  # noqa: S311 -- a sample, not a secret
    exact = [count(train[place]) for place in places]
    whole, answer = (sum(row[of] for row in exact) / sum(rough[place][of] for place in places) for of in (0, 1))
    scaled = [(round(row[0] * whole), round(row[1] * answer)) for row in rough]
    return _rows(
        scaled,
        validation=validation,
        max_tokens=max_tokens,
        source=f"tokenizer, on {MOST_TOKENISED:,} rows",
        is_estimate=False,
    )


def stated_rows(rows: int, tokens: int, *, max_tokens: int) -> Rows:
    """Rows that somebody states, all of one length, answers included.

    Raises:
        InputError: they are longer than the recipe allows.
    """
    if tokens > max_tokens:
        raise InputError(f"--row-tokens is {tokens}; the recipe leaves out rows with more than {max_tokens} tokens.")
    return Rows(train=rows, validation=0, tokens=float(tokens), longest=tokens, answer_tokens=float(tokens))


def _by_characters(row: Example) -> Count:
    answer = round(len(row.target) / CHARACTERS_PER_TOKEN) + 1
    return answer + sum(
        round(len(turn.content) / CHARACTERS_PER_TOKEN) + TEMPLATE_TOKENS for turn in row.messages
    ), answer


def _rows(counts: Sequence[Count], *, validation: int, max_tokens: int, source: str, is_estimate: bool) -> Rows:
    kept = [count for count in counts if count[0] <= max_tokens]
    if not kept:
        longest = max(count[0] for count in counts)
        raise InputError(
            f"None of {len(counts)} rows has {max_tokens} tokens or fewer (the longest has {longest}). "
            f"Raise training.max_tokens to {longest}, or shorten the rows."
        )
    return Rows(
        train=len(kept),
        validation=validation,
        tokens=sum(count[0] for count in kept) / len(kept),
        longest=max(count[0] for count in kept),
        answer_tokens=sum(count[1] for count in kept) / len(kept),
        left_out=len(counts) - len(kept),
        source=source,
        is_estimate=is_estimate,
    )
