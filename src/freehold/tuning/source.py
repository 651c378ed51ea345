"""Rows as token ids, put together anew for each pass: where all layers learn, or a device is faster than a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from freehold.tuning.answers import Batch
from freehold.tuning.packing import pack
from freehold.tuning.tokens import shared_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.tuning.tokens import Encoded


class TokenRows:
    """Batches of rows, end to end behind the tokens that all of them begin with, or padded to one length."""

    def __init__(self, rows: Sequence[Encoded], *, first_layer: int, device: torch.device, packed: bool = True) -> None:
        """Keep the rows; the last answer token predicts nothing and is left out.

        Args:
            rows: all that batches are made of.
            first_layer: lowest layer that learns.
            device: where batches go.
            packed: end to end; otherwise each row is filled up to the longest of its batch, which changes nothing
                but the time it takes.
        """
        self._rows, self._first_layer, self._device, self._packed = rows, first_layer, device, packed
        self.prefix = shared_prefix([row.prompt for row in rows]) if packed else 0

    def batch(self, rows: Sequence[int]) -> Batch:
        """These rows."""
        chosen = [self._rows[row] for row in rows]
        lengths = [len(row) - 1 - self.prefix for row in chosen]
        width = max(lengths)
        tokens = list(chosen[0].prompt[: self.prefix])
        places: list[int] = []
        targets: list[int] = []
        owners: list[int] = []
        for owner, (row, length) in enumerate(zip(chosen, lengths, strict=True)):
            tokens.extend((*row.prompt, *row.answer)[self.prefix : -1])
            places.extend(range(len(tokens) - len(row.answer), len(tokens)))
            targets.extend(row.answer)
            owners.extend([owner] * len(row.answer))
            if not self._packed:
                tokens.extend([row.answer[-1]] * (width - length))
        packing = pack(self.prefix, lengths if self._packed else [width] * len(rows), device=self._device)
        return Batch(
            inputs=torch.tensor(tokens, device=self._device)[None],
            packing=packing,
            places=torch.tensor(places, device=self._device),
            targets=torch.tensor(targets, device=self._device),
            owners=torch.tensor(owners, device=self._device),
            first_layer=self._first_layer,
        )
