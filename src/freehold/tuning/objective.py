"""What a run learns from: answers alone, or pairs of a better and a worse answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

import torch

from freehold.tuning.preference import (
    Margins,
    answer_sums,
    length_correlation,
    length_warnings,
    preference_losses,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from freehold.tuning.answers import Batch
    from freehold.tuning.place import Place
    from freehold.tuning.recipe import Preference
    from freehold.tuning.tokens import Encoded

EVALUATION_ROWS = 16
"""Rows of one pass without gradients."""
KL_TOKENS = 256
"""Answer tokens at which the divergence from the reference is measured, whole distributions being kept."""


class Source(Protocol):
    """Makes batches of encoded rows."""

    def batch(self, rows: Sequence[int]) -> Batch:
        """These rows, ready for a pass."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What some cases said."""

    loss: Tensor
    """Mean over `weight` units."""
    weight: int
    tokens: int
    """Computed for it."""
    figures: dict[str, float] = field(default_factory=dict)
    """Sums over the cases, to be shown as means."""


class Objective(Protocol):
    """Says what a batch of cases costs. A case is what the data order is made of."""

    def weight(self, cases: Sequence[int]) -> int:
        """Units over which the loss of these cases is a mean."""
        ...

    def outcome(self, module: nn.Module, cases: Sequence[int]) -> Outcome:
        """Loss of these cases."""
        ...


class Answers:
    """A case is a row, a unit an answer token."""

    def __init__(self, source: Source, rows: Sequence[Encoded]) -> None:
        """Rows and where their batches come from."""
        self._source, self._lengths = source, [len(row.answer) for row in rows]

    def weight(self, cases: Sequence[int]) -> int:
        """Answer tokens of these rows."""
        return sum(self._lengths[row] for row in cases)

    def outcome(self, module: nn.Module, cases: Sequence[int]) -> Outcome:
        """Mean negative log-likelihood of the rows' answer tokens."""
        batch = self._source.batch(cases)
        losses = cast("Tensor", module(batch))
        return Outcome(losses.mean(), len(losses), batch.tokens)


