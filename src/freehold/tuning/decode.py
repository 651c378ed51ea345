"""Greedy decoding of a batch: each row takes its most likely token until it ends its turn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from freehold.tuning.packing import Memory, Packing, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from freehold.tuning.decoder import Decoder


@dataclass(slots=True)
class Decoded:
    """What was generated for one row."""

    tokens: list[int] = field(default_factory=list)
    """Without the end-of-turn token."""
    log_probability: float = 0.0
    """Of all that was generated, the end included."""
    ended: bool = False
    """The model ended its turn; otherwise the limit did."""


def greedy(decoder: Decoder, prompts: Sequence[Sequence[int]], shared: int, *, end: int, limit: int) -> list[Decoded]:
    """Continue each prompt by at most `limit` tokens. All prompts begin with the same `shared` tokens."""
    memory = Memory()
    decoded = [Decoded() for _ in prompts]
    alive = list(range(len(prompts)))
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    packing = pack(shared, (lengths - shared).tolist())
    tokens = [*prompts[0][:shared], *(token for prompt in prompts for token in prompt[shared:])]
    states = decoder.run(decoder.embed(torch.tensor([tokens])), packing, memory=memory)[0]
    states = states[(lengths - shared).cumsum(0) + shared - 1]
    for step in range(limit):
        best, chosen = decoder.logits(states).log_softmax(-1).max(-1)
        for row, token, score in zip(alive, chosen.tolist(), best.tolist(), strict=True):
            decoded[row].log_probability += score
            if token == end:
                decoded[row].ended = True
            else:
                decoded[row].tokens.append(token)
        going = torch.tensor([not decoded[row].ended for row in alive])
        if not going.any() or step + 1 == limit:
            break
        if not going.all():
            memory.keep(going.nonzero().flatten())
            alive = [row for row in alive if not decoded[row].ended]
            chosen = chosen[going]
        places = lengths[torch.tensor(alive)] + step
        states = decoder.run(decoder.embed(chosen[None]), _next_packing(places), memory=memory)[0]
    return decoded


def _next_packing(places: Tensor) -> Packing:
    """A pass of one token a row, at these places."""
    rows = len(places)
    columns = torch.arange(int(places.max()) + 1)
    mask = torch.zeros(rows, 1, 1, len(columns)).masked_fill(columns > places[:, None, None, None], -math.inf)
    return Packing(0, rows, 1, torch.arange(rows), places[None], mask, places)
