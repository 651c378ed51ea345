"""Direct preference optimisation: the corrected answer above the original one, measured from where the model began."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from freehold.core.dataset import Example
    from freehold.tuning.recipe import Preference

LENGTH_RULE = 0.8
"""Where the longer (or the shorter) answer is the better one in so large a share of pairs, length itself is learned."""
LENGTH_FOLLOWED = 0.5
"""From this correlation on, a margin says more about lengths than about answers."""


def pairs(rows: Sequence[Example]) -> list[Example]:
    """Rows that say which of two answers is the better one: an expert's correction of what a model had answered."""
    return [
        row
        for row in rows
        if row.provenance == "human-corrected" and row.rented_output and row.rented_output.strip() != row.target.strip()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """How pairs stand at some moment."""

    loss: float
    margin: float
    """Mean reward of better answers minus that of worse ones; a reward is beta times log p / p of the reference."""
    accuracy: float
    """Share of pairs in which the better answer has the higher reward."""
    chosen_reward: float
    rejected_reward: float
    kl: float
    """Mean divergence from the reference per token over better answers, in nats; exact, not sampled."""
    length_correlation: float | None
    """Of margin and difference of lengths; None where either does not vary."""


def answer_sums(losses: Tensor, owners: Tensor, rows: int, *, normalised: bool) -> Tensor:
    """Log p of each row's answer, [rows], or its mean per token, from -log p of each token."""
    sums = losses.new_zeros(rows).index_add(0, owners, -losses)
    if normalised:
        sums = sums / torch.bincount(owners, minlength=rows).clamp(min=1)
    return sums


def preference_losses(gains: Tensor, chosen: Tensor, lengths: Tensor, preference: Preference) -> Tensor:
    """Loss of each pair, [pairs].

    Args:
        gains: log p of the answers minus that of the reference, [2 * pairs]: all better ones, then all worse ones.
        chosen: log p of the better answers, [pairs].
        lengths: their tokens, [pairs]; `chosen` is divided by them unless that has been done.
        preference: beta, and how much of the plain loss on better answers is added.

    Source: Rafailov et al. 2023, equation 7; the plain loss beside it: Pang et al. 2024.
    """
    better, worse = gains.chunk(2)
    losses = -functional.logsigmoid(preference.beta * (better - worse))
    if preference.likelihood:
        scale = 1 if preference.length_normalised else lengths
        losses = losses - preference.likelihood * chosen / scale
    return losses


def length_correlation(margins: Sequence[float], differences: Sequence[float]) -> float | None:
    """Pearson's correlation of margins with how much longer the better answer is; None where one does not vary."""
    if len(margins) < 3 or np.ptp(margins) == 0 or np.ptp(differences) == 0:
        return None
    found = float(np.corrcoef(margins, differences)[0, 1])
    return found if math.isfinite(found) else None


def length_warnings(lengths: Sequence[tuple[int, int]], correlation: float | None, preference: Preference) -> list[str]:
    """What to say when length may be learned instead of the corrections.

    Args:
        lengths: tokens of the better and the worse answer of each pair.
        correlation: of margins and differences of lengths after training.
        preference: whether answers count per token.
    """
    warnings = []
    longer = sum(better > worse for better, worse in lengths) / len(lengths)
    shorter = sum(better < worse for better, worse in lengths) / len(lengths)
    share, word = max((longer, "longer"), (shorter, "shorter"))
    if share >= LENGTH_RULE and not preference.length_normalised:
        warnings.append(
            f"In {share:.0%} of the pairs the corrected answer is the {word} one, so length alone earns a reward. Set "
            "dpo.length_normalised=true, or add pairs whose correction changes no length."
        )
    if correlation is not None and abs(correlation) >= LENGTH_FOLLOWED:
        direction = "longer" if correlation > 0 else "shorter"
        warnings.append(
            f"The reward margin follows length (correlation {correlation:+.2f}): the model may have learned to answer "
            f"{direction}. Compare its answers' lengths with those of the corrections before it is used."
        )
    return warnings