class Preferences:
    """A case is a pair: row `2 * case` holds the better answer, the row after it the worse one. A unit is a pair."""

    def __init__(self, source: Source, rows: Sequence[Encoded], preference: Preference) -> None:
        """Pairs and where their batches come from; `refer` must be called before the first step."""
        self._source, self._preference = source, preference
        self._lengths = torch.tensor([len(row.answer) for row in rows])
        self._reference = torch.empty(0)
        self._sample: list[int] = []
        self._distributions = torch.empty(0)

    def weight(self, cases: Sequence[int]) -> int:
        """Pairs."""
        return len(cases)

    def refer(self, module: nn.Module, sample: Sequence[int], place: Place) -> None:
        """Take the model as it is for the reference: one pass over all rows, and whole distributions of a sample."""
        count = len(self._lengths)
        reference = torch.zeros(count)
        with torch.no_grad():
            batches = [list(range(at, min(at + EVALUATION_ROWS, count))) for at in range(0, count, EVALUATION_ROWS)]
            for rows, is_mine in dealt(batches, place):
                batch = self._source.batch(rows)
                sums = answer_sums(module(batch), batch.owners, len(rows), normalised=self._normalised)
                if is_mine:
                    reference[rows] = sums.float().cpu()
            self._reference = torch.tensor(place.sums(reference.tolist()), dtype=torch.float32)
            tokens = 0
            for case in sample:
                tokens += int(self._lengths[2 * case])
                if tokens > KL_TOKENS and self._sample:
                    break
                self._sample.append(case)
            self._distributions = self._sampled(module)

    def outcome(self, module: nn.Module, cases: Sequence[int]) -> Outcome:
        """Mean loss of these pairs."""
        loss, gains, tokens = self._pass(module, cases)
        better, worse = (gains.detach() * self._preference.beta).chunk(2)
        figures = {
            "margin": float((better - worse).sum()),
            "accuracy": float((better > worse).sum()),
            "chosen_reward": float(better.sum()),
            "rejected_reward": float(worse.sum()),
        }
        return Outcome(loss.mean(), len(cases), tokens, figures)

    def margins(self, module: nn.Module, cases: Sequence[int], place: Place) -> Margins:
        """How these pairs stand now."""
        size = EVALUATION_ROWS // 2
        batches = [list(cases[begin : begin + size]) for begin in range(0, len(cases), size)]
        mine: list[tuple[float, float, float, float]] = []
        with torch.no_grad():
            for some, is_mine in dealt(batches, place):
                losses, gains, _ = self._pass(module, some)
                better, worse = (gains.float() * self._preference.beta).cpu().chunk(2)
                longer = self._longer(some)
                if is_mine:
                    mine += zip(losses.tolist(), better.tolist(), worse.tolist(), longer, strict=True)
            now = self._sampled(module)
        rows = [row for part in place.gathered(mine) for row in part]
        margins = [better - worse for _, better, worse, _ in rows]
        count = len(rows)
        return Margins(
            loss=sum(row[0] for row in rows) / count,
            margin=sum(margins) / count,
            accuracy=sum(margin > 0 for margin in margins) / count,
            chosen_reward=sum(row[1] for row in rows) / count,
            rejected_reward=sum(row[2] for row in rows) / count,
            kl=float((now.exp() * (now - self._distributions)).sum(-1).mean()),
            length_correlation=length_correlation(margins, [row[3] for row in rows]),
        )

    def warnings(self, correlation: float | None, cases: Sequence[int]) -> list[str]:
        """Whether lengths may have been learned from these pairs."""
        lengths = [(int(self._lengths[2 * case]), int(self._lengths[2 * case + 1])) for case in cases]
        return length_warnings(lengths, correlation, self._preference)

    @property
    def _normalised(self) -> bool:
        return self._preference.length_normalised

    def _longer(self, cases: Sequence[int]) -> list[float]:
        """By how many tokens the better answer is the longer one."""
        return [float(self._lengths[2 * case] - self._lengths[2 * case + 1]) for case in cases]

    def _pass(self, module: nn.Module, cases: Sequence[int]) -> tuple[Tensor, Tensor, int]:
        """Losses [pairs], gains over the reference [2 * pairs], tokens."""
        rows = [2 * case for case in cases] + [2 * case + 1 for case in cases]
        batch = self._source.batch(rows)
        sums = answer_sums(module(batch), batch.owners, len(rows), normalised=self._normalised)
        gains = sums - self._reference[rows].to(sums.device)
        chosen = sums[: len(cases)]
        lengths = self._lengths[rows[: len(cases)]].to(sums.device)
        return preference_losses(gains, chosen, lengths, self._preference), gains, batch.tokens

    def _sampled(self, module: nn.Module) -> Tensor:
        """Log p of every token at the sample's better answers, [tokens, vocabulary]."""
        found = [module(self._source.batch([2 * case]), distributions=True) for case in self._sample]
        return torch.cat(found).float().cpu()


def dealt(batches: Sequence[list[int]], place: Place) -> Iterator[tuple[list[int], bool]]:
    """This process' batches. Each process gets as many as any other, the last perhaps one that is not its own."""
    for begin in range(0, len(batches), place.world):
        mine = begin + place.rank
        yield (batches[mine], True) if mine < len(batches) else (batches[0], False)


def mean_loss(objective: Objective, module: nn.Module, cases: Sequence[int], place: Place) -> float | None:
    """Mean loss over all units of these cases, without a gradient; None without cases."""
    if not cases:
        return None
    batches = [list(cases[begin : begin + EVALUATION_ROWS]) for begin in range(0, len(cases), EVALUATION_ROWS)]
    total, weight = 0.0, 0
    with torch.no_grad():
        for some, is_mine in dealt(batches, place):
            outcome = objective.outcome(module, some)
            if is_mine:
                total += outcome.loss.item() * outcome.weight
                weight += outcome.weight
    total, units = place.sums([total, weight])
    return total / units
