"""What the frozen lower layers make of each row: computed once, stored, read again in every epoch."""

from __future__ import annotations

import os
import tempfile
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from freehold.tuning.answers import Batch
from freehold.tuning.packing import pack
from freehold.tuning.tokens import shared_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from freehold.core.progress import Progress
    from freehold.tuning.decoder import Decoder
    from freehold.tuning.tokens import Encoded

MEMORY_BYTES = 2 * 2**30
"""More than this is stored in a file of the run's folder and mapped into memory."""
BATCH_TOKENS = 1024


class LowerStates:
    """States that enter the first adapted layer, for every row, float32."""

    def __init__(
        self, decoder: Decoder, rows: Sequence[Encoded], *, layers: int, folder: Path, progress: Progress
    ) -> None:
        """Run the `layers` lowest layers over all rows. The last answer token predicts nothing and is left out."""
        self._rows, self._first_layer = rows, layers
        self._lengths = [len(row) - 1 for row in rows]
        self.prefix = shared_prefix([row.prompt for row in rows])
        own = [length - self.prefix for length in self._lengths]
        starts = torch.tensor([0, *own]).cumsum(0).tolist()
        self._spans = [slice(begin, end) for begin, end in pairwise(starts)]
        self._own = _room(starts[-1], decoder.width, folder)
        self._shared = torch.empty(self.prefix, decoder.width)
        self._fill(decoder, layers, progress)

    def batch(self, rows: Sequence[int]) -> Batch:
        """States of these rows behind their shared prefix, and where each stands."""
        packing = pack(self.prefix, [self._lengths[row] - self.prefix for row in rows])
        parts = [self._shared, *(self._own[self._spans[row]] for row in rows)]
        places: list[int] = []
        targets: list[int] = []
        owners: list[int] = []
        end = self.prefix
        for owner, row in enumerate(rows):
            end += self._lengths[row] - self.prefix
            answer = self._rows[row].answer
            places.extend(range(end - len(answer), end))
            targets.extend(answer)
            owners.extend([owner] * len(answer))
        return Batch(
            inputs=torch.cat(parts)[None],
            packing=packing,
            places=torch.tensor(places),
            targets=torch.tensor(targets),
            owners=torch.tensor(owners),
            first_layer=self._first_layer,
        )

    def _fill(self, decoder: Decoder, layers: int, progress: Progress) -> None:
        """Compute and store, in batches of about equal length."""
        order = sorted(range(len(self._rows)), key=lambda row: (self._lengths[row], row))
        progress.start("Reading the rows", len(order))
        while order:
            size = max(1, BATCH_TOKENS // self._lengths[order[0]])
            batch, order = order[:size], order[size:]
            tokens = list(self._rows[batch[0]].prompt[: self.prefix])
            for row in batch:
                whole = (*self._rows[row].prompt, *self._rows[row].answer)
                tokens.extend(whole[self.prefix : -1])
            packing = pack(self.prefix, [self._lengths[row] - self.prefix for row in batch])
            with torch.inference_mode():
                states = decoder.run(decoder.embed(torch.tensor([tokens])), packing, last=layers)[0]
            self._shared.copy_(states[: self.prefix])
            begin = self.prefix
            for row in batch:
                span = self._spans[row]
                self._own[span] = states[begin : begin + span.stop - span.start]
                begin += span.stop - span.start
            progress.update(len(batch))
        progress.finish()


def _room(tokens: int, width: int, folder: Path) -> Tensor:
    """[tokens, width] of float32, in memory or, when it is large, in a file that vanishes with the process."""
    if tokens * width * 4 <= MEMORY_BYTES:
        return torch.empty(tokens, width)
    size = tokens * width * 4
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size)  # a full disk is told now, not by a fault in the middle
        return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="r+", shape=(tokens, width)))
